//! Detects a thread that host code blocks. Tasks on that thread cannot report it, so another
//! thread does.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Isolate;
use crate::events::{EventLog, HostEvent, Origin};

/// Whether the thread of an isolate still runs tasks.
#[derive(Debug, Default)]
pub struct Heartbeat {
    blocked: AtomicBool,
}

impl Heartbeat {
    /// Whether the thread has run no task for `isolate.blockedAfter`.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

/// Reports when the thread of the isolate is blocked, and when it continues. Runs on another thread
/// and returns when the runtime of the isolate ends.
pub async fn watch(isolate: Arc<Isolate>, after: Duration, events: Arc<EventLog>) {
    let id = isolate.id;
    loop {
        let asked = Instant::now();
        let mut beat = isolate.runtime.spawn(async {});
        let answered = match tokio::time::timeout(after, &mut beat).await {
            Ok(answered) => answered,
            Err(_) => {
                isolate.heartbeat.blocked.store(true, Ordering::Relaxed);
                tracing::error!(
                    isolate = %id,
                    "host code has blocked the thread for {after:?} (isolate.blockedAfter): its connections and modules wait; \
                     if it does not continue, restart the host"
                );
                let message = format!("host code has blocked the thread for {after:?} (isolate.blockedAfter)");
                events.raise(HostEvent::Warning { origin: Origin::isolate(id), message });
                let answered = beat.await;
                isolate.heartbeat.blocked.store(false, Ordering::Relaxed);
                tracing::warn!(isolate = %id, "the thread continues after {:?}", asked.elapsed());
                answered
            }
        };
        if answered.is_err() {
            return;
        }
        tokio::time::sleep(after / 2).await;
    }
}
