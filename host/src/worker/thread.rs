//! A thread with a runtime and an isolate. Brokers and the master consist of this only; a worker
//! also has sockets.

use std::io;
use std::sync::Arc;

use super::runtime_thread::RuntimeThread;
use crate::call::IsolateId;
use crate::isolate::Isolate;

/// A thread with an isolate. It runs until it is cancelled.
pub struct Thread {
    pub isolate: Arc<Isolate>,
    pub runtime: RuntimeThread,
}

impl Thread {
    /// Starts the thread, without modules.
    pub fn start(id: IsolateId) -> io::Result<Thread> {
        let runtime = RuntimeThread::start(&id.to_string())?;
        let isolate = Arc::new(Isolate::new(id, runtime.handle.clone()));
        Ok(Thread { isolate, runtime })
    }
}
