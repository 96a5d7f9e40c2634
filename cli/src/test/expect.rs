//! Compares an answer with the expectations of a case.

use serde_json::Value;

use super::expected::{EmittedExpect, EventExpect, Expect, MessageExpect, PublishedExpect};
use super::given::Given;
use crate::client::ServerEvent;

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

/// An event that the module has emitted.
#[derive(Debug, Clone, PartialEq)]
pub struct EmittedEvent {
    pub event_type: String,
    pub value: Value,
}

/// A message that the module has published to a broker outside.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedMessage {
    pub connection: String,
    pub topic: String,
    pub text: String,
}

/// The most characters of a value that a message shows.
const MAX_CHARS: usize = 2_000;

impl Expect {
    /// The unmet expectations, one line each.
    pub fn faults(&self, answer: &Answer) -> Vec<String> {
        let mut faults = Differences::default();
        match self.status {
            Some(status) if status != answer.status => {
                faults.add("status", &status.to_string(), &answer.status.to_string());
            }
            None if self.code.is_none() && answer.status >= 400 => {
                faults.add("status", "below 400", &answer.status.to_string());
            }
            _ => {}
        }
        if let Some(code) = self.code.as_ref().filter(|code| Some(*code) != answer.code.as_ref()) {
            faults.add("code", code, answer.code.as_deref().unwrap_or("none"));
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
                faults.add(&format!("header {name}"), &quoted(value), &found);
            }
        }
        faults.whole("text", self.text.as_ref(), &answer.body);
        faults.part(self.contains.as_ref(), &answer.body);
        faults.json(&self.json, &self.has, &answer.body);
        faults.lines
    }
}

impl EventExpect {
    /// The unmet expectations, one line each. `place` names the event.
    pub fn faults(&self, place: &str, event: &ServerEvent) -> Vec<String> {
        let mut faults = Differences::at(place);
        let name = if event.name.is_empty() { "message" } else { &event.name };
        faults.whole("event", self.event.as_ref(), name);
        let id = event.id.as_deref();
        if let Some(expected) = self.id.as_ref().filter(|expected| !id.is_some_and(|id| matches(expected, id))) {
            faults.add("id", &quoted(expected), &id.map_or("none".to_owned(), quoted));
        }
        faults.whole("data", self.data.as_ref(), &event.data);
        faults.part(self.contains.as_ref(), &event.data);
        faults.json(&self.json, &self.has, &event.data);
        faults.lines
    }
}

impl MessageExpect {
    /// The unmet expectations, one line each. `place` names the message.
    pub fn faults(&self, place: &str, message: &str) -> Vec<String> {
        let mut faults = Differences::at(place);
        faults.whole("text", self.text.as_ref(), message);
        faults.part(self.contains.as_ref(), message);
        faults.json(&self.json, &self.has, message);
        faults.lines
    }
}

impl EmittedExpect {
    /// The unmet expectations, one line each. `place` names the event.
    pub fn faults(&self, place: &str, event: &EmittedEvent) -> Vec<String> {
        let mut faults = Differences::at(place);
        faults.whole("type", self.event_type.as_ref(), &event.event_type);
        faults.json(&self.json, &self.has, &event.value.to_string());
        faults.lines
    }
}

impl PublishedExpect {
    /// The unmet expectations, one line each. `place` names the message.
    pub fn faults(&self, place: &str, message: &PublishedMessage) -> Vec<String> {
        let mut faults = Differences::at(place);
        faults.whole("connection", self.connection.as_ref(), &message.connection);
        faults.whole("topic", self.topic.as_ref(), &message.topic);
        faults.whole("text", self.text.as_ref(), &message.text);
        faults.part(self.contains.as_ref(), &message.text);
        faults.json(&self.json, &self.has, &message.text);
        faults.lines
    }
}

/// Unmet expectations, one line each.
#[derive(Default)]
struct Differences {
    /// The beginning of each line.
    place: String,
    lines: Vec<String>,
}

