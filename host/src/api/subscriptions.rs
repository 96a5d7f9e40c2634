//! The JSON documents about subscriptions.

use serde::{Deserialize, Serialize};

/// A subscription of an installed module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SubscriptionStatus {
    /// The name of the module.
    pub module: String,
    /// The name of the subscription.
    pub name: String,
    /// The isolate of the guest that made it. Absent for a subscription of the manifest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolate: Option<String>,
    /// `event`, `redis`, `redisPattern`, `redisStream` or `nats`.
    pub source: String,
    /// The pattern of event types, the channel, the pattern of channels, the stream of Redis, or
    /// the subject of NATS.
    pub topic: String,
    /// The stream of JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<String>,
    /// The consumer group of a Redis stream, the queue group of NATS, or the consumer of JetStream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The connection to the outside server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connection: Option<String>,
    /// Why NATS delivers nothing at present.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// `one` or `all`. Absent if it feeds live streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deliver: Option<String>,
    /// `drop-oldest` or `wait`. Absent if it feeds live streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overflow: Option<String>,
    /// The number of messages that wait.
    pub waiting: u64,
    /// The bytes that wait.
    pub waiting_bytes: u64,
    /// The number of messages that the handler has accepted, or that the streams have received.
    pub delivered: u64,
    /// The number of messages whose handler has failed.
    pub failed: u64,
    /// The number of messages that were dropped, because the queue was full or the subscription has
    /// changed.
    pub dropped: u64,
    /// How often the source has lost messages.
    pub gaps: u64,
    /// The number of messages that the source has lost, as far as it knows.
    pub missed: u64,
    /// Why a message failed last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}
