//! Notices a thread that stands still in host code: nothing that runs on it can say so.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::Isolate;

/// Whether an isolate's thread answers.
#[derive(Debug, Default)]
pub struct Heartbeat {
    blocked: AtomicBool,
}

impl Heartbeat {
    /// Whether it has answered nothing for `isolate.blockedAfter`.
    pub fn is_blocked(&self) -> bool {
        self.blocked.load(Ordering::Relaxed)
    }
}

/// Reports the isolate's thread when it is blocked, and when it goes on. Runs on another thread, and ends with that one.
pub async fn watch(isolate: Arc<Isolate>, after: Duration) {
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
                    "the thread has done nothing for {after:?} (isolate.blockedAfter): host code blocks it, and its connections and modules wait"
                );
                let answered = beat.await;
                isolate.heartbeat.blocked.store(false, Ordering::Relaxed);
                tracing::warn!(isolate = %id, "the thread goes on after {:?}", asked.elapsed());
                answered
            }
        };
        if answered.is_err() {
            return;
        }
        tokio::time::sleep(after / 2).await;
    }
}
