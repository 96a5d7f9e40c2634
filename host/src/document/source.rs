//! Reads JSON with comments and trailing commas, and records the line and column of every key and
//! value.

use std::collections::HashSet;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use jsonc_parser::ast;
use jsonc_parser::common::Ranged;
use jsonc_parser::errors::{ParseError, ParseErrorKind};
use jsonc_parser::{CollectOptions, ParseOptions};

use super::fault::{Fault, Faults, ValueOrigin};
use super::tree::{Member, Node, Path as KeyPath, Step, Value, printable, quoted};
use crate::files::{self, NotAFile, ReadError};

/// The largest file in bytes: 1 MiB.
pub const MAX_BYTES: u64 = 1 << 20;

/// The fault of a larger file.
pub const TOO_LARGE: &str = "must be at most 1MiB, found more: move data to other files";

/// The most levels of nested values.
pub const MAX_DEPTH: usize = 64;

/// The syntax that Fanfare accepts: JSON with comments and trailing commas, and no other extension
/// of the parser.
pub const OPTIONS: ParseOptions = ParseOptions {
    allow_comments: true,
    allow_loose_object_property_names: false,
    allow_trailing_commas: true,
    allow_missing_commas: false,
    allow_single_quoted_strings: false,
    allow_hexadecimal_numbers: false,
    allow_unary_plus_numbers: false,
};

/// Reads the text of a file, at most 1 MiB of UTF-8.
pub fn read(file: &Path) -> Result<String, Fault> {
    let origin = ValueOrigin::start_of(&shown(file));
    let fault = |message: String| Fault::new(&origin, "", message);
    let bytes = files::read(file, MAX_BYTES).map_err(|error| match error {
        ReadError::Io(error) if NotAFile::caused(&error) => fault(format!("{error}: replace it with a regular file")),
        ReadError::Io(error) => fault(format!("cannot be read: {error}")),
        ReadError::TooLarge(_) => fault(TOO_LARGE.to_owned()),
    })?;
    String::from_utf8(bytes).map_err(|error| {
        fault(format!("must be UTF-8, found an invalid sequence at byte {}", error.utf8_error().valid_up_to()))
    })
}

/// Reads the first line of a file of at most `most` bytes. The error contains no part of it.
pub fn read_line(file: &Path, most: u64) -> Result<String, String> {
    let text = read_text(file, most)?;
    let line = text.lines().next().unwrap_or_default().to_owned();
    if line.is_empty() { Err(format!("the first line of {} is empty", shown(file))) } else { Ok(line) }
}

/// Reads a file of at most `most` bytes. The error contains no part of it.
pub fn read_text(file: &Path, most: u64) -> Result<String, String> {
    let shown = shown(file);
    let bytes = files::read(file, most).map_err(|error| match error {
        ReadError::Io(error) => format!("{shown} cannot be read: {error}"),
        ReadError::TooLarge(_) => format!("{shown} must have at most {most} bytes"),
    })?;
    String::from_utf8(bytes).map_err(|_| format!("{shown} must be UTF-8"))
}

/// Whether a file may be incomplete because a program still writes it: it is a regular file and not
/// valid JSON.
pub fn is_cut_off(file: &Path) -> bool {
    let is_whole =
        || read(file).is_ok_and(|text| parse(&text, &shown(file)).is_ok_and(|(_, faults)| faults.is_empty()));
    files::check_regular(file).is_ok() && !is_whole()
}

/// Returns a path as messages show it: relative to the current folder if it is below that.
pub fn shown(file: &Path) -> Arc<str> {
    Arc::from(printable(&files::relative(file).to_string_lossy()))
}

/// Parses a text. Returns an object and the faults in it: duplicate keys, and values that are
/// nested too deep. Returns an error for a text that is no JSON object, so that no caller also
/// reports the keys that this text lacks.
pub fn parse(text: &str, file: &Arc<str>) -> Result<(Node, Faults), Faults> {
    let start = ValueOrigin::start_of(file);
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut reader =
        Reader { text, file, at: 0, line: 1, column: 1, path: KeyPath::default(), faults: Faults::default() };
    let node = match jsonc_parser::parse_to_ast(text, &CollectOptions::default(), &OPTIONS) {
        Ok(parsed) => parsed.value.map(|value| reader.node(&value, 1)),
        Err(error) => {
            reader.syntax(&error);
            return Err(reader.faults);
        }
    };
    match node {
        Some(node @ Node { value: Value::Object(_), .. }) => Ok((node, reader.faults)),
        Some(node) => {
            reader.faults.push(Fault::new(&node.origin, "", format!("must be an object, found {node}")));
            Err(reader.faults)
        }
        None => {
            reader.faults.push(Fault::new(&start, "", "is empty: write at least {}"));
            Err(reader.faults)
        }
    }
}

