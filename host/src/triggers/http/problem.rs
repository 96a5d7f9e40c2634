//! Every error answer, in one place: problem documents (RFC 9457).

use std::borrow::Cow;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde::de::IgnoredAny;

use crate::call::{CallError, Payload, Trace};

/// An answer that says no. Small, because it travels beside every good one.
#[derive(Debug)]
pub(super) struct Problem(Box<Fields>);

#[derive(Debug)]
struct Fields {
    status: StatusCode,
    code: Cow<'static, str>,
    title: &'static str,
    detail: String,
    module: Option<String>,
    trace: Option<Trace>,
    data: Payload,
    allow: Option<HeaderValue>,
    retry: bool,
    close: bool,
}

/// What may stand unescaped in a URN after its namespace.
const URN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b':');

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        Problem(Box::new(Fields {
            status,
            code: Cow::Borrowed(code),
            title,
            detail: detail.into(),
            module: None,
            trace: None,
            data: Payload::None,
            allow: None,
            retry: false,
            close: false,
        }))
    }

    pub(super) fn bad_request(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::BAD_REQUEST, "bad-request", "the request is malformed", detail)
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::NOT_FOUND, "not-found", "nothing is served here", detail)
    }

    pub(super) fn forbidden(detail: impl Into<String>) -> Problem {
        Problem::new(StatusCode::FORBIDDEN, "forbidden", "not open to you", detail)
    }

    pub(super) fn method_not_allowed(method: &Method, methods: &[Method]) -> Problem {
        let allow = allow(methods);
        let detail = format!("`{method}` is not served here: use one of {}", allow.to_str().unwrap_or_default());
        let title = "the route has other methods";
        let mut problem = Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", title, detail);
        problem.0.allow = Some(allow);
        problem
    }

    pub(super) fn too_large(max: u64, key: &str) -> Problem {
        let detail = format!("a body may have {max} bytes at most (`{key}`)");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "payload-too-large", "the body is too large", detail)
    }

    pub(super) fn many_headers(max: usize) -> Problem {
        let detail = format!("a request may have {max} header fields at most (`http.maxHeaders`)");
        let title = "too many header fields";
        Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", title, detail)
    }

    pub(super) fn slow_body(limit: Duration) -> Problem {
        let detail = format!("the body did not arrive whole within {limit:?} (`http.bodyTimeout`)");
        let mut problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body came too slowly", detail);
        problem.0.close = true;
        problem
    }

    pub(super) fn invalid_reply(detail: impl Into<String>) -> Problem {
        let title = "the module's reply cannot be sent";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "invalid-reply", title, detail)
    }

    /// A panic in the host itself.
    pub(super) fn internal() -> Problem {
        let detail = "the host failed while it answered: its log says why";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the host failed", detail)
    }

    /// A call without a reply: what the guest says goes out as it is.
    pub(super) fn of_call(error: CallError) -> Problem {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = error.code();
        let title = title(&error);
        let retry = matches!(error, CallError::Overloaded(_) | CallError::Unavailable(_));
        match error {
            CallError::Failure(failure) => {
                let mut problem =
                    Problem::new(status, code, status.canonical_reason().unwrap_or(title), failure.message);
                if !failure.name.is_empty() {
                    problem.0.code = failure.name.into();
                }
                problem.0.data = failure.data;
                problem
            }
            other => {
                let mut problem = Problem::new(status, code, title, other.to_string());
                problem.0.retry = retry;
                problem
            }
        }
    }

    /// Says which module it is about, and under which name the log knows it.
    pub(super) fn of(mut self, module: &str, trace: Option<Trace>) -> Problem {
        self.0.module = Some(module.to_owned());
        self.0.trace = trace;
        self
    }

    pub(super) fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.0.document()));
        *response.status_mut() = self.0.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(allow) = self.0.allow {
            headers.insert(ALLOW, allow);
        }
        if self.0.retry {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if self.0.close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl Fields {
    fn document(&self) -> Bytes {
        let document = Document {
            kind: format!("urn:fanfare:{}", utf8_percent_encode(&self.code, URN)),
            title: self.title,
            status: self.status.as_u16(),
            detail: &self.detail,
            code: &self.code,
            module: self.module.as_deref(),
            trace: self.trace.map(|trace| trace.to_string()),
        };
        // Strings, numbers and plain fields: nothing of it can fail.
        let mut text = serde_json::to_string(&document).unwrap_or_else(|_| "{}".to_owned());
        if let (Payload::Text(data), true) = (&self.data, text.ends_with('}')) {
            text.pop();
            // JSON goes out as it is, never re-serialised; any other text as a string.
            match serde_json::from_str::<IgnoredAny>(data) {
                Ok(_) => _ = write!(text, ",\"data\":{data}}}"),
                Err(_) => _ = write!(text, ",\"data\":{}}}", serde_json::Value::from(data.as_str())),
            }
        }
        text.into()
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "type")]
    kind: String,
    title: &'a str,
    status: u16,
    detail: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    module: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<String>,
}

