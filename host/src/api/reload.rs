//! What reloads and rollbacks return.

use serde::{Deserialize, Serialize};

/// What a reload or rollback came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The name of the module.
    pub module: String,
    /// What was done.
    pub outcome: Outcome,
    /// The generation that serves now. `None` when the module was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// The generation that served before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Calls that continued in the old instances when their state was saved: what they changed after that is lost.
    #[serde(default)]
    pub running: usize,
    /// Whether a rollback's generation serves, and not the one in the folder.
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
    /// The module is served for the first time.
    Started,
    /// Every worker runs a new instance.
    Swapped,
    /// The generation in the folder serves already.
    Unchanged,
    /// The folder was removed, and the module is served no more.
    Removed,
}

/// One module of the reload of all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReloadEntry {
    /// It was reloaded.
    Reloaded(Reloaded),
    /// It was not.
    Refused(RefusedReload),
}

/// A reload that was refused: the previous generation keeps serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedReload {
    /// The name of the module.
    pub module: String,
    /// Says so.
    pub outcome: Refusal,
    /// Why, one fault a line.
    pub reason: String,
}

/// The one outcome of a [`RefusedReload`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// `refused`.
    #[default]
    Refused,
}