/// Converts the parser's output into nodes. Values arrive in the order of the text, so one pass
/// counts the lines.
struct Reader<'a> {
    text: &'a str,
    file: &'a Arc<str>,
    at: usize,
    line: u32,
    column: u32,
    path: KeyPath,
    faults: Faults,
}

impl Reader<'_> {
    fn origin(&mut self, offset: usize) -> ValueOrigin {
        for c in self.text.get(self.at..offset).unwrap_or_default().chars() {
            if c == '\n' {
                self.line += 1;
                self.column = 1;
            } else {
                self.column += 1;
            }
        }
        self.at = self.at.max(offset);
        ValueOrigin::File { file: self.file.clone(), line: self.line, column: self.column, environment: None }
    }

    fn fault(&mut self, origin: &ValueOrigin, message: impl Into<String>) {
        let fault = Fault::new(origin, &self.path, message);
        self.faults.push(fault);
    }

    fn syntax(&mut self, error: &ParseError) {
        let origin = self.origin(error.range().start);
        if matches!(error.kind(), ParseErrorKind::NestingDepthExceeded) {
            return self.fault(&origin, too_deep());
        }
        let mut message = error.kind().to_string();
        if let Some(first) = message.get_mut(..1) {
            first.make_ascii_lowercase();
        }
        self.fault(&origin, format!("is not JSON: {message}"));
    }

    fn node(&mut self, value: &ast::Value<'_>, depth: usize) -> Node {
        let origin = self.origin(value.range().start);
        if depth > MAX_DEPTH {
            self.fault(&origin, too_deep());
            return Node::new(&origin, Value::Null);
        }
        let value = match value {
            ast::Value::NullKeyword(_) => Value::Null,
            ast::Value::BooleanLit(literal) => Value::Bool(literal.value),
            ast::Value::StringLit(literal) => Value::Text(literal.value.to_string()),
            ast::Value::NumberLit(literal) => match serde_json::Number::from_str(literal.value) {
                Ok(number) => Value::Number(number),
                Err(_) => {
                    self.fault(&origin, format!("is not JSON: {} is not a number", quoted(literal.value)));
                    Value::Null
                }
            },
            ast::Value::Array(array) => Value::List(self.items(array, depth)),
            ast::Value::Object(object) => Value::Object(self.members(object, depth)),
        };
        Node::new(&origin, value)
    }

    fn items(&mut self, array: &ast::Array<'_>, depth: usize) -> Vec<Node> {
        let mut items = Vec::with_capacity(array.elements.len());
        let mut end = None;
        for (index, element) in array.elements.iter().enumerate() {
            self.path.enter(Step::Index(index));
            let node = self.node(element, depth + 1);
            // The parser requires commas between members only.
            let between = end.map(|end| self.text.get(end..element.range().start).unwrap_or_default());
            if between.is_some_and(|between| !has_comma(between)) {
                self.fault(&node.origin, "is not JSON: expected comma");
            }
            end = Some(element.range().end);
            items.push(node);
            self.path.leave();
        }
        items
    }

    fn members(&mut self, object: &ast::Object<'_>, depth: usize) -> Vec<Member> {
        let mut members = Vec::with_capacity(object.properties.len());
        let mut seen = HashSet::new();
        for property in &object.properties {
            let name = property.name.as_str();
            let origin = self.origin(property.range.start);
            self.path.enter(Step::Key(name.to_owned()));
            let node = self.node(&property.value, depth + 1);
            if seen.insert(name) {
                members.push(Member { name: name.to_owned(), origin, node });
            } else {
                self.fault(&origin, "is a duplicate key: remove one of the two");
            }
            self.path.leave();
        }
        members
    }
}

fn too_deep() -> String {
    format!("must not be nested deeper than {MAX_DEPTH} levels")
}

