//! Watches startups and deadlines from outside the store, so that they hold even when the guest
//! stops responding.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Crash, End, InstanceTask};
use crate::config::Limits;
use crate::isolate::running_calls::Leaked;
use crate::isolate::unfit::Unfit;

/// The interval at which the watch checks deadlines while calls run.
pub(super) const WATCH: Duration = Duration::from_millis(50);

impl InstanceTask {
    /// Returns when the store must be dropped.
    pub(super) async fn watch_deadlines(&self) -> End {
        let limits = &self.deployment.generation.limits;
        let begun = Instant::now();
        loop {
            let starting = !self.control.started.load(Ordering::Acquire);
            let is_idle = !starting && self.running_calls.is_idle();
            if is_idle {
                // Leaked calls have ended, so the gauge goes down.
                self.running_calls.leaked(limits.abandon_after);
            }
            tokio::select! {
                biased;
                () = self.running_calls.crowded.notified() => {
                    self.note_quiet_hook();
                    self.control.set_unfit(Unfit::Memory);
                    continue;
                }
                () = self.running_calls.busy.notified(), if is_idle => continue,
                () = tokio::time::sleep(WATCH), if !is_idle => {}
            }
            if starting && begun.elapsed() >= limits.startup {
                return Crash::SlowStartups(limits.startup).into();
            }
            self.running_calls.expire();
            let lingers = self.control.draining_for().is_some_and(|time| time >= self.services.linger);
            if lingers && self.running_calls.is_streaming() && !self.running_calls.awaited() {
                return End::Drained;
            }
            let leaked = self.running_calls.leaked(limits.abandon_after);
            if leaked.total() == 0 {
                continue;
            }
            if !self.responds(limits.abandon_after).await {
                return Crash::Unresponsive.into();
            }
            if self.is_ending() && !self.running_calls.awaited() {
                return End::Drained;
            }
            if let Some(why) = why_unfit(leaked, limits, self.deployment.generation.is_serial()) {
                self.note_quiet_hook();
                self.control.set_unfit(Unfit::Leaked(why));
            }
        }
    }

    /// Whether no further call will start in this instance.
    fn is_ending(&self) -> bool {
        let finishing = || self.control.finishing.load(Ordering::Acquire) && self.slot.mailbox.waiting() == (0, 0);
        self.control.draining.load(Ordering::Acquire) || finishing()
    }

    /// Whether the driver gets a turn within `grace`.
    async fn responds(&self, grace: Duration) -> bool {
        let before = self.control.turn_count.load(Ordering::Relaxed);
        self.control.waker.wake();
        let until = Instant::now() + grace;
        while self.control.turn_count.load(Ordering::Relaxed) == before {
            if Instant::now() >= until {
                return false;
            }
            tokio::time::sleep(self.services.engine.tick()).await;
        }
        true
    }
}

/// Returns why an instance with these leaked calls must be replaced, if it must. Even with no more
/// than `limits.maxLeaked` it is replaced when they hold every place of one kind, because calls of
/// that kind would wait for ever.
fn why_unfit(leaked: Leaked, limits: &Limits, serial: bool) -> Option<&'static str> {
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
    fn an_instance_is_unfit_when_leaked_calls_leave_no_place_of_one_kind() {
        let limits = Limits { max_leaked: 100, concurrency: 4, nested: 2, ..Limits::default() };
        let why = |plain, nested, abandoned, serial| why_unfit(Leaked { plain, nested, abandoned }, &limits, serial);
        assert_eq!(why(3, 1, 96, false), None);
        assert!(why(3, 1, 97, false).is_some_and(|why| why.contains("limits.maxLeaked")));
        assert!(why(4, 0, 0, false).is_some_and(|why| why.contains("limits.concurrency")));
        assert!(why(0, 2, 0, false).is_some_and(|why| why.contains("limits.nested")));
        for (plain, nested) in [(1, 0), (0, 1)] {
            assert!(why(plain, nested, 0, true).is_some_and(|why| why.contains("serial")));
        }
        assert_eq!(why(0, 0, 1, true), None, "abandoned work holds no place of a call");
    }
}
