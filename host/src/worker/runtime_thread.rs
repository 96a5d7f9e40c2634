//! A thread with a runtime, which runs the tasks that are spawned on it.

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Instant;

use tokio::runtime::{Builder, Handle};
use tokio_util::sync::CancellationToken;

/// A thread with a runtime. It runs until it is cancelled.
pub struct RuntimeThread {
    pub handle: Handle,
    name: String,
    end: CancellationToken,
    /// The thread closes this channel when it ends.
    ended: Receiver<()>,
}

impl RuntimeThread {
    pub fn start(name: &str) -> io::Result<RuntimeThread> {
        let end = CancellationToken::new();
        let ending = end.clone();
        let (alive, ended) = channel();
        let (started, handle) = channel();
        // The thread makes the runtime, because a runtime must not be dropped here if the thread
        // does not start.
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            let runtime = match Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            // The other side waits for it.
            _ = started.send(Ok(runtime.handle().clone()));
            runtime.block_on(ending.cancelled());
            drop(runtime);
            drop(alive);
        })?;
        let handle = handle.recv().map_err(io::Error::other)??;
        Ok(RuntimeThread { handle, name: name.to_owned(), end, ended })
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
            tracing::error!(thread = %self.name, "the thread does not end: host code blocks it");
        }
    }
}

/// Ends the thread of a host that did not start, without waiting.
impl Drop for RuntimeThread {
    fn drop(&mut self) {
        self.cancel();
    }
}
