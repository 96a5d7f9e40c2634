//! How often what fails runs again.

use std::time::Duration;

/// How a durable broadcast, or a run of a schedule that is made up for, runs again after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Durable {
    /// How often it runs at most.
    pub attempts: u32,
    /// The pause after the first failure.
    pub backoff: Duration,
}

impl Durable {
    /// The longest pause.
    const MOST_PAUSE: Duration = Duration::from_secs(60);

    /// The pause after this number of failures, from 1. `None` if it does not run again.
    pub fn pause(&self, failures: u32) -> Option<Duration> {
        let doubled = self.backoff.saturating_mul(1 << failures.saturating_sub(1).min(16));
        (failures < self.attempts).then(|| doubled.min(Durable::MOST_PAUSE))
    }
}

impl Default for Durable {
    fn default() -> Durable {
        Durable { attempts: 5, backoff: Duration::from_secs(1) }
    }
}
