//! A problem document, as a person reads it.

use std::fmt::Write as _;

use serde::Deserialize;
use serde_json::Value;

use super::printable;

/// Why the host, or one of the places that it asked, said no.
#[derive(Debug, Deserialize)]
pub struct Problem {
    status: u16,
    code: String,
    #[serde(default)]
    detail: String,
    trace: Option<String>,
    data: Option<Value>,
}

impl Problem {
    /// One line, and one more for the data that a guest sends along.
    pub fn sentence(&self) -> String {
        let Problem { status, code, detail, trace, data } = self;
        let mut text = format!("{} ({status})", printable(code));
        // Writing to a string cannot fail.
        if !detail.is_empty() {
            _ = write!(text, ": {}", printable(detail));
        }
        if let Some(trace) = trace {
            _ = write!(text, " [trace {}]", printable(trace));
        }
        if let Some(data) = data {
            _ = write!(text, "\n  data: {}", printable(&data.to_string()));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sentence(problem: &str) -> String {
        serde_json::from_str::<Problem>(problem).unwrap().sentence()
    }

    #[test]
    fn a_problem_is_one_sentence() {
        let problem = r#"{"type":"x","status":404,"code":"not-found","detail":"no\u001bmodule","trace":"ab"}"#;
        assert_eq!(sentence(problem), "not-found (404): no\\u{1b}module [trace ab]");
        assert_eq!(sentence(r#"{"status":500,"code":"failure","detail":""}"#), "failure (500)");
    }

    #[test]
    fn what_a_guest_sends_along_has_a_line() {
        let problem = r#"{"status":409,"code":"x","detail":"no","data":{"b":[1],"a":"\n\u009b"}}"#;
        assert_eq!(sentence(problem), "x (409): no\n  data: {\"b\":[1],\"a\":\"\\n\\u{9b}\"}");
    }
}
