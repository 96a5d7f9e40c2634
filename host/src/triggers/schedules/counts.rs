//! What is counted for a schedule.

use std::collections::BTreeMap;

use prometheus_client::metrics::histogram::Histogram;

use crate::api::LastRun;

/// Upper bounds of the buckets of lateness and run times, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0];

/// The counters of a schedule.
#[derive(Clone)]
pub struct Counts {
    /// The runs that have ended, by `ok`, `status` (a reply with a status from 400) or the code of
    /// the error.
    pub outcomes: BTreeMap<&'static str, u64>,
    pub skipped: u64,
    pub missed: u64,
    /// The runs that made up for missed due times.
    pub made_up: u64,
    /// The attempts after a failure.
    pub retried: u64,
    /// The runs that failed as often as they may.
    pub given_up: u64,
    /// How long after its due time each run started.
    pub lateness: Histogram,
    pub run_time: Histogram,
    pub last: Option<LastRun>,
}

impl Default for Counts {
    fn default() -> Counts {
        Counts {
            outcomes: BTreeMap::new(),
            skipped: 0,
            missed: 0,
            made_up: 0,
            retried: 0,
            given_up: 0,
            lateness: Histogram::new(BUCKETS),
            run_time: Histogram::new(BUCKETS),
            last: None,
        }
    }
}

impl Counts {
    /// The outcome of a run that succeeded.
    pub const OK: &str = "ok";

    pub fn succeeded(&self) -> u64 {
        self.outcomes.get(Counts::OK).copied().unwrap_or(0)
    }

    pub fn failed(&self) -> u64 {
        self.outcomes.values().sum::<u64>() - self.succeeded()
    }
}
