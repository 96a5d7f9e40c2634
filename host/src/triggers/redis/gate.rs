//! Limits the bytes that were read from the server and whose messages are not queued yet.
//!
//! The library parses messages in a task of its own, and hands them over in a channel without a
//! limit. So the connection stops to read after a number of bytes, until the receiver has found the
//! channel empty.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// The most bytes that are read before the receiver has found the channel empty.
const MOST: u64 = 64 * 1_024;

/// The gate between the connection, which reads, and the receiver of its messages.
#[derive(Debug, Default)]
pub struct Gate(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// The bytes since the receiver found the channel empty.
    bytes: u64,
    /// The bytes since the begin.
    total: u64,
    /// Wakes the connection when it may read again.
    connection: Option<Waker>,
    /// Wakes the receiver, so that it looks whether the channel is empty.
    receiver: Option<Waker>,
}

impl Gate {
    /// Waits until the connection may read.
    pub fn poll_open(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.bytes < MOST {
            return Poll::Ready(());
        }
        state.connection = Some(cx.waker().clone());
        let receiver = state.receiver.take();
        drop(state);
        // The bytes may be a part of one message: then nothing else wakes the receiver.
        receiver.into_iter().for_each(Waker::wake);
        Poll::Pending
    }

    /// The connection has read these bytes.
    pub fn pass(&self, bytes: usize) {
        let mut state = self.0.lock();
        state.bytes += bytes as u64;
        state.total += bytes as u64;
    }

    /// The receiver has found the channel empty, and waits.
    pub fn emptied(&self, cx: &mut Context<'_>) {
        let mut state = self.0.lock();
        state.bytes = 0;
        state.receiver = Some(cx.waker().clone());
        let connection = state.connection.take();
        drop(state);
        connection.into_iter().for_each(Waker::wake);
    }

    /// The bytes that were read since the begin.
    pub fn total(&self) -> u64 {
        self.0.lock().total
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn the_connection_reads_no_more_until_the_receiver_has_found_the_channel_empty() {
        let (gate, connection, receiver) = (Gate::default(), Arc::<Wakes>::default(), Arc::<Wakes>::default());
        let (reads, receives): (Waker, Waker) = (connection.clone().into(), receiver.clone().into());
        let (mut reads, mut receives) = (Context::from_waker(&reads), Context::from_waker(&receives));
        gate.emptied(&mut receives);
        gate.pass(MOST as usize - 1);
        assert!(gate.poll_open(&mut reads).is_ready());
        gate.pass(1);
        assert!(gate.poll_open(&mut reads).is_pending());
        assert_eq!((receiver.0.load(Relaxed), connection.0.load(Relaxed)), (1, 0), "the receiver looks");
        gate.emptied(&mut receives);
        assert_eq!(connection.0.load(Relaxed), 1, "the connection reads");
        assert!(gate.poll_open(&mut reads).is_ready());
        assert_eq!(gate.total(), MOST);
    }
}