/// Whether the text between two values contains a comma outside comments.
fn has_comma(between: &str) -> bool {
    let mut rest = between;
    while let Some(c) = rest.chars().next() {
        if c == ',' {
            return true;
        }
        rest = if let Some(comment) = rest.strip_prefix("//") {
            comment.split_once('\n').map_or("", |(_, after)| after)
        } else if let Some(comment) = rest.strip_prefix("/*") {
            comment.split_once("*/").map_or("", |(_, after)| after)
        } else {
            rest.get(c.len_utf8()..).unwrap_or_default()
        };
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (serde_json::Value, Vec<String>) {
        let (value, faults) = match parse(text, &Arc::from("f.json")) {
            Ok((node, faults)) => (node.to_json(), faults),
            Err(faults) => (serde_json::Value::Null, faults),
        };
        (value, faults.list().iter().map(ToString::to_string).collect())
    }

    fn faults(text: &str) -> Vec<String> {
        parsed(text).1
    }

    #[test]
    fn comments_and_trailing_commas_are_accepted() {
        let (value, faults) = parsed("\u{feff}// one\n{ /* two */ \"a\": [1, 2,], \"b\": { \"c\": null, }, }");
        assert_eq!(value, serde_json::json!({"a": [1, 2], "b": {"c": null}}));
        assert!(faults.is_empty());
    }

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        let (node, _) = parse("{\n  \"ä\": \"ö\", \"b\": 1\n}", &Arc::from("f.json")).unwrap();
        assert_eq!(node.members()[1].origin.to_string(), "f.json:2:13");
        assert_eq!(node.members()[1].node.origin.to_string(), "f.json:2:18");
        assert_eq!(node.origin.to_string(), "f.json:1:1");
    }

    #[test]
    fn a_syntax_error_is_reported_with_its_position() {
        assert_eq!(faults("{\n  \"a\": }"), ["f.json:2:8: is not JSON: unexpected close brace"]);
        assert_eq!(faults("{ a: 1 }"), ["f.json:1:3: is not JSON: expected string for object property"]);
        assert_eq!(faults("{ \"a\": 'x' }"), ["f.json:1:8: is not JSON: single-quoted strings are not allowed"]);
        assert_eq!(faults("{ \"a\": 1 \"b\": 2 }").len(), 1);
        assert_eq!(faults("{ \"a\": [1 /* , */ 2] }"), ["f.json:1:19: a[1]: is not JSON: expected comma"]);
        assert!(faults("{ \"a\": [1 // ,\n , 2] }").is_empty());
        assert_eq!(faults("{ \"a\": 01 }").len(), 1);
        assert_eq!(faults("{ \"a\": 0x1 }").len(), 1);
        assert_eq!(faults("{} {}").len(), 1);
    }

    #[test]
    fn a_document_must_be_an_object() {
        assert_eq!(faults(""), ["f.json:1:1: is empty: write at least {}"]);
        assert_eq!(faults("// nothing\n"), ["f.json:1:1: is empty: write at least {}"]);
        assert_eq!(faults(" [1]"), ["f.json:1:2: must be an object, found an array"]);
    }

    #[test]
    fn a_duplicate_key_is_a_fault_at_every_level() {
        assert_eq!(faults("{\"a\": 1,\n \"a\": 2}"), ["f.json:2:2: a: is a duplicate key: remove one of the two"]);
        assert_eq!(
            faults("{\"x\": [{\"a\": 1, \"\\u0061\": 2}]}"),
            ["f.json:1:17: x[0].a: is a duplicate key: remove one of the two"]
        );
    }

    #[test]
    fn at_most_sixty_four_levels_are_accepted() {
        let nested = |levels: usize| format!("{{\"a\": {}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
        assert!(faults(&nested(MAX_DEPTH)).is_empty());
        for levels in [MAX_DEPTH + 1, 300, 100_000] {
            let faults = faults(&nested(levels));
            assert_eq!(faults.len(), 1, "{levels}");
            assert!(faults[0].ends_with("must not be nested deeper than 64 levels"), "{faults:?}");
        }
        assert_eq!(faults(&"{\"a\":".repeat(100_000)).len(), 1);
    }

    #[test]
    fn a_file_larger_than_a_mebibyte_is_rejected() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        let file = dir.join("f.json");
        std::fs::write(&file, " ".repeat(MAX_BYTES as usize)).unwrap();
        assert!(read(&file).is_ok());
        std::fs::write(&file, " ".repeat(MAX_BYTES as usize + 1)).unwrap();
        assert!(read(&file).unwrap_err().message.contains("at most 1MiB"));
        std::fs::write(&file, b"{\"a\": \"\xff\"}").unwrap();
        assert!(read(&file).unwrap_err().message.contains("at byte 7"));
        assert!(read(dir).unwrap_err().message.contains("is not a file"));
        assert!(read(&dir.join("none")).unwrap_err().message.contains("cannot be read"));
    }

    #[test]
    fn no_malformed_text_causes_a_panic() {
        let text = "{ // c\n \"ä\\u00e9\": [1.5e3, -0, true, null, {\"b\": \"x\\\"\"},], /* d */ \"c\": {} }";
        let bytes = text.as_bytes();
        for at in 0..bytes.len() {
            for with in [b'{', b'}', b'[', b'"', b'\\', b',', b'/', b'*', b'\'', b'-', b'e', b'u', b'\n', 0, 0xc3] {
                let mut changed = bytes.to_vec();
                changed[at] = with;
                faults(&String::from_utf8_lossy(&changed));
            }
            faults(&String::from_utf8_lossy(&bytes[..at]));
        }
    }
}
