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

/// The broadcasts that failed too often.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkedBroadcasts {
    /// At most 1,000, with the oldest first.
    pub broadcasts: Vec<ParkedBroadcast>,
    /// Whether there are more.
    pub more: bool,
}

/// A broadcast that failed too often on one node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParkedBroadcast {
    /// The number by which it is replayed.
    pub id: u64,
    /// When it was parked, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The module.
    pub module: String,
    /// The name of the broadcast.
    pub broadcast: String,
    /// The node on which it failed.
    pub node: String,
    /// The workers that have not run it.
    pub workers: Vec<u32>,
    /// Its place in the stream of broadcasts.
    pub position: u64,
    /// How often a worker has run it.
    pub tries: u32,
    /// Why it failed last, in one line.
    pub reason: String,
    /// The bytes of its payload.
    pub size: u64,
    /// The beginning of its payload, as text for people.
    pub payload: String,
}

/// The answer to a replay.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReplayedBroadcasts {
    /// Those that the stream has again.
    pub replayed: Vec<Replayed>,
    /// Why others stay parked.
    pub failed: Vec<String>,
}

/// A parked broadcast that the stream has again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Replayed {
    /// The number under which it was parked.
    pub id: u64,
    /// Its new place in the stream.
    pub position: u64,
}
