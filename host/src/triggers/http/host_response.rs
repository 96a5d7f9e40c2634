//! Responses that several routes of the host send.

use std::fmt::Write;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, StatusCode};

use super::content::HttpResponse;

/// When a client for which there is no room should try again.
pub(in crate::triggers) const RETRY_SECONDS: u16 = 5;

/// Returns the value of `Allow` for a route that has these methods.
pub(in crate::triggers) fn allow(methods: &[Method]) -> HeaderValue {
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

/// The answer to `OPTIONS`. `allow` is the value of [`allow`].
pub(in crate::triggers) fn options(allow: HeaderValue) -> HttpResponse {
    let mut response = HttpResponse::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// A JSON document that no cache stores.
pub(in crate::triggers) fn json(text: String) -> HttpResponse {
    let mut response = HttpResponse::new(text.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
