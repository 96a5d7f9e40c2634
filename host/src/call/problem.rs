//! Problem documents (RFC 9457): the error responses of every listener.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{CallError, Payload, ProblemCode, Trace};

/// The characters to escape in a URN after its namespace.
const URN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Why a request failed, for its sender.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub title: &'static str,
    pub detail: String,
    /// The module that the request was for.
    pub module: Option<String>,
    /// The id of the request in the log.
    pub trace: Option<Trace>,
    /// The data that the guest's failure carries.
    pub data: Payload,
}

impl Problem {
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Problem {
        Problem {
            status: code.status(),
            code: Cow::Borrowed(code.as_str()),
            title: code.title(),
            detail: detail.into(),
            module: None,
            trace: None,
            data: Payload::None,
        }
    }

    /// Converts to the document that a listener sends.
    pub fn into_document(self) -> ProblemDocument {
        // A text that is JSON is sent as it is, without serialising it again, and any other text as
        // a JSON string.
        let data = match self.data {
            Payload::Text(text) => RawValue::from_string(text.clone()).or_else(|_| to_raw_value(&text)).ok(),
            Payload::None | Payload::Bytes(_) => None,
        };
        ProblemDocument {
            kind: format!("urn:fanfare:{}", utf8_percent_encode(&self.code, URN)),
            title: self.title.to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.into_owned(),
            module: self.module,
            trace: self.trace.map(|trace| trace.to_string()),
            data,
        }
    }
}

/// A problem document (RFC 9457), as JSON.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ProblemDocument {
    /// `urn:fanfare:<code>`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The kind of problem, for people.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The fault, and how to fix it.
    #[serde(default)]
    pub detail: String,
    /// The kind of problem, for programs: a code of the host, or the name of the guest's failure.
    pub code: String,
    /// The module that the request was for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// The id of the request in the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// The data of the guest's failure: any JSON, byte for byte as the guest wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Strings, numbers and JSON always serialise.
        f.write_str(&serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned()))
    }
}

/// The texts of a guest's failure are not changed.
impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        let code = error.problem_code();
        match error {
            CallError::Failure(failure) => {
                let status = StatusCode::from_u16(failure.effective_status()).unwrap_or(code.status());
                let mut problem = Problem::new(code, failure.message);
                problem.status = status;
                problem.title = status.canonical_reason().unwrap_or(problem.title);
                if !failure.name.is_empty() {
                    problem.code = failure.name.into();
                }
                problem.data = failure.data;
                problem
            }
            CallError::Other(kind, message) => Problem { code: kind.into(), ..Problem::new(code, message) },
            error => Problem::new(code, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Failure;

    fn failure(name: &str, data: Payload) -> String {
        let failure = Failure { name: name.into(), message: "no".into(), status: 409, data, ..Failure::default() };
        Problem::from(CallError::Failure(failure)).into_document().to_string()
    }

    #[test]
    fn a_failure_keeps_its_status_name_and_message() {
        let expected = r#"{"type":"urn:fanfare:no-such-flag","title":"Conflict","status":409,"detail":"no","code":"no-such-flag"}"#;
        assert_eq!(failure("no-such-flag", Payload::None), expected);
        assert_eq!(failure("no-such-flag", Payload::Bytes(vec![1])), expected);
        assert!(failure("", Payload::None).contains(r#""code":"failure""#));
    }

    #[test]
    fn json_data_is_sent_unchanged_and_other_text_as_a_string() {
        let data = |text: &str| failure("x", Payload::Text(text.into()));
        assert!(data("{\"n\": 1.00, \"n\":2}").ends_with(r#","data":{"n": 1.00, "n":2}}"#));
        assert!(data("say \"no\"").ends_with(r#","data":"say \"no\""}"#));
        assert!(data("1} ,\"x\":{").ends_with(r#","data":"1} ,\"x\":{"}"#));
        assert!(data("").ends_with(r#","data":""}"#));
        let deep = "[".repeat(10_000);
        assert!(data(&deep).contains("[[["));
    }

    #[test]
    fn an_unknown_kind_of_error_keeps_its_name() {
        let error = CallError::Other("too-late".into(), "The epoch is over.".into());
        let text = Problem::from(error).into_document().to_string();
        assert!(text.contains(r#""status":502,"detail":"The epoch is over.","code":"too-late""#), "{text}");
    }

    #[test]
    fn every_name_becomes_a_valid_urn() {
        let text = failure("no such <flag>\n", Payload::None);
        assert!(text.starts_with(r#"{"type":"urn:fanfare:no%20such%20%3Cflag%3E%0A""#), "{text}");
    }
}
