//! The responses of the route of live streams.

use std::time::Duration;

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_REQUEST_METHOD, CONNECTION,
};
use http::{HeaderMap, HeaderValue, Method, Response, Version};

use super::event::EventMessage;
use crate::call::ProblemCode;
use crate::config::SseConfig;
use crate::triggers::http::{Content, HttpResponse, OwnOrigin, ProblemResponse, RETRY_SECONDS, allow, options};

/// The header fields that scripts which read streams with `fetch` set.
const SCRIPT_HEADERS: &str = "cache-control, last-event-id";

/// The heads of the responses, from the settings.
pub(super) struct Heads {
    /// The fields of a stream.
    fields: HeaderMap,
    /// Whether `Access-Control-Allow-Origin` comes from `sse.headers`.
    own_origin: bool,
}

impl Heads {
    pub(super) fn new(config: &SseConfig) -> Heads {
        Heads { fields: config.header_map(), own_origin: config.sets_origin() }
    }

    /// The head of an open stream.
    pub(super) fn stream(&self, version: Version) -> Response<()> {
        let mut head = Response::new(());
        *head.headers_mut() = self.fields.clone();
        if version < Version::HTTP_11 {
            // Without chunks, only the end of the connection ends the body.
            head.headers_mut().remove(CONNECTION);
        }
        head
    }

    /// A stream with one event that ends at once. The client connects again later.
    pub(super) fn later(&self, event: &str) -> HttpResponse {
        let text = EventMessage::notice(event, Duration::from_secs(RETRY_SECONDS.into())).text();
        let mut response = HttpResponse::new(Content::Whole(text.into()));
        *response.headers_mut() = self.fields.clone();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        response
    }

    /// The answer to `OPTIONS`, also before a request from another origin.
    pub(super) fn options(&self, request: &HeaderMap) -> HttpResponse {
        let allow = allow(&[Method::GET]);
        let mut response = options(allow.clone());
        let headers = response.headers_mut();
        if request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(SCRIPT_HEADERS));
            if self.own_origin && self.fields.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
                headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
            }
        }
        response
    }

    /// Sets `Access-Control-Allow-Origin` if `sse.headers` does, so that pages of other origins can
    /// read errors, too.
    pub(super) fn with_origin(&self, mut response: HttpResponse) -> HttpResponse {
        if self.own_origin {
            response.extensions_mut().insert(OwnOrigin);
            if let Some(origin) = self.fields.get(ACCESS_CONTROL_ALLOW_ORIGIN) {
                response.headers_mut().insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            }
        }
        response
    }
}

pub(in crate::triggers) fn not_acceptable() -> ProblemResponse {
    let detail = "this route sends `text/event-stream` only: accept that type, or all types";
    ProblemResponse::new(ProblemCode::NotAcceptable, detail)
}
