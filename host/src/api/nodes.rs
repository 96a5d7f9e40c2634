//! The JSON documents about the nodes of a cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ChannelPatternStatus;

/// The facts about a node, which it tells the other nodes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeInfo {
    /// The setting `node.id`.
    pub id: String,
    /// The setting `node.server`.
    pub server: String,
    /// A text that differs for each start of the host.
    pub boot: String,
    /// When the host started, in milliseconds since 1970-01-01 UTC.
    pub since: u64,
    /// Counts the changes of these facts.
    pub revision: u64,
    /// The version of the host.
    pub version: String,
    /// The name of the machine.
    pub host: String,
    /// The process id.
    pub pid: u32,
    /// The number of workers.
    pub workers: u32,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// The keys of its entry in `cluster.servers` that the host does not know.
    pub settings: Map<String, Value>,
    /// The modules that it serves, each with its generation, shortened to 12 digits.
    pub modules: BTreeMap<String, String>,
    /// The durable broadcasts of these modules.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub durable: BTreeMap<String, BTreeSet<String>>,
    /// The channels that these modules declare.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub channels: BTreeMap<String, Vec<ChannelPatternStatus>>,
}

/// The answer to `POST /v1/nodes/<node>/stop`: the node has begun to stop.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StopRequested {
    /// The id of the node.
    pub node: String,
}

/// The nodes of the cluster, as one of them knows them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterStatus {
    /// The setting `cluster.name`. Absent if the node is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Whether the node takes part in the cluster.
    pub state: ClusterState,
    /// The NATS server that the node is connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nats: Option<String>,
    /// Why the node does not take part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The nodes by id, the node that answers among them.
    pub nodes: Vec<NodeStatus>,
}

/// Whether a node takes part in a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum ClusterState {
    /// No cluster is set.
    #[default]
    Alone,
    /// It connects for the first time.
    Connecting,
    /// It takes part.
    Up,
    /// It has lost the connection to NATS, or could not connect, and tries again.
    Down,
    /// Another node has its id.
    Conflict,
    /// It stops.
    Leaving,
}

impl ClusterState {
    /// The state as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            ClusterState::Alone => "alone",
            ClusterState::Connecting => "connecting",
            ClusterState::Up => "up",
            ClusterState::Down => "down",
            ClusterState::Conflict => "conflict",
            ClusterState::Leaving => "leaving",
        }
    }
}

/// A node of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeStatus {
    /// What the node says.
    #[serde(flatten)]
    pub info: NodeInfo,
    /// Whether it is the node that answers.
    pub own: bool,
    /// The version of the protocol between nodes, if it is another one than that of the node that
    /// answers. These two nodes do not reach each other.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// The number of calls and broadcasts sent to it.
    pub sent: u64,
    /// The number of calls and broadcasts received from it.
    pub received: u64,
    /// The number of calls that wait for its answer.
    pub in_flight: u64,
    /// The average time from a call until its answer, in microseconds, since the nodes know each
    /// other.
    pub round_trip_micros: u64,
}
