//! The result of a reload, and how many reloads had which outcome.

use prometheus_client::metrics::counter::Counter;

use super::error::SwapError;
use crate::api::Reloaded;

/// The result of a reload or a rollback.
pub type ReloadResult = Result<Reloaded, SwapError>;

/// Completed reloads and rollbacks, counted by outcome.
#[derive(Debug, Default)]
pub struct ReloadCounters {
    outcomes: [Counter; 4],
    pub refused: Counter,
    /// Canaries that were rolled back.
    pub rolled_back: Counter,
}

impl ReloadCounters {
    pub fn count(&self, result: &ReloadResult) {
        match result {
            Ok(reloaded) => drop(self.outcomes.get(reloaded.outcome as usize).map(Counter::inc)),
            Err(SwapError::NotFound(_)) => {}
            Err(_) => drop(self.refused.inc()),
        }
    }

    /// The counters with the value of their `outcome` label.
    pub fn by_label(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let names = ["started", "swapped", "unchanged", "removed"];
        names.into_iter().zip(&self.outcomes).chain([("refused", &self.refused), ("rolledBack", &self.rolled_back)])
    }
}
