//! Builds the HTTP responses of the admin listener.

use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{Stream, StreamExt};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{Either, Full, StreamBody};
use hyper::body::Frame;
use serde::Serialize;

use crate::call::{Problem, ProblemCode};

pub type Answer = Response<Either<Full<Bytes>, StreamBody<Frames>>>;

type Frames = BoxStream<'static, Result<Frame<Bytes>, Infallible>>;

pub fn with_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Either::Left(Full::new(Bytes::from(body))));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    answer
}

pub fn text(status: StatusCode, body: &str) -> Answer {
    with_type(status, "text/plain; charset=utf-8", body.to_owned())
}

/// Server-sent events. Each item of the stream is some whole events.
pub fn event_stream(events: impl Stream<Item = Bytes> + Send + 'static) -> Answer {
    let frames: Frames = Box::pin(events.map(|events| Ok(Frame::data(events))));
    let mut answer = Response::new(Either::Right(StreamBody::new(frames)));
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A document of [`api`](crate::api).
pub fn document(status: StatusCode, document: &impl Serialize) -> Answer {
    // Serialising cannot fail: the documents contain only strings, numbers and JSON.
    with_type(status, "application/json", serde_json::to_string(document).unwrap_or_default() + "\n")
}

pub fn problem(problem: Problem) -> Answer {
    with_type(problem.status, "application/problem+json", format!("{}\n", problem.into_document()))
}

pub fn not_allowed(methods: &'static str) -> Answer {
    let detail = format!("this path accepts {methods}");
    let mut answer = problem(Problem::new(ProblemCode::MethodNotAllowed, detail));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static(methods));
    answer
}
