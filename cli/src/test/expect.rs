//! Compares an answer with the expectations of a case.

use serde_json::Value;

use super::file::Expect;

/// The answer to a call, from the HTTP or the admin listener.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answer {
    /// The worker that answered, for a broadcast.
    pub isolate: Option<String>,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// The `code` of a problem document.
    pub code: Option<String>,
}

/// The most characters of a value that a message shows.
const MAX_CHARS: usize = 2_000;

impl Expect {
    /// The unmet expectations, one line each.
    pub fn faults(&self, answer: &Answer) -> Vec<String> {
        let mut faults = Vec::new();
        let mut differ = |what: &str, expected: &str, found: &str| {
            faults.push(format!("{what}: expected {}, found {}", cut(expected), cut(found)));
        };
        match self.status {
            Some(status) if status != answer.status => {
                differ("status", &status.to_string(), &answer.status.to_string());
            }
            None if self.code.is_none() && answer.status >= 400 => {
                differ("status", "below 400", &answer.status.to_string());
            }
            _ => {}
        }
        if let Some(code) = self.code.as_ref().filter(|code| Some(*code) != answer.code.as_ref()) {
            differ("code", code, answer.code.as_deref().unwrap_or("none"));
        }
        for (name, value) in &self.headers {
            let found: Vec<&str> = answer
                .headers
                .iter()
                .filter(|(other, _)| other.eq_ignore_ascii_case(name))
                .map(|(_, v)| &**v)
                .collect();
            if !found.contains(&value.as_str()) {
                let found = if found.is_empty() { "none".to_owned() } else { quoted(&found.join(", ")) };
                differ(&format!("header {name}"), &quoted(value), &found);
            }
        }
        if let Some(text) = self.text.as_ref().filter(|text| **text != answer.body) {
            differ("text", &quoted(text), &quoted(&answer.body));
        }
        if let Some(part) = self.contains.as_ref().filter(|part| !answer.body.contains(part.as_str())) {
            differ("contains", &quoted(part), &quoted(&answer.body));
        }
        for (what, expected, whole) in [("json", &self.json, true), ("has", &self.has, false)] {
            let Some(expected) = expected else { continue };
            match serde_json::from_str::<Value>(&answer.body) {
                Ok(found) => {
                    if let Some((at, expected, found)) = difference(expected, &found, whole) {
                        differ(&format!("{what}{at}"), &expected, &found);
                    }
                }
                Err(_) => differ(what, &expected.to_string(), &format!("invalid JSON: {}", quoted(&answer.body))),
            }
        }
        faults
    }
}

/// The first path at which two values differ, with both values there. Unless `whole`, ignores keys
/// that are not expected.
fn difference(expected: &Value, found: &Value, whole: bool) -> Option<(String, String, String)> {
    let below = |step: String, inner: Option<(String, String, String)>| {
        inner.map(|(at, expected, found)| (format!("{step}{at}"), expected, found))
    };
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            let missing = || "nothing".to_owned();
            let unexpected = found.iter().filter(|(key, _)| whole && !expected.contains_key(*key));
            let mut unexpected = unexpected.map(|(key, value)| (format!(".{key}"), missing(), value.to_string()));
            let inner = expected.iter().find_map(|(key, value)| match found.get(key) {
                Some(there) => below(format!(".{key}"), difference(value, there, whole)),
                None => Some((format!(".{key}"), value.to_string(), missing())),
            });
            inner.or_else(|| unexpected.next())
        }
        (Value::Array(expected), Value::Array(found)) if expected.len() == found.len() => {
            let pairs = expected.iter().zip(found).enumerate();
            pairs.into_iter().find_map(|(index, (a, b))| below(format!("[{index}]"), difference(a, b, whole)))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()) => None,
        (a, b) if a == b => None,
        (a, b) => Some((String::new(), a.to_string(), b.to_string())),
    }
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Puts a text on one line and shortens it.
pub fn cut(text: &str) -> String {
    let mut short: String = text.chars().take(MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push_str("..");
    }
    crate::client::printable(&short)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn faults(expect: Value, status: u16, body: &str) -> Vec<String> {
        let headers = vec![("Content-Type".to_owned(), "a/b".to_owned())];
        let code = (status >= 400).then(|| "not-found".to_owned());
        let answer = Answer { isolate: None, status, headers, body: body.to_owned(), code };
        serde_json::from_value::<Expect>(expect).unwrap().faults(&answer)
    }

    #[test]
    fn each_unmet_expectation_is_reported() {
        for (expect, right, wrong, fault) in [
            (json!({}), (200, ""), (404, ""), "status: expected below 400, found 404"),
            (json!({"status": 404}), (404, ""), (200, ""), "status: expected 404, found 200"),
            (json!({"code": "not-found"}), (404, ""), (200, ""), "code: expected not-found, found none"),
            (json!({"text": "a\n"}), (200, "a\n"), (200, "a"), r#"text: expected "a\n", found "a""#),
            (json!({"contains": "b"}), (200, "abc"), (200, "ac"), r#"contains: expected "b", found "ac""#),
            (
                json!({"json": {"a": 1, "b": [2]}}),
                (200, r#"{"b":[2],"a":1.0}"#),
                (200, r#"{"a":1,"b":[3]}"#),
                "json.b[0]: expected 2, found 3",
            ),
            (json!({"json": {}}), (200, "{}"), (200, r#"{"a":1}"#), "json.a: expected nothing, found 1"),
            (json!({"json": [1]}), (200, "[1]"), (200, "[1,2]"), "json: expected [1], found [1,2]"),
            (json!({"json": null}), (200, "null"), (200, "no"), r#"json: expected null, found invalid JSON: "no""#),
            (
                json!({"has": {"a": {"b": 1}}}),
                (200, r#"{"a":{"b":1,"c":2},"d":3}"#),
                (200, r#"{"a":{}}"#),
                "has.a.b: expected 1, found nothing",
            ),
        ] {
            assert_eq!(faults(expect.clone(), right.0, right.1), [""; 0], "{expect}");
            assert_eq!(faults(expect.clone(), wrong.0, wrong.1), [fault], "{expect}");
        }
        assert_eq!(faults(json!({"headers": {"content-type": "a/b"}}), 200, ""), [""; 0]);
        let wrong = faults(json!({"headers": {"content-type": "a/c", "x": "y"}}), 200, "");
        assert_eq!(
            wrong,
            [r#"header content-type: expected "a/c", found "a/b""#, r#"header x: expected "y", found none"#]
        );
    }

    #[test]
    fn long_values_are_shortened() {
        assert_eq!(cut(&"a".repeat(MAX_CHARS)).len(), MAX_CHARS);
        assert_eq!(cut(&"a".repeat(MAX_CHARS + 1)).len(), MAX_CHARS + 2);
    }
}