impl Differences {
    fn at(place: &str) -> Differences {
        Differences { place: format!("{place}."), lines: Vec::new() }
    }

    fn add(&mut self, what: &str, expected: &str, found: &str) {
        let place = &self.place;
        self.lines.push(format!("{place}{what}: expected {}, found {}", cut(expected), cut(found)));
    }

    /// Compares a whole text.
    fn whole(&mut self, what: &str, expected: Option<&String>, found: &str) {
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            self.add(what, &quoted(expected), &quoted(found));
        }
    }

    /// Looks for a part of a text.
    fn part(&mut self, expected: Option<&String>, found: &str) {
        if let Some(part) = expected.filter(|part| !found.contains(part.as_str())) {
            self.add("contains", &quoted(part), &quoted(found));
        }
    }

    /// Compares a text as JSON: the whole value, and a part of it.
    fn json(&mut self, json: &Given, has: &Given, text: &str) {
        for (what, expected, whole) in [("json", json, true), ("has", has, false)] {
            let Some(expected) = expected.get() else { continue };
            match serde_json::from_str::<Value>(text) {
                Ok(found) => {
                    if let Some((at, expected, found)) = difference(expected, &found, whole) {
                        self.add(&format!("{what}{at}"), &expected, &found);
                    }
                }
                Err(_) => self.add(what, &expected.to_string(), &format!("invalid JSON: {}", quoted(text))),
            }
        }
    }
}

/// Whether a text matches a pattern, in which `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
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
        (Value::Array(_), Value::Array(other)) if !whole => {
            let rule = format!("{} elements, but arrays must have the same length: {found}", other.len());
            Some((String::new(), expected.to_string(), rule))
        }
        (Value::Number(a), Value::Number(b)) if a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64()) => None,
        (a, b) if a == b => None,
        (a, b) => Some((String::new(), a.to_string(), b.to_string())),
    }
}

pub fn quoted(text: &str) -> String {
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
            (
                json!({"has": {"a": [1]}}),
                (200, r#"{"a":[1],"b":2}"#),
                (200, r#"{"a":[1,2]}"#),
                "has.a: expected [1], found 2 elements, but arrays must have the same length: [1,2]",
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

    #[test]
    fn each_unmet_expectation_of_an_event_is_reported() {
        let event = ServerEvent { name: "tick".into(), data: r#"{"count":2}"#.into(), id: Some("x-17".into()) };
        let faults = |expect: Value, event: &ServerEvent| {
            serde_json::from_value::<EventExpect>(expect).unwrap().faults("events.a[0]", event)
        };
        let right = json!({ "event": "tick", "id": "x-*", "data": "{\"count\":2}", "contains": "2", "json": {"count": 2}, "has": {} });
        assert_eq!(faults(right, &event), [""; 0]);
        let wrong =
            json!({ "event": "tock", "id": "y-*", "data": "", "contains": "3", "json": {"count": 3}, "has": {"a": 1} });
        assert_eq!(
            faults(wrong, &event),
            [
                r#"events.a[0].event: expected "tock", found "tick""#,
                r#"events.a[0].id: expected "y-*", found "x-17""#,
                r#"events.a[0].data: expected "", found "{\"count\":2}""#,
                r#"events.a[0].contains: expected "3", found "{\"count\":2}""#,
                "events.a[0].json.count: expected 3, found 2",
                "events.a[0].has.a: expected 1, found nothing",
            ]
        );
        let plain = ServerEvent::default();
        assert_eq!(faults(json!({ "event": "message" }), &plain), [""; 0]);
        assert_eq!(faults(json!({ "id": "*" }), &plain), [r#"events.a[0].id: expected "*", found none"#]);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, text) in [("a", "a"), ("*", ""), ("a*", "ab"), ("*b", "ab"), ("a*c*e", "abcde"), ("a**b", "ab")] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [("a", "ab"), ("a*", "ba"), ("*b", "ba"), ("a*a", "a"), ("a*c*c", "abc")] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }
}
