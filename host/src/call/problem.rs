//! Problem documents (RFC 9457): how every listener says no.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

use super::{CallError, Payload, Trace};

/// What may stand unescaped in a URN after its namespace.
const URN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

/// Why something was not done, for whoever asked for it.
#[derive(Debug)]
pub struct Problem {
    pub status: StatusCode,
    pub code: Cow<'static, str>,
    pub title: &'static str,
    pub detail: String,
    /// The module it is about.
    pub module: Option<String>,
    /// Under which name the log knows it.
    pub trace: Option<Trace>,
    /// What the guest says beside it.
    pub data: Payload,
}

impl Problem {
    pub fn new(status: StatusCode, code: &'static str, title: &'static str, detail: impl Into<String>) -> Problem {
        Problem {
            status,
            code: Cow::Borrowed(code),
            title,
            detail: detail.into(),
            module: None,
            trace: None,
            data: Payload::None,
        }
    }

    /// As every listener writes it.
    pub fn document(self) -> ProblemDocument {
        // JSON goes out as it is, never re-serialised; any other text as a string.
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
    /// What kind of problem it is, in words.
    #[serde(default)]
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened.
    #[serde(default)]
    pub detail: String,
    /// What kind of problem it is, for programs: the host's word, or the name of the guest's failure.
    pub code: String,
    /// The module it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Under which name the log knows the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// What the guest says besides: any JSON, as the guest wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Box<RawValue>>,
}

impl fmt::Display for ProblemDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Strings, numbers and JSON: nothing of it can fail.
        f.write_str(&serde_json::to_string(self).unwrap_or_else(|_| "{}".to_owned()))
    }
}

/// What the guest says goes out as it is.
impl From<CallError> for Problem {
    fn from(error: CallError) -> Problem {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let (code, title) = (error.code(), title(&error));
        match error {
            CallError::Failure(failure) => {
                let title = status.canonical_reason().unwrap_or(title);
                let mut problem = Problem::new(status, code, title, failure.message);
                if !failure.name.is_empty() {
                    problem.code = failure.name.into();
                }
                problem.data = failure.data;
                problem
            }
            CallError::Other(kind, message) => {
                Problem { code: kind.into(), ..Problem::new(status, code, title, message) }
            }
            error => Problem::new(status, code, title, error.to_string()),
        }
    }
}

fn title(error: &CallError) -> &'static str {
    match error {
        CallError::Failure(_) => "the handler said no",
        CallError::Timeout => "no answer in time",
        CallError::NotFound(_) => "nothing is served here",
        CallError::Forbidden(_) => "not open to you",
        CallError::Overloaded(_) => "too much to do",
        CallError::Crashed(_) => "the module crashed",
        CallError::Unavailable(_) => "the module is not available",
        CallError::WouldDeadlock(_) => "the call would wait for itself",
        CallError::TooDeep(_) => "calls are nested too deep",
        CallError::Invalid(_) => "the call is invalid",
        CallError::Other(..) => "the call failed on another node",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Failure;

    fn failure(name: &str, data: Payload) -> String {
        let failure = Failure { name: name.into(), message: "no".into(), status: 409, data, ..Failure::default() };
        Problem::from(CallError::Failure(failure)).document().to_string()
    }

    #[test]
    fn a_failure_maps_one_to_one() {
        let expected = r#"{"type":"urn:fanfare:no-such-flag","title":"Conflict","status":409,"detail":"no","code":"no-such-flag"}"#;
        assert_eq!(failure("no-such-flag", Payload::None), expected);
        assert_eq!(failure("no-such-flag", Payload::Bytes(vec![1])), expected);
        assert!(failure("", Payload::None).contains(r#""code":"failure""#));
    }

    #[test]
    fn json_goes_out_as_it_is_and_other_text_as_a_string() {
        let data = |text: &str| failure("x", Payload::Text(text.into()));
        assert!(data("{\"n\": 1.00, \"n\":2}").ends_with(r#","data":{"n": 1.00, "n":2}}"#));
        assert!(data("say \"no\"").ends_with(r#","data":"say \"no\""}"#));
        assert!(data("1} ,\"x\":{").ends_with(r#","data":"1} ,\"x\":{"}"#));
        assert!(data("").ends_with(r#","data":""}"#));
        let deep = "[".repeat(10_000);
        assert!(data(&deep).contains("[[["));
    }

    #[test]
    fn a_kind_of_a_later_version_keeps_its_name() {
        let error = CallError::Other("too-late".into(), "The epoch is over.".into());
        let text = Problem::from(error).document().to_string();
        assert!(text.contains(r#""status":502,"detail":"The epoch is over.","code":"too-late""#), "{text}");
    }

    #[test]
    fn any_name_makes_a_urn() {
        let text = failure("no such <flag>\n", Payload::None);
        assert!(text.starts_with(r#"{"type":"urn:fanfare:no%20such%20%3Cflag%3E%0A""#), "{text}");
    }
}
