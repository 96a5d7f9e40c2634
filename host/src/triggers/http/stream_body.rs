//! The body of an answer that is a stream.

use std::task::{Context, Poll};

use hyper::body::Frame;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::activity::OpenStream;
use super::content::Frames;
use super::lease::{Lease, Unsent};
use super::stopping::Stopping;
use super::when_woken::WhenWoken;
use crate::net::Full;

/// A stream of frames on its way to the client. Each frame is held by the account of its
/// connection until the socket has taken it.
pub(super) struct StreamBody {
    frames: Frames,
    /// Bytes of the stream besides its frames.
    lease: Lease,
    /// Breaks off a stream that has not ended when the host stops.
    last: WhenWoken<WaitForCancellationFutureOwned>,
    is_cut: bool,
    announced: CancellationToken,
    _open: OpenStream,
}

/// The reason to break a stream off. The client sees a connection or stream that breaks.
#[derive(Debug, Clone, Copy, thiserror::Error)]
pub(super) enum StreamBroken {
    #[error(transparent)]
    NoRoom(#[from] Full),
    #[error("the host stops, and the stream has not ended")]
    Stopped,
}

impl StreamBody {
    pub(super) fn new(frames: Frames, lease: Lease, stopping: &Stopping) -> StreamBody {
        let open = lease.open_stream();
        let last = WhenWoken::new(stopping.last.clone().cancelled_owned());
        StreamBody { frames, lease, last, is_cut: false, announced: stopping.announced.clone(), _open: open }
    }

    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Unsent>, StreamBroken>>> {
        // The producer is polled first, so that a stream that ends in time is not broken off.
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
            _ if self.is_cut => Poll::Ready(Some(Err(StreamBroken::Stopped))),
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
