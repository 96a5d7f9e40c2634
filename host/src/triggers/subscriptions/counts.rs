//! The counters of a subscription.

use std::collections::BTreeMap;

/// The counters of one subscription.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    /// The messages that were handled, by outcome: `ok`, `status` (the handler replied with a
    /// status of 400 or above), or the code of the error.
    pub outcomes: BTreeMap<&'static str, u64>,
    /// The messages that the queue has dropped.
    pub dropped: u64,
    /// The messages that the source has lost before the host received them, as far as it knows
    /// their number.
    pub missed: u64,
    /// How often the source has lost messages.
    pub gaps: u64,
    /// Why a message failed last.
    pub failure: Option<String>,
}

impl Counts {
    /// The outcome of a message that was handled.
    pub const OK: &'static str = "ok";

    pub fn delivered(&self) -> u64 {
        self.outcomes.get(Counts::OK).copied().unwrap_or_default()
    }

    pub fn failed(&self) -> u64 {
        self.outcomes.iter().filter(|(outcome, _)| **outcome != Counts::OK).map(|(_, count)| count).sum()
    }
}
