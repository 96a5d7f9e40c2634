//! A thread with a runtime and an isolate. Brokers and the master consist of this only; a worker
//! also has sockets.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::call::IsolateId;
use crate::isolate::Isolate;

/// A thread with an isolate. It runs until it is cancelled.
pub struct Thread {
    pub isolate: Arc<Isolate>,
    end: CancellationToken,
    /// The thread closes this channel when it ends.
    ended: Receiver<()>,
}

impl Thread {
    /// Starts the thread, without modules.
    pub fn start(id: IsolateId) -> io::Result<Thread> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let isolate = Arc::new(Isolate::new(id, runtime.handle().clone()));
        let end = CancellationToken::new();
        let ending = end.clone();
        let (alive, ended) = channel();
        thread::Builder::new().name(id.to_string()).spawn(move || {
            runtime.block_on(ending.cancelled());
            drop(runtime);
            drop(alive);
        })?;
        Ok(Thread { isolate, end, ended })
    }

    /// Tells the thread to end, without waiting.
    pub fn cancel(&self) {
        self.end.cancel();
    }

    /// Ends the thread and drops its tasks. Gives up at `until` if host code blocks the thread.
    pub fn end(&mut self, until: Instant) {
        self.cancel();
        let left = until.saturating_duration_since(Instant::now());
        if self.ended.recv_timeout(left) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(isolate = %self.isolate.id, "the thread does not end: host code blocks it");
        }
    }
}

/// Ends the thread of a host that did not start, without waiting.
impl Drop for Thread {
    fn drop(&mut self) {
        self.cancel();
    }
}
