//! The body of a response. The host buffers its bytes until the client has read them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf as _;
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::buffer_lease::{BufferLease, UnsentBytes, header_bytes};
use super::connection_state::RequestGuard;
use super::content::{Content, HttpResponse};
use super::problem_response::ProblemResponse;
use super::stopping::Stopping;
use super::stream_body::{StreamBody, StreamError};

/// Responses up to this size are sent even when the budget is used up, because a rejection is such
/// a response.
const ALWAYS_SENT: u64 = 2 * 1024;

/// Reserves room for the bytes of a response, or fails because the budget has no room.
pub(super) fn reserve(response: &HttpResponse, lease: &mut BufferLease) -> Result<(), ProblemResponse> {
    let length = response.body().length().unwrap_or_default();
    let size = length.saturating_add(header_bytes(response.headers()));
    match lease.grow(size) {
        Err(error) if size > ALWAYS_SENT => Err(ProblemResponse::budget_exceeded(error)),
        _ => Ok(()),
    }
}

/// The body of a response. Dropping it records that hyper has taken all of the response.
pub(super) struct ResponseBody {
    rest: Rest,
    _request: RequestGuard,
}

/// The part of the body that hyper has not taken yet.
enum Rest {
    Nothing,
    Whole(UnsentBytes),
    Stream(Box<StreamBody>),
    /// The body never ends for hyper, because the socket leaves hyper after the head.
    Detached,
}

impl ResponseBody {
    /// Moves the lease into the body of the response. `stopping` ends streams.
    pub(super) fn wrap(
        response: HttpResponse,
        lease: BufferLease,
        request: RequestGuard,
        stopping: &Stopping,
    ) -> Response<ResponseBody> {
        // The lease must last until the socket has taken the head. Over HTTP/2 that can be long
        // after hyper took it, so a response without a body gets an empty one, which is sent after
        // the head.
        let is_http2 = lease.is_http2();
        let (head, content) = response.into_parts();
        let rest = match content {
            Content::Whole(bytes) if is_http2 || !bytes.is_empty() => Rest::Whole(UnsentBytes::new(bytes, lease)),
            Content::Whole(_) => Rest::Nothing,
            Content::Frames(frames) => Rest::Stream(Box::new(StreamBody::new(frames.into(), lease, stopping))),
            Content::Streamed(body) => Rest::Stream(Box::new(StreamBody::new(body.into(), lease, stopping))),
            Content::Socket(handler) => {
                lease.detach_after_head(handler);
                if head.status == StatusCode::SWITCHING_PROTOCOLS { Rest::Nothing } else { Rest::Detached }
            }
        };
        Response::from_parts(head, ResponseBody { rest, _request: request })
    }
}

impl Body for ResponseBody {
    type Data = UnsentBytes;
    type Error = StreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<UnsentBytes>, StreamError>>> {
        match &mut self.rest {
            Rest::Stream(body) => return body.poll_frame(cx),
            Rest::Detached => return Poll::Pending,
            Rest::Nothing | Rest::Whole(_) => {}
        }
        match std::mem::replace(&mut self.rest, Rest::Nothing) {
            Rest::Whole(unsent) => Poll::Ready(Some(Ok(Frame::data(unsent)))),
            _ => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.rest, Rest::Nothing)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.rest {
            // An exact size would add a `Content-Length`, which some responses without content must
            // not have.
            Rest::Whole(unsent) if !unsent.has_remaining() => SizeHint::default(),
            Rest::Whole(unsent) => SizeHint::with_exact(unsent.remaining() as u64),
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Stream(_) | Rest::Detached => SizeHint::default(),
        }
    }
}

/// Rejects an HTTP/2 stream before the host has processed any of it, so that the client may retry.
pub(super) fn refused_stream() -> h2::Error {
    h2::Reason::REFUSED_STREAM.into()
}
