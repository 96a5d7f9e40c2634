//! The body of an answer, whose bytes the host holds until the client has taken them.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Buf as _;
use http::{Response, StatusCode};
use hyper::body::{Body, Frame, SizeHint};

use super::activity::OpenAnswer;
use super::content::{Answer, Content};
use super::lease::{Lease, Unsent, size_of};
use super::problem::Problem;
use super::stopping::Stopping;
use super::stream_body::{StreamBody, StreamBroken};

/// Answers up to this size are sent even when the budget is used up: they are refusals themselves.
const SMALL: u64 = 2 * 1024;

/// Holds the bytes of an answer, or fails because there is no room for them.
pub(super) fn reserve(response: &Answer, lease: &mut Lease) -> Result<(), Problem> {
    let length = response.body().length().unwrap_or_default();
    let size = length.saturating_add(size_of(response.headers()));
    match lease.grow(size) {
        Err(full) if size > SMALL => Err(Problem::no_room(full)),
        _ => Ok(()),
    }
}

/// The body of an answer, which tells the socket when hyper has taken all of it.
pub(super) struct AnswerBody {
    rest: Rest,
    _running: OpenAnswer,
}

/// The part of the body that hyper has not taken.
enum Rest {
    Nothing,
    Whole(Unsent),
    Stream(Box<StreamBody>),
    /// The body never ends for hyper: the connection hands the socket over when the head has left.
    HandedOver,
}

impl AnswerBody {
    /// Moves the lease into the body of the answer. `stopping` ends streams.
    pub(super) fn wrap(
        response: Answer,
        lease: Lease,
        running: OpenAnswer,
        stopping: &Stopping,
    ) -> Response<AnswerBody> {
        // The lease must last until the socket has taken the head. Over HTTP/2 that can be long
        // after hyper took it, so an answer without a body gets an empty one, which leaves after
        // the head.
        let is_http2 = lease.is_http2();
        let (head, content) = response.into_parts();
        let rest = match content {
            Content::Whole(bytes) if is_http2 || !bytes.is_empty() => Rest::Whole(Unsent::new(bytes, lease)),
            Content::Whole(_) => Rest::Nothing,
            Content::Frames(frames) => Rest::Stream(Box::new(StreamBody::new(frames, lease, stopping))),
            Content::Socket(handler) => {
                lease.want_socket(handler);
                if head.status == StatusCode::SWITCHING_PROTOCOLS { Rest::Nothing } else { Rest::HandedOver }
            }
        };
        Response::from_parts(head, AnswerBody { rest, _running: running })
    }
}

impl Body for AnswerBody {
    type Data = Unsent;
    type Error = StreamBroken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Unsent>, StreamBroken>>> {
        match &mut self.rest {
            Rest::Stream(body) => return body.poll_frame(cx),
            Rest::HandedOver => return Poll::Pending,
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
            // No length, because a `Content-Length` does not belong into every answer without
            // content.
            Rest::Whole(unsent) if !unsent.has_remaining() => SizeHint::default(),
            Rest::Whole(unsent) => SizeHint::with_exact(unsent.remaining() as u64),
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Stream(_) | Rest::HandedOver => SizeHint::default(),
        }
    }
}

/// The refusal of a stream before anything of it was processed, so that the client may send it
/// again.
pub(super) fn refused_stream() -> h2::Error {
    h2::Reason::REFUSED_STREAM.into()
}
