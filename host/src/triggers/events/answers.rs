//! Builds the responses of the service.

use std::time::Duration;

use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, WWW_AUTHENTICATE};
use serde::Serialize;

use super::access::Denied;
use crate::call::ProblemCode;
use crate::triggers::http::{Content, HttpResponse, ProblemResponse, RETRY_SECONDS, json};
use crate::triggers::sse::EventMessage;

/// A document of [`api`](crate::api).
pub(super) fn document(document: &impl Serialize) -> HttpResponse {
    // Serialising cannot fail: the documents contain only strings, numbers and JSON.
    json(serde_json::to_string(document).unwrap_or_default() + "\n")
}

/// The head of a stream of events, with this body.
pub(super) fn stream(body: Content) -> HttpResponse {
    let mut response = HttpResponse::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    response
}

/// A stream that ends at once, after an event `full`. `EventSource` never connects again after any
/// status but 200.
pub(super) fn full() -> HttpResponse {
    let retry = Duration::from_secs(RETRY_SECONDS.into());
    let mut response = stream(Content::Whole(EventMessage::notice("full", retry).text().into()));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// The response to a request that is denied, which says how to send a token.
pub(super) fn denied(why: &Denied) -> (ProblemResponse, Option<HeaderValue>) {
    match why {
        Denied::Foreign(_) => (ProblemResponse::forbidden(why.to_string()), None),
        Denied::NoToken | Denied::WrongToken => (
            ProblemResponse::new(ProblemCode::Unauthorized, why.to_string()),
            Some(HeaderValue::from_static(match why {
                Denied::WrongToken => "Bearer error=\"invalid_token\"",
                _ => "Bearer",
            })),
        ),
    }
}

/// Adds the field `WWW-Authenticate`.
pub(super) fn with_challenge(mut response: HttpResponse, challenge: Option<HeaderValue>) -> HttpResponse {
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

pub(super) fn unsupported_type(detail: &str) -> ProblemResponse {
    ProblemResponse::new(ProblemCode::UnsupportedMediaType, detail)
}

pub(super) fn too_many_events(rate: u32, after: Duration) -> ProblemResponse {
    let detail = format!("clients emit more than {rate} events in a second (`events.rate`): send fewer, or later");
    let problem = ProblemResponse::new(ProblemCode::TooManyEvents, detail);
    problem.with_retry(u16::try_from(after.as_secs().saturating_add(1)).unwrap_or(u16::MAX))
}

/// A limit on connections or subscribers is reached.
pub(super) fn overloaded(detail: String) -> ProblemResponse {
    ProblemResponse::new(ProblemCode::Overloaded, detail).with_retry(RETRY_SECONDS)
}

/// An `Idempotency-Key` was used for another body.
pub(super) fn other_body() -> ProblemResponse {
    let detail = "an earlier request with this `Idempotency-Key` had another body: use a new key for each request, and \
                  the same key only to repeat it";
    ProblemResponse::new(ProblemCode::KeyReused, detail)
}
