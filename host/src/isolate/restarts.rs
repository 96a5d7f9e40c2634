//! The restart policy of a slot.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::config::IsolateConfig;

/// How often the backoff doubles at most.
const POWERS: usize = 16;

/// What the restart policy says after an end.
#[derive(Debug, PartialEq, Eq)]
pub struct Next {
    /// The delay before the next start.
    pub delay: Duration,
    /// Whether there were more ends than `isolate.maxRestarts` within `isolate.restartWindow`.
    pub too_many: bool,
}

/// The restart policy: the first restart is immediate, later ones back off, and after
/// `isolate.maxRestarts` within `isolate.restartWindow` there are no more.
pub struct Restarts {
    policy: IsolateConfig,
    recent: VecDeque<Instant>,
}

impl Restarts {
    pub fn new(policy: IsolateConfig) -> Restarts {
        Restarts { policy, recent: VecDeque::new() }
    }

    /// The number of ends within the window.
    pub fn count(&self) -> usize {
        self.recent.len()
    }

    /// Records an end at `now`.
    pub fn next(&mut self, now: Instant) -> Next {
        let (policy, max) = (&self.policy, self.policy.max_restarts as usize);
        while self.recent.front().is_some_and(|at| now.duration_since(*at) > policy.restart_window) {
            self.recent.pop_front();
        }
        self.recent.push_back(now);
        let count = self.recent.len();
        // Restarts may continue beyond the maximum, and only their number must not grow.
        if count > max.max(POWERS) + 1 {
            self.recent.pop_front();
        }
        let doubled = u32::try_from(count.saturating_sub(2).min(POWERS)).unwrap_or(u32::MAX);
        let delay = policy.restart_backoff.saturating_mul(1 << doubled).min(policy.restart_backoff_max);
        Next { delay: if count == 1 { Duration::ZERO } else { delay }, too_many: count > max }
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
        let delays: Vec<u128> = (0..5).map(|_| restarts.next(now).delay.as_millis()).collect();
        assert_eq!(delays, [0, 100, 200, 250, 250]);
    }

    #[test]
    fn more_restarts_than_the_window_allows_are_a_failure() {
        let mut restarts = restarts(2);
        let now = Instant::now();
        assert!(!restarts.next(now).too_many && !restarts.next(now).too_many);
        for _ in 0..100 {
            let next = restarts.next(now);
            assert!(next.too_many && next.delay >= Duration::from_millis(200), "{next:?}");
        }
        assert_eq!(restarts.recent.len(), POWERS + 1, "the memory is bounded");
    }

    #[test]
    fn restarts_outside_the_window_are_forgotten() {
        let mut restarts = restarts(1);
        let now = Instant::now();
        let first = Next { delay: Duration::ZERO, too_many: false };
        assert_eq!(restarts.next(now), first);
        assert_eq!(restarts.next(now + Duration::from_secs(61)), first);
    }
}
