//! The JSON documents about connected clients.

use serde::{Deserialize, Serialize};

/// The connected clients of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientsStatus {
    /// The number of open WebSockets.
    pub open: u32,
    /// The limit: the setting `websocket.maxClients`, or four fifths of the connections.
    pub max: u32,
    /// The number of sessions that are bound to a user.
    pub bound: u32,
    /// The number of groups of sessions.
    pub groups: usize,
    /// The paths at which clients of SocketCluster connect: the setting `websocket.listeners`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub listeners: Vec<SocketListenerStatus>,
}

/// A path at which clients of SocketCluster connect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SocketListenerStatus {
    /// The path, such as `/socketcluster/`.
    pub path: String,
    /// The version of the protocol: 1 or 2.
    pub protocol: u8,
    /// The module of its clients.
    pub module: String,
}

/// A WebSocket that a module declares in `sockets`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SocketStatus {
    /// The pattern of its path below the module, such as `room/{room}`.
    pub pattern: String,
    /// The route that receives its messages, as method and path; one of another module as
    /// `[METHOD ]module/path`.
    pub route: String,
    /// The sub-protocols that it accepts.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub protocols: Vec<String>,
    /// The largest message in bytes, if it is less than `websocket.maxMessage`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_message: Option<u64>,
}

/// The routes that run around the route of each message that clients send to a module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FiltersStatus {
    /// Those that run before, in their order, as method and path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub before: Vec<String>,
    /// Those that run after, in their order, as method and path.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
}

impl FiltersStatus {
    /// Whether the module has no filters.
    pub fn is_empty(&self) -> bool {
        self.before.is_empty() && self.after.is_empty()
    }
}
