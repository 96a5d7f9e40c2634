//! Builds every error response: a problem document and its header fields.

use std::time::Duration;

use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, StatusCode};

use super::content::HttpResponse;
use super::host_response::allow;
use super::restart_notice::RestartNotice;
use super::settings::Settings;
use crate::call::{self, CallError, MAX_PATH, ProblemCode, Trace};
use crate::net::BudgetExceeded;

/// The content type of a problem document.
pub(super) const TYPE: &str = "application/problem+json";

/// An error response. It is boxed so that a `Result` with it stays small.
#[derive(Debug)]
pub(crate) struct ProblemResponse(Box<Fields>);

#[derive(Debug)]
struct Fields {
    problem: call::Problem,
    /// The value of `Allow`.
    allow: Option<HeaderValue>,
    /// The value of `Retry-After` in seconds.
    retry: Option<u16>,
    /// Whether to close the connection.
    close: bool,
    /// The protocols that the client may change to.
    upgrade: Vec<(HeaderName, HeaderValue)>,
}

impl From<call::Problem> for ProblemResponse {
    fn from(problem: call::Problem) -> ProblemResponse {
        ProblemResponse(Box::new(Fields { problem, allow: None, retry: None, close: false, upgrade: Vec::new() }))
    }
}

impl ProblemResponse {
    pub(in crate::triggers) fn new(code: ProblemCode, detail: impl Into<String>) -> ProblemResponse {
        call::Problem::new(code, detail).into()
    }

    pub(in crate::triggers) fn bad_request(detail: impl Into<String>) -> ProblemResponse {
        ProblemResponse::new(ProblemCode::BadRequest, detail)
    }

    pub(in crate::triggers) fn not_found(detail: impl Into<String>) -> ProblemResponse {
        ProblemResponse::new(ProblemCode::NotFound, detail)
    }

    pub(in crate::triggers) fn forbidden(detail: impl Into<String>) -> ProblemResponse {
        ProblemResponse::new(ProblemCode::Forbidden, detail)
    }

    pub(in crate::triggers) fn method_not_allowed(method: &Method, methods: &[Method]) -> ProblemResponse {
        let allow = allow(methods);
        let detail =
            format!("this route does not accept `{method}`: use one of {}", allow.to_str().unwrap_or_default());
        let mut problem = ProblemResponse::new(ProblemCode::MethodNotAllowed, detail);
        problem.0.allow = Some(allow);
        problem
    }

    /// The path needs another protocol, which the fields name.
    pub(in crate::triggers) fn upgrade_required(
        detail: impl Into<String>,
        fields: &[(HeaderName, HeaderValue)],
    ) -> ProblemResponse {
        let mut problem = ProblemResponse::new(ProblemCode::UpgradeRequired, detail);
        problem.0.upgrade = fields.to_vec();
        problem
    }

    pub(super) fn too_large(max: u64, key: &str) -> ProblemResponse {
        let detail = format!("a request body may have at most {max} bytes (`{key}`)");
        ProblemResponse::new(ProblemCode::PayloadTooLarge, detail)
    }

    /// The path is longer than the path of any route can be.
    pub(super) fn path_too_long(bytes: usize) -> ProblemResponse {
        let detail = format!("the path after the module name has {bytes} bytes, but may have at most {MAX_PATH}");
        ProblemResponse::new(ProblemCode::UriTooLong, detail)
    }

    pub(super) fn too_many_headers(max: usize) -> ProblemResponse {
        let detail = format!("a request may have at most {max} header fields (`http.maxHeaders`)");
        ProblemResponse::new(ProblemCode::HeadersTooLarge, detail)
    }

    /// hyper rejected the head with this status, so it never became a request.
    pub(super) fn of_head(status: StatusCode, settings: &Settings) -> Option<ProblemResponse> {
        let (fields, bytes) = (settings.max_headers, settings.max_header_bytes);
        match status {
            StatusCode::BAD_REQUEST => Some(ProblemResponse::bad_request(
                "the request head is not valid HTTP/1.1: send the line `<method> <path> HTTP/1.1`, then fields \
                 `<name>: <value>` with at most one length, and an empty line",
            )),
            StatusCode::URI_TOO_LONG => {
                let detail = "the path and query of a request may have at most 65534 bytes";
                Some(ProblemResponse::new(ProblemCode::UriTooLong, detail))
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                let detail = format!(
                    "a request head may have at most {fields} header fields (`http.maxHeaders`) and {bytes} bytes \
                     (`http.maxHeaderBytes`)"
                );
                Some(ProblemResponse::new(ProblemCode::HeadersTooLarge, detail))
            }
            _ => None,
        }
    }

