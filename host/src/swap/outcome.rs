//! How a reload ends.

use prometheus_client::metrics::counter::Counter;
use serde::{Deserialize, Serialize};

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The name of the module.
    pub module: String,
    /// What was done.
    pub outcome: Outcome,
    /// The generation that serves now. None when the module is gone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// The generation that served before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Calls that went on in the old instances when their state was saved: what they changed after that is lost.
    #[serde(default)]
    pub running: usize,
    /// Whether a rollback's generation serves, and not what is in the folder.
    #[serde(default)]
    pub pinned: bool,
    /// Whether a restart serves the same. Left out when it does; `false` when the pin, or its end,
    /// is in memory only because stateDir could not be written.
    #[serde(default = "yes", skip_serializing_if = "bool::clone")]
    pub durable: bool,
    /// Keys of `fanfare.json` that have changed and wait for a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
}

fn yes() -> bool {
    true
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Outcome {
    /// It is served for the first time.
    Started,
    /// Every worker runs a new instance.
    Swapped,
    /// What is there serves already.
    Unchanged,
    /// Its folder is gone, and it is served no more.
    Removed,
}

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
            Err(SwapError::Refused(_)) => drop(self.refused.inc()),
            Err(SwapError::NotFound(_)) => {}
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

/// Why a module is not reloaded. What served before serves on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    /// There is no such module.
    #[error("there is no folder of the name {0} in modulesDir")]
    NotFound(String),
    /// What is there is refused, and why.
    #[error("{0}")]
    Refused(String),
}