/// The value of `Allow` for a route's own methods.
pub(super) fn allow(methods: &[Method]) -> HeaderValue {
    let mut text = String::new();
    for method in methods {
        _ = write!(text, "{method}, ");
        if *method == Method::GET {
            text.push_str("HEAD, ");
        }
    }
    text.push_str("OPTIONS");
    HeaderValue::try_from(text).unwrap_or(HeaderValue::from_static("OPTIONS"))
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
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::Failure;

    fn document(problem: &Problem) -> String {
        String::from_utf8(problem.0.document().to_vec()).unwrap()
    }

    fn failure(name: &str, data: Payload) -> Problem {
        let failure = Failure { name: name.into(), message: "no".into(), status: 409, data, ..Failure::default() };
        Problem::of_call(CallError::Failure(failure))
    }

    #[test]
    fn a_failure_maps_one_to_one() {
        let expected = r#"{"type":"urn:fanfare:no-such-flag","title":"Conflict","status":409,"detail":"no","code":"no-such-flag"}"#;
        assert_eq!(document(&failure("no-such-flag", Payload::None)), expected);
        assert_eq!(document(&failure("no-such-flag", Payload::Bytes(vec![1]))), expected);
        assert!(document(&failure("", Payload::None)).contains(r#""code":"failure""#));
    }

    #[test]
    fn json_goes_out_as_it_is_and_other_text_as_a_string() {
        let data = |text: &str| document(&failure("x", Payload::Text(text.into())));
        assert!(data("{\"n\": 1.00, \"n\":2}").ends_with(r#","data":{"n": 1.00, "n":2}}"#));
        assert!(data("say \"no\"").ends_with(r#","data":"say \"no\""}"#));
        assert!(data("1} ,\"x\":{").ends_with(r#","data":"1} ,\"x\":{"}"#));
        assert!(data("").ends_with(r#","data":""}"#));
        let deep = "[".repeat(10_000);
        assert!(data(&deep).contains("[[["));
    }

    #[test]
    fn any_name_makes_a_urn() {
        let text = document(&failure("no such <flag>\n", Payload::None));
        assert!(text.starts_with(r#"{"type":"urn:fanfare:no%20such%20%3Cflag%3E%0A""#), "{text}");
    }

    #[test]
    fn every_variant_has_its_status() {
        let text = || "x".to_owned();
        let all = [
            (CallError::Timeout, 504, false),
            (CallError::NotFound(text()), 404, false),
            (CallError::Forbidden(text()), 403, false),
            (CallError::Overloaded(text()), 503, true),
            (CallError::Crashed(text()), 500, false),
            (CallError::Unavailable(text()), 503, true),
            (CallError::WouldDeadlock(text()), 508, false),
            (CallError::TooDeep(text()), 508, false),
            (CallError::Invalid(text()), 400, false),
        ];
        for (error, status, retry) in all {
            let code = error.code();
            let response = Problem::of_call(error).into_response();
            assert_eq!(response.status(), status, "{code}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), retry, "{code}");
        }
    }
}
