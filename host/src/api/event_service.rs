//! The JSON documents of the event service.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// An event as subscribers get it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ServiceEvent {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Any JSON, byte for byte as the emitter wrote it.
    pub value: Box<RawValue>,
    /// Who has emitted it, if the emitter said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// The response to an event that was emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmittedEvent {
    /// Its position.
    pub position: String,
}

/// The response to a list of events that were emitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EmittedEvents {
    /// Their positions, in the order of the list.
    pub positions: Vec<String>,
}

/// An event service: `GET /`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventServiceStatus {
    /// Always `fanfare-events`.
    pub service: String,
    /// The version of the program.
    pub version: String,
    /// The position of the last event. Its first part differs for each start of the service.
    pub position: String,
    /// The events that the service keeps.
    pub kept: u64,
    /// The clients that are subscribed.
    pub subscribers: u64,
    /// The events that clients have emitted.
    pub emitted: u64,
    /// The limits that clients must keep.
    pub limits: EventServiceLimits,
}

/// The limits of an event service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventServiceLimits {
    /// The most bytes of a request body: `events.maxBody`.
    pub body: u64,
    /// The most events of one request.
    pub list: u64,
    /// The most events in a second: `events.rate`.
    pub rate: u64,
    /// The most subscribers: `events.maxSubscribers`.
    pub subscribers: u64,
}

/// The event service of a node, and its connection to that of another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventsStatus {
    /// The service that listens. None without `events.listen`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<EventListenStatus>,
    /// The connection to another service. None without `events.connect`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<EventLinkStatus>,
}

/// The event service of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventListenStatus {
    /// Where it listens.
    pub address: String,
    /// The clients that are connected.
    pub connections: u64,
    /// The clients that are subscribed.
    pub subscribers: u64,
    /// The events that clients have emitted.
    pub emitted: u64,
}

/// The connection to the event service of another process.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EventLinkStatus {
    /// The address of the service.
    pub service: String,
    /// Whether it is connected. If not, the host tries again and again.
    pub up: bool,
    /// Why the last attempt to connect, or the last connection, has failed. Absent while it is
    /// connected.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The events that wait for the service.
    pub queued: u64,
    /// Their bytes.
    pub queued_bytes: u64,
    /// Events of other processes that the service has sent.
    pub received: u64,
    /// Events of this node that the service has accepted.
    pub sent: u64,
    /// Events of this node that the service has rejected.
    pub rejected: u64,
    /// Events of this node that did not go out, because the queue was full or the service away.
    pub lost: u64,
    /// How often the service could not say what this node has missed.
    pub gaps: u64,
}
