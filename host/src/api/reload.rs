//! The results of reloads and rollbacks.

use serde::{Deserialize, Serialize};

use crate::call::{NodeReload, ReloadOutcome};

/// The result of a reload or rollback that was not refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Reloaded {
    /// The name of the module.
    pub module: String,
    /// The action of the host.
    pub outcome: ReloadOutcome,
    /// The generation that serves now. `None` if the module was removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// The previous generation.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The number of calls that still ran in the old instances when their state was saved. The new
    /// instances do not have the changes that these calls made afterwards.
    #[serde(default)]
    pub running: usize,
    /// Whether a rollback pins the module to a generation that is not the one in its folder.
    #[serde(default)]
    pub pinned: bool,
    /// Whether a restart keeps this generation. Omitted if it does. `false` if the host could not
    /// write the pin, or its removal, to `stateDir`.
    #[serde(default = "yes", skip_serializing_if = "bool::clone")]
    pub durable: bool,
    /// The keys of `fanfare.json` that have changed and need a restart.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// What the other nodes of the cluster did, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeReload>,
}

fn yes() -> bool {
    true
}

/// The result for one module, when all modules are reloaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ReloadEntry {
    /// The reload succeeded.
    Reloaded(Reloaded),
    /// The reload was refused.
    Refused(RefusedReload),
}

/// A reload that was refused: the previous generation keeps serving.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RefusedReload {
    /// The name of the module.
    pub module: String,
    /// Always `refused`.
    pub outcome: Refusal,
    /// The reason, one fault per line.
    pub reason: String,
}

/// The outcome of a [`RefusedReload`], which tells it from [`Reloaded`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Refusal {
    /// `refused`.
    #[default]
    Refused,
}
