//! Parses the paths of routes, and references to routes.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use http::Method;

use crate::call::{MAX_PATH, MAX_SEGMENTS};
use crate::config::formats;
use crate::document::tree::quoted;
use crate::registry::segment::{Segment, decode_segment};

/// A path in `module.json` that is invalid: the rule it breaks, and the path.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{rule}, found {}", quoted(.text))]
pub struct PathError {
    pub rule: PathRule,
    text: String,
}

/// A rule for paths in `module.json`.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathRule {
    #[error("must have at most {MAX_PATH} bytes and has {0}")]
    Length(usize),
    #[error("must have at most {MAX_SEGMENTS} segments and has {0}")]
    Depth(usize),
    #[error("must have no slash at its ends")]
    SlashAtEnd,
    #[error("must have no spaces (write %20)")]
    Space,
    #[error("must be a path without `?`, `#` and `\\`")]
    Character,
    #[error("must name each parameter once, but has {{{0}}} twice")]
    ParamTwice(String),
    #[error("must name parameters with letters, digits and `_`, no digit first, such as {{name}}")]
    ParamName,
    #[error("must have parameters that are whole segments, such as a/{{name}}")]
    ParamPart,
    #[error("must have no empty segment (`//`)")]
    EmptySegment,
    #[error("must have `%` only before two hexadecimal digits, and be UTF-8 when decoded")]
    Escape,
    #[error("must have no segment `.` or `..`")]
    DotSegment,
    #[error("must be a path, or a method and a path such as \"GET a/b\"")]
    Reference,
    #[error("must stay inside the module's folder")]
    Outside,
    #[error("must be relative to the module's folder")]
    Absolute,
}

impl PathRule {
    fn broken_by(self, text: &str) -> PathError {
        PathError { rule: self, text: text.to_owned() }
    }
}

/// Returns the segments of a path, decoded.
pub fn parse(text: &str) -> Result<Vec<Segment>, PathError> {
    segments(text).map_err(|rule| rule.broken_by(text))
}

fn segments(text: &str) -> Result<Vec<Segment>, PathRule> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    if text.len() > MAX_PATH {
        return Err(PathRule::Length(text.len()));
    }
    let parts = text.split('/').count();
    if parts > MAX_SEGMENTS {
        return Err(PathRule::Depth(parts));
    }
    if text.starts_with('/') || text.ends_with('/') {
        return Err(PathRule::SlashAtEnd);
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(PathRule::Space);
    }
    if text.contains(['?', '#', '\\']) {
        return Err(PathRule::Character);
    }
    let mut params = HashSet::new();
    let mut segments = Vec::new();
    for part in text.split('/') {
        let segment = segment(part)?;
        if let Segment::Param(name) = &segment
            && !params.insert(name.clone())
        {
            return Err(PathRule::ParamTwice(name.clone()));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn segment(part: &str) -> Result<Segment, PathRule> {
    if part.is_empty() {
        return Err(PathRule::EmptySegment);
    }
    if part.contains(['{', '}']) {
        let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).ok_or(PathRule::ParamPart)?;
        return if is_param(name) { Ok(Segment::Param(name.to_owned())) } else { Err(PathRule::ParamName) };
    }
    let literal = decode_segment(part).ok_or(PathRule::Escape)?;
    if matches!(&*literal, "." | "..") {
        return Err(PathRule::DotSegment);
    }
    Ok(Segment::Literal(literal.into_owned()))
}

fn is_param(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(rest)
}

/// Returns the shape of a path: its literals, and `None` for each parameter. Paths with the same
/// shape match the same requests.
pub fn shape(path: &[Segment]) -> Vec<Option<&str>> {
    path.iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Param(_) => None,
        })
        .collect()
}

/// Parses a reference, written `[METHOD ]path`.
pub fn parse_reference(text: &str) -> Result<(Option<Method>, Vec<Segment>), PathError> {
    let Some((word, path)) = text.split_once(' ') else {
        return Ok((None, parse(text)?));
    };
    let method = formats::method(word).ok_or_else(|| PathRule::Reference.broken_by(text))?;
    Ok((Some(method), parse(path)?))
}

