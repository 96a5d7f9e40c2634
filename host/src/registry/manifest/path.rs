//! Paths of routes, and references to them.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use http::Method;

use crate::call::{MAX_PATH, MAX_SEGMENTS};
use crate::config::formats;
use crate::document::tree::quoted;
use crate::registry::segment::{Segment, decode_segment};

/// A path as it is written, decoded into segments; else the rule it breaks.
pub fn parse(text: &str) -> Result<Vec<Segment>, String> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let fault = |rule: &str| Err(format!("{rule}, found {}", quoted(text)));
    if text.len() > MAX_PATH {
        return fault(&format!("must have at most {MAX_PATH} bytes and has {}", text.len()));
    }
    let parts = text.split('/').count();
    if parts > MAX_SEGMENTS {
        return fault(&format!("must have at most {MAX_SEGMENTS} segments and has {parts}"));
    }
    if text.starts_with('/') || text.ends_with('/') {
        return fault("must have no slash at its ends");
    }
    if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return fault("must have no spaces (write %20)");
    }
    if text.contains(['?', '#', '\\']) {
        return fault("must be a path without `?`, `#` and `\\`");
    }
    let mut params = HashSet::new();
    let mut segments = Vec::new();
    for part in text.split('/') {
        let segment = segment(part).map_err(|rule| format!("{rule}, found {}", quoted(text)))?;
        if let Segment::Param(name) = &segment
            && !params.insert(name.clone())
        {
            return fault(&format!("must name each parameter once: {{{name}}} is there twice"));
        }
        segments.push(segment);
    }
    Ok(segments)
}

fn segment(part: &str) -> Result<Segment, String> {
    if part.is_empty() {
        return Err("must have no empty segment (`//`)".to_owned());
    }
    if part.contains(['{', '}']) {
        let name = part.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
        return match name {
            Some(name) if is_param(name) => Ok(Segment::Param(name.to_owned())),
            Some(_) => {
                Err("must name parameters with letters, digits and `_`, no digit first, such as {name}".to_owned())
            }
            None => Err("must have parameters that take a whole segment, such as a/{name}".to_owned()),
        };
    }
    let literal = decode_segment(part).ok_or("must have `%` only before two hexadecimal digits that make UTF-8")?;
    if matches!(&*literal, "." | "..") {
        return Err("must have no segment `.` or `..`".to_owned());
    }
    Ok(Segment::Literal(literal.into_owned()))
}

fn is_param(name: &str) -> bool {
    let rest = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(rest)
}

/// What two paths that match the same requests share: the literals, and a gap for each parameter.
pub fn shape(path: &[Segment]) -> Vec<Option<&str>> {
    path.iter()
        .map(|segment| match segment {
            Segment::Literal(text) => Some(text.as_str()),
            Segment::Param(_) => None,
        })
        .collect()
}

/// `[METHOD ]path`; else the rule it breaks.
pub fn parse_reference(text: &str) -> Result<(Option<Method>, Vec<Segment>), String> {
    let Some((word, path)) = text.split_once(' ') else {
        return Ok((None, parse(text)?));
    };
    let rule = || format!("must be a path, or a method and a path such as \"GET a/b\", found {}", quoted(text));
    Ok((Some(formats::method(word).ok_or_else(rule)?), parse(path)?))
}

/// A path below `dir`; else the rule it breaks. Only the text counts: nothing is looked up.
pub fn inside(dir: &Path, text: &str) -> Result<PathBuf, String> {
    let mut below: Vec<&std::ffi::OsStr> = Vec::new();
    for component in Path::new(text).components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => {}
            Component::ParentDir => {
                below.pop().ok_or_else(|| format!("must stay inside the module's folder, found {}", quoted(text)))?;
            }
            Component::RootDir | Component::Prefix(_) => {
                return Err(format!("must be relative to the module's folder, found {}", quoted(text)));
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
    fn paths_are_split_then_decoded() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("a/{b}/c%20d"), Ok(vec![literal("a"), param("b"), literal("c d")]));
        assert_eq!(parse("a%2Fb"), Ok(vec![literal("a/b")]));
        assert_eq!(parse("%7Bx%7D/ä/%C3%A4"), Ok(vec![literal("{x}"), literal("ä"), literal("ä")]));
        assert_eq!(parse("v1.2/..."), Ok(vec![literal("v1.2"), literal("...")]));
        assert_eq!(parse("{_a1}"), Ok(vec![param("_a1")]));
    }

    #[test]
    fn what_is_no_path_is_refused() {
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
            ("{a}/{a}", "{a} is there twice"),
            ("x{a}", "a whole segment"),
            ("{a}x", "a whole segment"),
            ("{", "a whole segment"),
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
            let error = parse(text).unwrap_err();
            assert!(error.contains(rule) && error.contains("found"), "{text}: {error}");
        }
    }

    #[test]
    fn paths_have_a_largest_length_and_depth() {
        assert!(parse(&"a".repeat(MAX_PATH)).is_ok());
        let error = parse(&"a".repeat(MAX_PATH + 1)).unwrap_err();
        assert!(error.starts_with("must have at most 4096 bytes and has 4097, found \"aaa"), "{error}");
        let deep = vec!["{a}"; 480_000].join("/");
        assert!(parse_reference(&format!("GET {deep}")).is_err());
        let deep = vec!["a"; MAX_SEGMENTS].join("/");
        assert_eq!(parse(&deep).map(|path| path.len()), Ok(MAX_SEGMENTS));
        let error = parse(&format!("{deep}/a")).unwrap_err();
        assert!(error.starts_with("must have at most 64 segments and has 65, found \"a/a/"), "{error}");
    }

    #[test]
    fn parameters_of_any_name_have_the_same_shape() {
        assert_eq!(shape(&parse("a/{b}").unwrap()), shape(&parse("a/{c}").unwrap()));
        assert_ne!(shape(&parse("a/{b}").unwrap()), shape(&parse("a/b").unwrap()));
    }

    #[test]
    fn references_may_name_a_method() {
        assert_eq!(parse_reference("GET a"), Ok((Some(Method::GET), vec![literal("a")])));
        assert_eq!(parse_reference("put "), Ok((Some(Method::PUT), vec![])));
        assert_eq!(parse_reference("get"), Ok((None, vec![literal("get")])));
        assert!(parse_reference("HEAD a").unwrap_err().contains("a method and a path"));
        assert!(parse_reference("GET /a").is_err());
    }

    #[test]
    fn files_stay_inside() {
        let dir = Path::new("/m");
        for (text, path) in
            [("a.wasm", "/m/a.wasm"), ("./t/../a.wasm", "/m/a.wasm"), ("target/x/a.wasm", "/m/target/x/a.wasm")]
        {
            assert_eq!(inside(dir, text).unwrap(), Path::new(path));
        }
        assert!(inside(dir, "../m/a.wasm").unwrap_err().contains("inside"));
        assert!(inside(dir, "a/../../b").unwrap_err().contains("inside"));
        assert!(inside(dir, "/m/a.wasm").unwrap_err().contains("relative"));
    }
}
