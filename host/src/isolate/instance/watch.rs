//! What must work when the guest does not: startups and deadlines, watched from outside the store.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Drive, End};

/// How often deadlines are looked at while calls run.
pub(super) const WATCH: Duration = Duration::from_millis(50);

impl Drive {
    /// Ends when the store has to go.
    pub(super) async fn watch(&self) -> End {
        let limits = &self.program.generation.limits;
        let begun = Instant::now();
        loop {
            let starting = !self.control.started.load(Ordering::Acquire);
            if !starting && self.running.is_idle() {
                // Those that were leaked have ended.
                self.running.leaked(limits.abandon_after);
                self.running.busy.notified().await;
                continue;
            }
            tokio::time::sleep(WATCH).await;
            if starting && begun.elapsed() >= limits.startup {
                return End::Crashed(format!("startups took longer than limits.startup, {:?}", limits.startup));
            }
            self.running.expire();
            let leaked = self.running.leaked(limits.abandon_after);
            if leaked == 0 {
                continue;
            }
            if !self.answers(limits.abandon_after).await {
                return End::Crashed("the guest answered nothing past a deadline".to_owned());
            }
            if self.takes_no_more() && !self.running.awaited() {
                return End::Drained;
            }
            if leaked > limits.max_leaked as usize {
                self.control.worn.notify_one();
            }
        }
    }

    /// Whether there is nothing but the calls that it has.
    fn takes_no_more(&self) -> bool {
        let finishing = || self.control.finishing.load(Ordering::Acquire) && self.slot.mailbox.waiting() == (0, 0);
        self.control.draining.load(Ordering::Acquire) || finishing()
    }

    /// Whether the driver gets a turn within `grace`.
    async fn answers(&self, grace: Duration) -> bool {
        let before = self.control.turns.load(Ordering::Relaxed);
        self.control.waker.wake();
        let until = Instant::now() + grace;
        while self.control.turns.load(Ordering::Relaxed) == before {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(self.environment.engine.tick()).await;
        }
        true
    }
}