/// Returns the path `text` below `dir`. Looks only at the text, not at the disk.
pub fn inside(dir: &Path, text: &str) -> Result<PathBuf, PathError> {
    let mut below: Vec<&std::ffi::OsStr> = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                below.pop().ok_or_else(|| PathRule::Outside.broken_by(text))?;
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(PathRule::Absolute.broken_by(text));
            }
        }
    }
    Ok(below.iter().fold(dir.to_owned(), |path, name| path.join(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    fn param(text: &str) -> Segment {
        Segment::Param(text.to_owned())
    }

    #[test]
    fn paths_are_split_before_segments_are_decoded() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("a/{b}/c%20d"), Ok(vec![literal("a"), param("b"), literal("c d")]));
        assert_eq!(parse("a%2Fb"), Ok(vec![literal("a/b")]));
        assert_eq!(parse("%7Bx%7D/ä/%C3%A4"), Ok(vec![literal("{x}"), literal("ä"), literal("ä")]));
        assert_eq!(parse("v1.2/..."), Ok(vec![literal("v1.2"), literal("...")]));
        assert_eq!(parse("{_a1}"), Ok(vec![param("_a1")]));
    }

    #[test]
    fn invalid_paths_are_rejected_with_the_rule() {
        for (text, rule) in [
            ("/a", "no slash at its ends"),
            ("a/", "no slash at its ends"),
            ("/", "no slash at its ends"),
            ("a//b", "no empty segment"),
            (".", "no segment"),
            ("a/..", "no segment"),
            ("%2e%2E/a", "no segment"),
            ("a b", "no spaces"),
            ("a\n", "no spaces"),
            ("a?b", "without `?`"),
            ("a#b", "without `?`"),
            ("a\\b", "without `?`"),
            ("{a}/{a}", "has {a} twice"),
            ("x{a}", "whole segments"),
            ("{a}x", "whole segments"),
            ("{", "whole segments"),
            ("{}", "name parameters"),
            ("{1a}", "name parameters"),
            ("{a-b}", "name parameters"),
            ("{{a}}", "name parameters"),
            ("%", "hexadecimal"),
            ("%4", "hexadecimal"),
            ("%zz", "hexadecimal"),
            ("%ff", "UTF-8"),
            ("a%ä", "hexadecimal"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(rule) && error.contains("found"), "{text}: {error}");
        }
    }

    #[test]
    fn paths_have_a_maximum_length_and_depth() {
        assert!(parse(&"a".repeat(MAX_PATH)).is_ok());
        let error = parse(&"a".repeat(MAX_PATH + 1)).unwrap_err().to_string();
        assert!(error.starts_with("must have at most 4096 bytes and has 4097, found \"aaa"), "{error}");
        let deep = vec!["{a}"; 480_000].join("/");
        assert!(parse_reference(&format!("GET {deep}")).is_err());
        let deep = vec!["a"; MAX_SEGMENTS].join("/");
        assert_eq!(parse(&deep).map(|path| path.len()), Ok(MAX_SEGMENTS));
        let error = parse(&format!("{deep}/a")).unwrap_err().to_string();
        assert!(error.starts_with("must have at most 64 segments and has 65, found \"a/a/"), "{error}");
    }

    #[test]
    fn the_names_of_parameters_do_not_change_the_shape() {
        assert_eq!(shape(&parse("a/{b}").unwrap()), shape(&parse("a/{c}").unwrap()));
        assert_ne!(shape(&parse("a/{b}").unwrap()), shape(&parse("a/b").unwrap()));
    }

    #[test]
    fn references_may_name_a_method() {
        assert_eq!(parse_reference("GET a"), Ok((Some(Method::GET), vec![literal("a")])));
        assert_eq!(parse_reference("put "), Ok((Some(Method::PUT), vec![])));
        assert_eq!(parse_reference("get"), Ok((None, vec![literal("get")])));
        assert!(parse_reference("HEAD a").unwrap_err().to_string().contains("a method and a path"));
        assert!(parse_reference("GET /a").is_err());
    }

    #[test]
    fn files_outside_the_folder_are_rejected() {
        let dir = Path::new("/m");
        for (text, path) in
            [("a.wasm", "/m/a.wasm"), ("./t/../a.wasm", "/m/a.wasm"), ("target/x/a.wasm", "/m/target/x/a.wasm")]
        {
            assert_eq!(inside(dir, text).unwrap(), Path::new(path));
        }
        for (text, rule) in
            [("../m/a.wasm", PathRule::Outside), ("a/../../b", PathRule::Outside), ("/m/a.wasm", PathRule::Absolute)]
        {
            let error = inside(dir, text).unwrap_err();
            assert_eq!(error.rule, rule);
            assert_eq!(error.to_string(), format!("{rule}, found \"{text}\""));
        }
    }
}
