//! How a reload ends.

use serde::{Deserialize, Serialize};

/// What a reload came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    pub module: String,
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
}

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

/// How a reload ends.
pub type Ended = Result<Reloaded, SwapError>;

/// Why a module is not reloaded. What served before serves on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SwapError {
    #[error("there is no folder of the name {0} in modulesDir")]
    NotFound(String),
    #[error("{0}")]
    Refused(String),
}