    /// The body has a transfer coding that hyper does not decode.
    pub(super) fn unknown_coding(coding: &str) -> ProblemResponse {
        let detail = format!(
            "the transfer coding `{coding}` is not supported: send `Transfer-Encoding: chunked` or a \
             `Content-Length`, and declare compression in `Content-Encoding`"
        );
        let mut problem = ProblemResponse::new(ProblemCode::UnknownTransferCoding, detail);
        problem.0.close = true;
        problem
    }

    pub(super) fn slow_body(limit: Duration) -> ProblemResponse {
        let detail = format!("the request body did not arrive within {limit:?} (`http.bodyTimeout`)");
        let mut problem = ProblemResponse::new(ProblemCode::BodyTimeout, detail);
        problem.0.close = true;
        problem
    }

    /// Connections buffer too many bytes to accept this request.
    pub(super) fn budget_exceeded(error: BudgetExceeded) -> ProblemResponse {
        let detail = error.to_string();
        let mut problem = ProblemResponse::new(ProblemCode::Overloaded, detail);
        problem.0.retry = Some(1);
        problem
    }

    pub(super) fn invalid_reply(detail: impl Into<String>) -> ProblemResponse {
        ProblemResponse::new(ProblemCode::InvalidReply, detail)
    }

    /// The host itself panicked.
    pub(super) fn internal() -> ProblemResponse {
        let detail = "the host failed to answer this request: see its log for the reason";
        ProblemResponse::new(ProblemCode::Internal, detail)
    }

    /// The call failed.
    pub(in crate::triggers) fn of_call(error: CallError) -> ProblemResponse {
        let retry = matches!(error, CallError::Overloaded(_) | CallError::Unavailable(_));
        let mut problem = ProblemResponse::from(call::Problem::from(error));
        problem.0.retry = retry.then_some(1);
        problem
    }

    /// Adds when a module that restarts serves again.
    pub(super) fn with_restart(mut self, restart: Option<RestartNotice>) -> ProblemResponse {
        if let Some(RestartNotice { detail, wait }) = restart {
            self.0.problem.detail = format!("{}; {detail}", self.0.problem.detail);
            self.0.retry = Some(u16::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u16::MAX).max(1));
        }
        self
    }

    /// Sets the time after which the client may try again.
    pub(in crate::triggers) fn with_retry(mut self, seconds: u16) -> ProblemResponse {
        self.0.retry = Some(seconds);
        self
    }

    pub(in crate::triggers) fn status(&self) -> StatusCode {
        self.0.problem.status
    }

    /// Closes the connection after the response.
    pub(in crate::triggers) fn with_close(mut self) -> ProblemResponse {
        self.0.close = true;
        self
    }

    /// Adds the name of the module.
    pub(in crate::triggers) fn with_module(mut self, module: &str) -> ProblemResponse {
        self.0.problem.module = Some(module.to_owned());
        self
    }

    /// Adds the trace, which is in the log too.
    pub(in crate::triggers) fn with_trace(mut self, trace: Trace) -> ProblemResponse {
        self.0.problem.trace = Some(trace);
        self
    }

    pub(super) fn document(self) -> String {
        document(self.0.problem)
    }

    pub(in crate::triggers) fn into_response(self) -> HttpResponse {
        let Fields { problem, allow, retry, close, upgrade } = *self.0;
        let status = problem.status;
        let mut response = HttpResponse::new(document(problem).into());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPE));
        if let Some(allow) = allow {
            headers.insert(ALLOW, allow);
        }
        if let Some(seconds) = retry {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if close {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        } else if !upgrade.is_empty() {
            headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
        }
        headers.extend(upgrade);
        response
    }
}

/// The text of a problem document.
fn document(problem: call::Problem) -> String {
    // The last line ends, so that the prompt of a shell begins a new one.
    format!("{}\n", problem.into_document())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_error_has_its_status() {
        let text = || "x".to_owned();
        let all = [
            (CallError::Timeout(None), 504, false),
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
            let response = ProblemResponse::of_call(error).into_response();
            assert_eq!(response.status(), status, "{code}");
            assert_eq!(response.headers().contains_key(RETRY_AFTER), retry, "{code}");
        }
    }
}
