//! How a reload ends.

use prometheus_client::metrics::counter::Counter;

use super::error::SwapError;
use crate::api::Reloaded;

/// Reloads that have ended, by what they came to.
#[derive(Debug, Default)]
pub struct Ends {
    outcomes: [Counter; 4],
    pub refused: Counter,
    /// Trials that went back.
    pub rolled_back: Counter,
}

impl Ends {
    pub fn count(&self, ended: &Ended) {
        match ended {
            Ok(reloaded) => drop(self.outcomes.get(reloaded.outcome as usize).map(Counter::inc)),
            Err(SwapError::NotFound(_)) => {}
            Err(_) => drop(self.refused.inc()),
        }
    }

    /// By label.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &Counter)> {
        let names = ["started", "swapped", "unchanged", "removed"];
        names.into_iter().zip(&self.outcomes).chain([("refused", &self.refused), ("rolledBack", &self.rolled_back)])
    }
}

/// How a reload ends.
pub type Ended = Result<Reloaded, SwapError>;
