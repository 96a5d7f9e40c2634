//! The body of an answer, and what it makes the host hold until the client has taken it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use hyper::body::{Body, Frame, SizeHint};

use super::Stopping;
use super::activity::{Activity, OpenStream, Running};
use super::content::{Answer, Content};
use super::flow::{Cut, Flow};
use super::problem::Problem;
use crate::net::Full;

/// What an open HTTP/2 stream costs beside its head: the state that h2, hyper and we keep for it.
const STREAM: u64 = 4 * 1024;

/// What a header field costs beside its text.
const FIELD: u64 = 32;

/// Answers up to this size are sent even when the budget is used up: they are refusals themselves.
const SMALL: u64 = 2 * 1024;

/// Bytes that a request makes its connection hold, until this is dropped.
pub(super) struct Lease {
    activity: Arc<Activity>,
    bytes: u64,
}

impl Lease {
    /// For a new request. Over HTTP/1.1 it costs nothing yet, because there is one at a time and
    /// hyper bounds its head.
    pub(super) fn of<B>(request: &Request<B>, activity: &Arc<Activity>) -> Result<Lease, Full> {
        let mut lease = Lease { activity: activity.clone(), bytes: 0 };
        if request.version() == Version::HTTP_2 {
            let uri = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
            lease.grow(STREAM.saturating_add(uri as u64).saturating_add(head(request.headers())))?;
        }
        Ok(lease)
    }

    pub(super) fn grow(&mut self, bytes: u64) -> Result<(), Full> {
        self.activity.account.hold(bytes)?;
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    /// Bytes that it holds.
    pub(super) fn size(&self) -> u64 {
        self.bytes
    }

    /// Holds no more than this any longer.
    pub(super) fn shrink_to(&mut self, bytes: u64) {
        let surplus = self.bytes.saturating_sub(bytes);
        self.activity.account.release(surplus);
        self.bytes = self.bytes.saturating_sub(surplus);
    }

    /// For a frame of a stream that this holds the rest of.
    pub(super) fn of_frame(&self, bytes: u64) -> Result<Lease, Full> {
        let mut lease = Lease { activity: self.activity.clone(), bytes: 0 };
        lease.grow(bytes)?;
        Ok(lease)
    }

    pub(super) fn open_stream(&self) -> OpenStream {
        self.activity.open_stream()
    }

    /// The stream that this holds the rest of has ended because the host stops.
    pub(super) fn is_ended_by_stop(&self) {
        self.activity.announce_end();
    }

    /// Whether the connection ends with the answer, because the host stops.
    pub(super) fn is_last(&self) -> bool {
        self.activity.ends()
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.activity.account.release(self.bytes);
    }
}

/// Bytes of header fields.
fn head(headers: &HeaderMap) -> u64 {
    headers.iter().map(|(name, value)| (name.as_str().len() + value.len()) as u64 + FIELD).sum()
}

/// Holds what an answer needs, or says that there is no room for it.
pub(super) fn reserve(response: &Answer, lease: &mut Lease) -> Result<(), Problem> {
    let length = response.body().length().unwrap_or_default();
    let size = length.saturating_add(head(response.headers()));
    match lease.grow(size) {
        Err(full) if size > SMALL => Err(Problem::no_room(full)),
        _ => Ok(()),
    }
}

/// The body of an answer, which tells the socket when hyper has taken all of it.
pub(super) struct AnswerBody {
    rest: Rest,
    _running: Running,
}

/// What hyper has not got yet.
enum Rest {
    Nothing,
    Whole(Unsent),
    Flow(Box<Flow>),
    /// It gets no end: the connection hands the socket over when the head has left.
    Elsewhere,
}

impl AnswerBody {
    /// `response` with the lease in its body. `stopping` ends streams.
    pub(super) fn wrap(response: Answer, lease: Lease, running: Running, stopping: &Stopping) -> Response<AnswerBody> {
        // The lease must last until the socket has taken the head. Over HTTP/2 that can be long
        // after hyper took it, so an answer without a body gets an empty one, which leaves after
        // the head.
        let is_http2 = lease.activity.is_http2();
        let (head, content) = response.into_parts();
        let rest = match content {
            Content::Whole(bytes) if is_http2 || !bytes.is_empty() => Rest::Whole(Unsent::new(bytes, lease)),
            Content::Whole(_) => Rest::Nothing,
            Content::Frames(frames) => Rest::Flow(Box::new(Flow::new(frames, lease, stopping))),
            Content::Socket(handler) => {
                lease.activity.want_socket(handler);
                if head.status == StatusCode::SWITCHING_PROTOCOLS { Rest::Nothing } else { Rest::Elsewhere }
            }
        };
        Response::from_parts(head, AnswerBody { rest, _running: running })
    }
}

impl Body for AnswerBody {
    type Data = Unsent;
    type Error = Cut;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Unsent>, Cut>>> {
        match &mut self.rest {
            Rest::Flow(flow) => return flow.poll_frame(cx),
            Rest::Elsewhere => return Poll::Pending,
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
            Rest::Whole(unsent) if unsent.bytes.is_empty() => SizeHint::default(),
            Rest::Whole(unsent) => SizeHint::with_exact(unsent.bytes.len() as u64),
            Rest::Nothing => SizeHint::with_exact(0),
            Rest::Flow(_) | Rest::Elsewhere => SizeHint::default(),
        }
    }
}

/// Bytes of an answer that the socket has not taken. hyper and h2 hold it until then, and call
/// `advance` for each part that they write; so it tells the connection's watch that the client
/// takes its answer.
pub(super) struct Unsent {
    bytes: Bytes,
    lease: Lease,
}

impl Unsent {
    pub(super) fn new(bytes: Bytes, lease: Lease) -> Unsent {
        lease.activity.will_send(bytes.len());
        Unsent { bytes, lease }
    }
}

impl Buf for Unsent {
    fn remaining(&self) -> usize {
        self.bytes.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.bytes
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        self.lease.activity.sent(count);
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.lease.activity.dropped(self.bytes.len());
    }
}

/// The refusal of a stream before anything of it was processed, so that the client may send it
/// again.
pub(super) fn refused_stream() -> h2::Error {
    h2::Reason::REFUSED_STREAM.into()
}
