//! What must work when the guest does not: startups and deadlines, watched from outside the store.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Crash, Drive, End};
use crate::config::Limits;
use crate::isolate::running::Leaked;

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
                return Crash::SlowStartups(limits.startup).into();
            }
            self.running.expire();
            let leaked = self.running.leaked(limits.abandon_after);
            if leaked.total() == 0 {
                continue;
            }
            if !self.answers(limits.abandon_after).await {
                return Crash::Silent.into();
            }
            if self.takes_no_more() && !self.running.awaited() {
                return End::Drained;
            }
            if let Some(why) = worn(leaked, limits, self.program.generation.is_serial()) {
                self.control.wear_out(why);
            }
        }
    }

    /// Whether there is nothing but the calls that it has.
    fn takes_no_more(&self) -> bool {
        let finishing = || self.control.finishing.load(Ordering::Acquire) && self.intake.mailbox.waiting() == (0, 0);
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
            tokio::time::sleep(self.services.engine.tick()).await;
        }
        true
    }
}

/// Why an instance with these leaked calls has to be replaced, if it has to. Below
/// `limits.maxLeaked` it is replaced when they hold every place of some kind, because calls of that
/// kind would wait for ever.
fn worn(leaked: Leaked, limits: &Limits, serial: bool) -> Option<&'static str> {
    if leaked.total() > limits.max_leaked as usize {
        Some("it has more leaked calls than limits.maxLeaked")
    } else if serial && leaked.plain + leaked.nested > 0 {
        Some("a leaked call holds the only place of a serial module")
    } else if leaked.plain >= limits.concurrency as usize {
        Some("leaked calls hold every place of limits.concurrency")
    } else if leaked.nested >= limits.nested as usize {
        Some("leaked calls hold every place of limits.nested")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_worn_when_leaked_calls_leave_no_place_of_some_kind() {
        let limits = Limits { max_leaked: 100, concurrency: 4, nested: 2, ..Limits::default() };
        let leaked = |plain, nested, given_up| Leaked { plain, nested, given_up };
        assert_eq!(worn(leaked(3, 1, 96), &limits, false), None);
        assert!(worn(leaked(3, 1, 97), &limits, false).is_some_and(|why| why.contains("limits.maxLeaked")));
        assert!(worn(leaked(4, 0, 0), &limits, false).is_some_and(|why| why.contains("limits.concurrency")));
        assert!(worn(leaked(0, 2, 0), &limits, false).is_some_and(|why| why.contains("limits.nested")));
        for one in [leaked(1, 0, 0), leaked(0, 1, 0)] {
            assert!(worn(one, &limits, true).is_some_and(|why| why.contains("serial")));
        }
        assert_eq!(worn(leaked(0, 0, 1), &limits, true), None, "it holds no place of a call");
    }
}
