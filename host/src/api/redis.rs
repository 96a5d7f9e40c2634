//! The JSON documents about connections to Redis.

use serde::{Deserialize, Serialize};

/// A connection to Redis.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RedisStatus {
    /// The name of the connection in `redis` of `fanfare.json`.
    pub name: String,
    /// The server.
    pub url: String,
    /// Whether the host is connected.
    pub state: RedisState,
    /// When the state changed, in milliseconds since 1970-01-01 UTC. Absent while the host connects
    /// for the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Why parts of the connection are down, and topics that the server refuses.
    pub reasons: Vec<String>,
    /// The channels and patterns that the server sends.
    pub topics: u64,
    /// The number of messages that subscriptions got.
    pub received: u64,
    /// The number of messages that the server got.
    pub published: u64,
    /// The number of messages that the server may not have got.
    pub lost: u64,
    /// The number of messages that wait until they are published.
    pub queued: u64,
    /// The bytes of these messages.
    pub queued_bytes: u64,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub enum RedisState {
    /// The host connects for the first time.
    #[default]
    Connecting,
    /// The host is connected.
    Up,
    /// The host has lost the connection, or could not connect, and tries again.
    Down,
}

impl RedisState {
    /// The state as JSON has it.
    pub fn as_str(self) -> &'static str {
        match self {
            RedisState::Connecting => "connecting",
            RedisState::Up => "up",
            RedisState::Down => "down",
        }
    }
}
