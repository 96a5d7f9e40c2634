//! Reloads and rollbacks on other nodes.

use serde::{Deserialize, Serialize};

/// What another node is asked to do with a module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum RolloutStep {
    /// Reload its folder.
    Reload { module: String, force: bool },
    /// Roll it back to the generation with this digest.
    Rollback { module: String, to: String },
}

impl RolloutStep {
    /// The module.
    pub fn module(&self) -> &str {
        match self {
            RolloutStep::Reload { module, .. } | RolloutStep::Rollback { module, .. } => module,
        }
    }
}

/// The action of a host in a reload or rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ReloadOutcome {
    /// It started the module, which did not serve until now.
    Started,
    /// It replaced the instances in every worker.
    Swapped,
    /// It changed nothing, because the generation in the folder serves already.
    Unchanged,
    /// It removed the module, because its folder was removed, or the module in memory.
    Removed,
}

/// What another node of the cluster did in a reload or rollback.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeReload {
    /// The id of the node.
    pub node: String,
    /// Its action. `None` if it did nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<ReloadOutcome>,
    /// The generation that serves there now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<String>,
    /// Why it did nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
