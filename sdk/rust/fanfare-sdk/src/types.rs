//! The plain data of a call, as `wit/types.wit` has it.

use std::fmt;

use serde::{Serialize, Serializer};

pub use crate::wit::host::{Identity, Level};
pub use crate::wit::http::RequestHead;
pub use crate::wit::types::{
    Address, Broadcast, Call, CallId, CallOptions, ChannelAction, ChannelEvent, ClientMessage, Emission, Group,
    GuestOrigin, HeaderFields, Hook, HttpRequest, Isolate, Method, Origin, Outcome, Passed, Payload, Receipt, Reply,
    Schedule, Skipped, Startup, StartupReason, Subscription, Target, Trigger,
};

use crate::rpc;

/// `worker-0`, `broker-0`, `master`.
impl fmt::Display for Isolate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Isolate::Worker(index) => write!(f, "worker-{index}"),
            Isolate::Broker(index) => write!(f, "broker-{index}"),
            Isolate::Master => f.write_str("master"),
        }
    }
}

/// As it is displayed: `"worker-0"`.
impl Serialize for Isolate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Isolate {
    /// How to address this place in an [`rpc`] call.
    pub fn target(&self) -> Target {
        match *self {
            Isolate::Worker(index) => Target::Worker(index),
            Isolate::Broker(index) => Target::Broker(index),
            Isolate::Master => Target::Master,
        }
    }
}

impl Method {
    /// In upper case: `GET`.
    pub fn as_str(&self) -> &str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
            Method::Other(name) => name,
        }
    }
}

impl Trigger {
    /// Its kind, as in the contract: `http`, `broadcast`, `rpc`, ..
    pub fn kind(&self) -> &str {
        match self {
            Trigger::Http(_) => "http",
            Trigger::Broadcast(_) => "broadcast",
            Trigger::Rpc => "rpc",
            Trigger::Schedule(_) => "schedule",
            Trigger::Subscription(_) => "subscription",
            Trigger::Client(_) => "client",
            Trigger::Channel(_) => "channel",
            Trigger::Hook(_) => "hook",
            Trigger::Startup(_) => "startup",
            Trigger::Other((name, _)) => name,
        }
    }
}

/// One place's answer where several were asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Who answers.
    pub isolate: Isolate,
    /// `None` on this node.
    pub node: Option<String>,
    /// Its answer.
    pub outcome: Result<Reply, crate::CallError>,
}

impl Entry {
    pub(crate) fn from_wit(entry: crate::wit::types::Entry) -> Self {
        Entry { isolate: entry.isolate, node: entry.node, outcome: entry.outcome.map_err(Into::into) }
    }
}

impl rpc::IntoAddress for Target {
    fn into_address(self) -> Address {
        Address::One(self)
    }
}

impl rpc::IntoAddress for Group {
    fn into_address(self) -> Address {
        Address::Every(self)
    }
}
