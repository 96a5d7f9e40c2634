//! The body of an answer that is a stream.

use std::task::{Context, Poll};

use hyper::body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::activity::OpenStream;
use super::content::Frames;
use super::lease::{Lease, Unsent};
use super::rarely::Rarely;
use super::stopping::Stopping;
use crate::net::Full;

/// A stream of frames on its way to the client. Each frame is held by the account of its
/// connection until the socket has taken it.
pub(super) struct Flow {
    frames: Frames,
    /// What the stream costs besides its frames.
    lease: Lease,
    /// Ends a stream that goes on when the host stops.
    last: Rarely<WaitForCancellationFutureOwned>,
    is_cut: bool,
    announced: CancellationToken,
    _open: OpenStream,
}

/// Why a stream is broken off, which the client sees as a connection or stream that breaks.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum Cut {
    #[error(transparent)]
    NoRoom(#[from] Full),
    #[error("the host stops, and the stream has not ended")]
    Stopped,
}

impl Flow {
    pub(super) fn new(frames: Frames, lease: Lease, stopping: &Stopping) -> Flow {
        let open = lease.open_stream();
        let last = Rarely::new(stopping.last.clone().cancelled_owned());
        Flow { frames, lease, last, is_cut: false, announced: stopping.announced.clone(), _open: open }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Unsent>, Cut>>> {
        // The producer has the first word, so that one that ends in time is not broken off.
        let polled = self.frames.as_mut().poll_next(cx);
        if self.last.poll(cx).is_ready() {
            self.is_cut = true;
        }
        match polled {
            Poll::Ready(None) => {
                if self.announced.is_cancelled() {
                    self.lease.is_ended_by_stop();
                }
                Poll::Ready(None)
            }
            _ if self.is_cut => Poll::Ready(Some(Err(Cut::Stopped))),
            Poll::Ready(Some(bytes)) => {
                let lease = self.lease.of_frame(bytes.len() as u64);
                Poll::Ready(Some(match lease {
                    Ok(lease) => Ok(Frame::data(Unsent::new(bytes, lease))),
                    Err(full) => Err(full.into()),
                }))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
