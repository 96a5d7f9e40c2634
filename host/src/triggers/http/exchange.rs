//! Requests for modules that answer through `wasi:http`.
//!
//! Such a module sees the path below `/api/<module>`, and the part that is missing in the field
//! `X-Forwarded-Prefix`. The module that `http.mount` names also sees every path that nothing else
//! serves, as it is. Both bodies stream, with their trailers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::header::TRAILER;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty};
use hyper::body::{Body as _, Incoming};

use super::backend::Backend;
use super::body::{self, MaxBody};
use super::content::{Content, HttpResponse};
use super::problem_response::ProblemResponse;
use super::request::strip_hop_by_hop;
use super::request_stream::RequestStream;
use super::settings::Settings;
use crate::call::{CallError, ExchangeRequest, StreamedBody, Trace};

/// The part of the path that the module does not see.
const PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

/// The authority of a request over HTTP/1.0 without `Host`.
const NO_AUTHORITY: &str = "localhost";

/// The parts of a request for a module with `wasi:http`.
pub(super) struct IncomingExchange<'a> {
    pub(super) method: Method,
    pub(super) uri: &'a Uri,
    /// The first bytes of the path, which the module does not see.
    pub(super) prefix: &'a str,
    pub(super) headers: HeaderMap,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    pub(super) authority: String,
    pub(super) subdomain: Option<Arc<str>>,
    pub(super) trace: Trace,
    pub(super) spill: bool,
    pub(super) body: Incoming,
    /// Passed to [`body::discard`].
    pub(super) drain: bool,
}

/// Lets a module answer a request. Returns when the head of the response exists.
pub(super) async fn answer<B: Backend>(
    backend: &B,
    settings: &Settings,
    module: &B::Module,
    incoming: IncomingExchange<'_>,
) -> Result<HttpResponse, ProblemResponse> {
    let Some(uri) = incoming.seen_uri() else {
        body::discard(incoming.body, incoming.drain);
        let detail = format!("the authority `{}` is not valid", incoming.authority);
        return Err(ProblemResponse::bad_request(detail));
    };
    let IncomingExchange { method, prefix, mut headers, subdomain, trace, spill, body, drain, .. } = incoming;
    let max = settings.max_body;
    if body.size_hint().lower() > max {
        body::discard(body, drain);
        return Err(MaxBody::of_server(max).exceeded());
    }
    // The trailers stream to the module, so it may know their names.
    let trailers: Vec<HeaderValue> = headers.get_all(TRAILER).iter().cloned().collect();
    strip_hop_by_hop(&mut headers);
    trailers.into_iter().for_each(|names| drop(headers.try_append(TRAILER, names)));
    headers.remove(PREFIX);
    if let Ok(prefix) = HeaderValue::from_str(prefix)
        && !prefix.is_empty()
    {
        headers.insert(PREFIX, prefix);
    }
    let exceeded = Arc::new(AtomicBool::new(false));
    let body = match body.is_end_stream() {
        true => Empty::new().map_err(|never| match never {}).boxed_unsync(),
        false => RequestStream::new(body, max, settings.body_timeout, drain, exceeded.clone()).boxed_unsync(),
    };
    let mut request = Request::new(body);
    (*request.method_mut(), *request.uri_mut(), *request.headers_mut()) = (method, uri, headers);
    let answered = backend.exchange(module, ExchangeRequest { request, trace, subdomain, spill }).await;
    if exceeded.load(Relaxed) {
        return Err(MaxBody::of_server(max).exceeded());
    }
    response(answered.map_err(|error| call_problem(backend, module, error))?)
}

impl IncomingExchange<'_> {
    /// Returns the URI that the module sees. `None` if the authority is invalid.
    fn seen_uri(&self) -> Option<Uri> {
        let whole = self.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        let rest = whole.get(self.prefix.len()..).unwrap_or(whole);
        let path = if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") };
        let authority = if self.authority.is_empty() { NO_AUTHORITY } else { &self.authority };
        Uri::builder().scheme(self.scheme).authority(authority).path_and_query(path).build().ok()
    }
}

/// The problem of a call that failed. It says when a module that restarts serves again.
pub(super) fn call_problem<B: Backend>(backend: &B, module: &B::Module, error: CallError) -> ProblemResponse {
    let needs_instance = matches!(error, CallError::Timeout(_) | CallError::Overloaded(_) | CallError::Unavailable(_));
    let restart = if needs_instance { backend.restart(module) } else { None };
    // The notice is about all workers, and says what the error says about one of them.
    let error = match (error, &restart) {
        (CallError::Timeout(_), Some(_)) => CallError::Timeout(None),
        (error, _) => error,
    };
    ProblemResponse::of_call(error).with_restart(restart)
}

/// Checks the response of a module.
fn response(response: http::Response<StreamedBody>) -> Result<HttpResponse, ProblemResponse> {
    let (head, body) = response.into_parts();
    let status = head.status.as_u16();
    if !(200..600).contains(&status) {
        let detail = format!("the module replied with the status {status}: it must be 200 to 599");
        return Err(ProblemResponse::invalid_reply(detail));
    }
    // Responses with these statuses have no content (RFC 9110).
    let no_content =
        matches!(head.status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED);
    let is_empty = body.is_end_stream() && !head.headers.contains_key(http::header::CONTENT_LENGTH);
    let content = if no_content || is_empty { Content::default() } else { Content::Streamed(body) };
    Ok(HttpResponse::from_parts(head, content))
}
