//! Keeps a module running in an isolate: makes the first instance and, when one ends, the next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Environment;
use super::instance::{End, Instance};
use super::program::Program;
use super::slot::{Slot, SlotState};
use crate::call::StartupReason;
use crate::config::IsolateConfig;

/// Runs until `environment.stop`, then lets the running calls end.
pub async fn supervise(slot: Arc<Slot>, program: Arc<Program>, environment: Arc<Environment>) {
    let mut restarts = Restarts::new(environment.restart.clone());
    let mut reason = StartupReason::Start;
    loop {
        let mut instance = Instance::spawn(&slot, &program, &environment, reason);
        let ended = loop {
            tokio::select! {
                end = &mut instance.task => break Some(end),
                () = instance.control.ready.notified() => {
                    slot.set_running(instance.running.clone());
                    slot.set(SlotState::Ready);
                }
                () = instance.control.worn.notified() => {
                    tracing::warn!(module = %slot.module, isolate = %slot.isolate, "replacing an instance with more leaked calls than limits.maxLeaked");
                    slot.note("replaced: more leaked calls than limits.maxLeaked");
                    instance.control.drain();
                    break None;
                }
                () = environment.stop.cancelled() => {
                    instance.control.finish();
                    let _ = (&mut instance.task).await;
                    return;
                }
            }
        };
        reason = StartupReason::Restart;
        let why = match ended {
            // It drains on its own; its successor takes over at once.
            None => {
                slot.stats.restarts.inc();
                continue;
            }
            Some(Ok(End::Drained)) => "it was drained".to_owned(),
            Some(Ok(End::Crashed(why))) => why,
            Some(Err(panic)) => format!("the host panicked: {panic}"),
        };
        match restarts.next(Instant::now()) {
            Some(delay) => {
                slot.stats.restarts.inc();
                slot.set(SlotState::Restarting { why });
                tokio::select! {
                    () = tokio::time::sleep(delay) => {}
                    () = environment.stop.cancelled() => return,
                }
            }
            None => {
                fail(&slot, why, &environment.restart);
                return;
            }
        }
    }
}

/// Gives up: whatever waits is answered, and nothing more is let in.
fn fail(slot: &Slot, why: String, policy: &IsolateConfig) {
    tracing::error!(
        module = %slot.module, isolate = %slot.isolate,
        "failed: more than {} restarts within {:?}; last: {}",
        policy.max_restarts, policy.restart_window, why.lines().next().unwrap_or_default()
    );
    // In this order: who finds the mailbox closed finds the reason.
    slot.set(SlotState::Failed { why });
    let Some(error) = slot.failed() else { return };
    for queued in slot.mailbox.close() {
        if queued.call.context.end() {
            slot.stats.refused(queued.call.trigger.kind(), &error, Some(queued.call.context.trace));
        }
        if let Some(reply) = queued.reply {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

/// When the next instance may start: at once, then later and later, and after too many not at all.
struct Restarts {
    policy: IsolateConfig,
    recent: VecDeque<Instant>,
}

impl Restarts {
    fn new(policy: IsolateConfig) -> Restarts {
        Restarts { policy, recent: VecDeque::new() }
    }

    /// How long to wait after an end at `now`; `None` when there were too many.
    fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > self.policy.restart_window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = self.recent.len();
        if count > self.policy.max_restarts as usize {
            return None;
        }
        let doubled = u32::try_from(count.saturating_sub(2)).unwrap_or(u32::MAX).min(16);
        let delay = self.policy.restart_backoff.saturating_mul(1 << doubled);
        Some(if count == 1 { Duration::ZERO } else { delay.min(self.policy.restart_backoff_max) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn restarts(max_restarts: u32) -> Restarts {
        Restarts::new(IsolateConfig {
            restart_backoff: Duration::from_millis(100),
            restart_backoff_max: Duration::from_millis(250),
            max_restarts,
            restart_window: Duration::from_secs(60),
            ..IsolateConfig::default()
        })
    }

    #[test]
    fn the_first_restart_is_immediate_and_later_ones_back_off_to_the_maximum() {
        let mut restarts = restarts(10);
        let now = Instant::now();
        let delays: Vec<u128> = (0..5).map(|_| restarts.next(now).unwrap().as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 250, 250]);
    }

    #[test]
    fn more_restarts_than_allowed_within_the_window_are_a_failure() {
        let mut restarts = restarts(2);
        let now = Instant::now();
        assert!(restarts.next(now).is_some() && restarts.next(now).is_some());
        assert_eq!(restarts.next(now), None);
    }

    #[test]
    fn restarts_outside_the_window_are_forgotten() {
        let mut restarts = restarts(1);
        let now = Instant::now();
        assert_eq!(restarts.next(now), Some(Duration::ZERO));
        assert_eq!(restarts.next(now + Duration::from_secs(61)), Some(Duration::ZERO));
    }
}
