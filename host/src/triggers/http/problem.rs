//! Builds every error answer: a problem document and its header fields.

use std::fmt::Write as _;
use std::time::Duration;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Method, StatusCode};

use super::content::Answer;
use super::settings::Settings;
use crate::call::{self, CallError, MAX_PATH, Trace};
use crate::net::Full;

/// The type of a problem document.
pub(super) const TYPE: &str = "application/problem+json";

/// An error answer. It is small, because every good answer has room for it in its `Result`.
#[derive(Debug)]
pub(crate) struct Problem(Box<Fields>);

#[derive(Debug)]
struct Fields {
    what: call::Problem,
    allow: Option<HeaderValue>,
    retry: bool,
    close: bool,
}

impl From<call::Problem> for Problem {
    fn from(what: call::Problem) -> Problem {
        Problem(Box::new(Fields { what, allow: None, retry: false, close: false }))
    }
}

impl Problem {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        title: &'static str,
        detail: impl Into<String>,
    ) -> Problem {
        call::Problem::new(status, code, title, detail).into()
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

    /// A path that is longer than any route's.
    pub(super) fn long_path(bytes: usize) -> Problem {
        let detail = format!("the path below the module has {bytes} bytes: at most {MAX_PATH} are served");
        Problem::new(StatusCode::URI_TOO_LONG, "uri-too-long", "the path is too long", detail)
    }

    pub(super) fn many_headers(max: usize) -> Problem {
        let detail = format!("a request may have {max} header fields at most (`http.maxHeaders`)");
        let title = "too many header fields";
        Problem::new(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "headers-too-large", title, detail)
    }

    /// The head could not be read, so it never became a request.
    pub(super) fn of_head(status: StatusCode, settings: &Settings) -> Option<Problem> {
        let (fields, bytes) = (settings.max_headers, settings.max_header_bytes);
        match status {
            StatusCode::BAD_REQUEST => Some(Problem::bad_request(
                "the head cannot be read as HTTP/1.1: a first line `<method> <path> HTTP/1.1`, then fields `<name>: <value>`, \
                 one length, and an empty line",
            )),
            StatusCode::URI_TOO_LONG => {
                let detail = "a request's path and query may have 65534 bytes at most";
                Some(Problem::new(status, "uri-too-long", "the path is too long", detail))
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                let detail = format!(
                    "the head of a request may have {fields} header fields (`http.maxHeaders`) and {bytes} bytes \
                     (`http.maxHeaderBytes`) at most"
                );
                Some(Problem::new(status, "headers-too-large", "the head is too large", detail))
            }
            _ => None,
        }
    }

    /// The body has a transfer coding that hyper does not decode.
    pub(super) fn unknown_coding(coding: &str) -> Problem {
        let detail = format!(
            "the transfer coding `{coding}` is not supported: send `Transfer-Encoding: chunked` or a `Content-Length`, and \
             name a compression in `Content-Encoding`"
        );
        let title = "the transfer coding is not supported";
        let mut problem = Problem::new(StatusCode::NOT_IMPLEMENTED, "unknown-transfer-coding", title, detail);
        problem.0.close = true;
        problem
    }

    pub(super) fn slow_body(limit: Duration) -> Problem {
        let detail = format!("the body did not arrive whole within {limit:?} (`http.bodyTimeout`)");
        let mut problem = Problem::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body came too slowly", detail);
        problem.0.close = true;
        problem
    }

    /// Connections hold too many bytes to accept this request.
    pub(super) fn no_room(full: Full) -> Problem {
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "Overloaded", full.to_string());
        problem.0.retry = true;
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

    /// A call without a reply.
    pub(super) fn of_call(error: CallError) -> Problem {
        let retry = matches!(error, CallError::Overloaded(_) | CallError::Unavailable(_));
        let mut problem = Problem::from(call::Problem::from(error));
        problem.0.retry = retry;
        problem
    }

    /// Names the module that was called.
    pub(super) fn of(mut self, module: &str) -> Problem {
        self.0.what.module = Some(module.to_owned());
        self
    }

    /// Names the trace, which the log has too.
    pub(super) fn traced(mut self, trace: Trace) -> Problem {
        self.0.what.trace = Some(trace);
        self
    }

    pub(super) fn document(self) -> String {
        self.0.what.document().to_string()
    }

    pub(super) fn into_response(self) -> Answer {
        let status = self.0.what.status;
        let mut response = Answer::new(self.0.what.document().to_string().into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
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

#[cfg(test)]
mod tests {
    use super::*;

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
