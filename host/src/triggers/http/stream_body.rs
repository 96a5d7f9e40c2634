//! The body of a response that is a stream.

use std::task::{Context, Poll};

use hyper::body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::buffer_lease::{BufferLease, UnsentBytes};
use super::connection_state::StreamGuard;
use super::content::Frames;
use super::poll_on_wake::PollOnWake;
use super::stopping::Stopping;
use crate::net::BudgetExceeded;

/// A stream of frames that the host sends to a client. Each frame counts in the account of the
/// connection until the socket has taken it.
pub(super) struct StreamBody {
    frames: Frames,
    /// The bytes of the stream besides its frames.
    lease: BufferLease,
    /// Aborts a stream that has not ended when the host closes its connections.
    closing: PollOnWake<WaitForCancellationFutureOwned>,
    is_aborted: bool,
    announced: CancellationToken,
    _open: StreamGuard,
}

/// The reason for aborting a stream. The client sees that the connection or HTTP/2 stream breaks.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum StreamError {
    #[error(transparent)]
    BudgetExceeded(#[from] BudgetExceeded),
    #[error("the host stopped before the stream ended")]
    HostStopped,
}

impl StreamBody {
    pub(super) fn new(frames: Frames, lease: BufferLease, stopping: &Stopping) -> StreamBody {
        let open = lease.open_stream();
        let closing = PollOnWake::new(stopping.closing.clone().cancelled_owned());
        StreamBody { frames, lease, closing, is_aborted: false, announced: stopping.announced.clone(), _open: open }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<UnsentBytes>, StreamError>>> {
        // The producer is polled first, so that a stream that ends in time is not aborted.
        let polled = self.frames.as_mut().poll_next(cx);
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
            Poll::Ready(Some(bytes)) => {
                let lease = self.lease.for_frame(bytes.len() as u64);
                Poll::Ready(Some(match lease {
                    Ok(lease) => Ok(Frame::data(UnsentBytes::new(bytes, lease))),
                    Err(exceeded) => Err(exceeded.into()),
                }))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
