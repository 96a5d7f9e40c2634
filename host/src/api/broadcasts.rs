//! The JSON documents about durable broadcasts.

use serde::{Deserialize, Serialize};

/// The durable broadcasts of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DurableStatus {
    /// The stream. Absent without `cluster.nats`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The broadcasts that this node has emitted and the stream has not acknowledged.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// The modules of this node with durable broadcasts, by name.
    pub modules: Vec<DurableModule>,
}

/// The durable broadcasts of a module, as this node runs them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DurableModule {
    /// The name of the module.
    pub module: String,
    /// Whether the stream keeps the broadcasts for this node until it has run them.
    pub reading: bool,
    /// Why the node does not read, or why the broadcast that runs has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The place in the stream of the last broadcast that all workers have run since the host
    /// started. 0 if there is none.
    pub position: u64,
    /// The place of the broadcast that runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running: Option<u64>,
    /// The number of broadcasts that waited behind the last one when it arrived.
    pub pending: u64,
}
