//! A thread with a runtime and an isolate. A broker or the master is only that; a worker adds
//! sockets.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio_util::sync::CancellationToken;

use crate::call::IsolateId;
use crate::isolate::Isolate;

/// How long a thread may take to end before it is left behind.
const LAST_TURN: Duration = Duration::from_secs(2);

/// A thread that runs until `end` is cancelled.
pub struct Thread {
    pub isolate: Arc<Isolate>,
    end: CancellationToken,
    /// Closed by the thread when it ends.
    ended: Receiver<()>,
}

impl Thread {
    /// Starts the thread. It waits for modules.
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

    /// Tells the thread to end.
    pub fn cancel(&self) {
        self.end.cancel();
    }

    /// Ends the thread and drops its tasks. A thread that host code blocks is left behind.
    pub fn end(&mut self) {
        self.cancel();
        if self.ended.recv_timeout(LAST_TURN) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(isolate = %self.isolate.id, "the thread does not end: host code blocks it");
        }
    }
}
