//! The body of a response that is a stream.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::buffer_lease::{BufferLease, UnsentBytes};
use super::connection_state::StreamGuard;
use super::content::Frames;
use super::poll_on_wake::PollOnWake;
use super::stopping::Stopping;
use crate::call::{BodyError, StreamedBody};
use crate::net::BudgetExceeded;

/// A stream of frames that the host sends to a client. Each frame counts in the account of the
/// connection until the socket has taken it.
pub(super) struct StreamBody {
    parts: Parts,
    /// The bytes of the stream besides its frames.
    lease: BufferLease,
    /// Aborts a stream that has not ended when the host closes its connections.
    closing: PollOnWake<WaitForCancellationFutureOwned>,
    is_aborted: bool,
    announced: CancellationToken,
    _open: StreamGuard,
}

/// The producer of a stream.
pub(super) enum Parts {
    Frames(Frames),
    Body(StreamedBody),
}

impl From<Frames> for Parts {
    fn from(frames: Frames) -> Parts {
        Parts::Frames(frames)
    }
}

impl From<StreamedBody> for Parts {
    fn from(body: StreamedBody) -> Parts {
        Parts::Body(body)
    }
}

impl Parts {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Parts::Frames(frames) => frames.as_mut().poll_next(cx).map(|next| next.map(|bytes| Ok(Frame::data(bytes)))),
            Parts::Body(body) => Pin::new(body).poll_frame(cx),
        }
    }
}

/// The reason for aborting a stream. The client sees that the connection or HTTP/2 stream breaks.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    BudgetExceeded(#[from] BudgetExceeded),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error("the host stopped before the stream ended")]
    HostStopped,
}

impl StreamBody {
    pub(super) fn new(parts: Parts, lease: BufferLease, stopping: &Stopping) -> StreamBody {
        let open = lease.open_stream();
        let closing = PollOnWake::new(stopping.closing.clone().cancelled_owned());
        StreamBody { parts, lease, closing, is_aborted: false, announced: stopping.announced.clone(), _open: open }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<UnsentBytes>, StreamError>>> {
        // The producer is polled first, so that a stream that ends in time is not aborted.
        let polled = self.parts.poll(cx);
        if self.closing.poll(cx).is_ready() {
            self.is_aborted = true;
        }
        match polled {
            Poll::Ready(None) => {
                if self.announced.is_cancelled() {
                    self.lease.announce_close();
                }
                Poll::Ready(None)
            }
            _ if self.is_aborted => Poll::Ready(Some(Err(StreamError::HostStopped))),
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(error.into()))),
            Poll::Ready(Some(Ok(frame))) => {
                let lease = self.lease.for_frame(frame.data_ref().map_or(0, Bytes::len) as u64);
                Poll::Ready(Some(match lease {
                    Ok(lease) => Ok(frame.map_data(|bytes| UnsentBytes::new(bytes, lease))),
                    Err(exceeded) => Err(exceeded.into()),
                }))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
