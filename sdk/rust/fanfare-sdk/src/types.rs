//! The plain data of a call, generated from `wit/types.wit`.

use std::fmt;

use serde::{Serialize, Serializer};

pub use crate::wit::host::{Identity, Level};
pub use crate::wit::http::RequestHead;
pub use crate::wit::types::{
    Address, Broadcast, Call, CallId, CallOptions, ClientMessage, Emission, Group, GuestOrigin, HeaderFields, Hook,
    HttpRequest, Isolate, Method, Origin, Outcome, Passed, Payload, Pushed, Receipt, Recipient, Reply, Schedule,
    Skipped, Startup, StartupReason, Subscription, Target, Trigger,
};

use crate::rpc;

/// Writes `worker-0`, `broker-0` or `master`.
impl fmt::Display for Isolate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Isolate::Worker(index) => write!(f, "worker-{index}"),
            Isolate::Broker(index) => write!(f, "broker-{index}"),
            Isolate::Master => f.write_str("master"),
        }
    }
}

/// Serialises it as text: `"worker-0"`.
impl Serialize for Isolate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Isolate {
    /// Returns the target of an [`rpc`] call to this isolate.
    pub fn target(&self) -> Target {
        match *self {
            Isolate::Worker(index) => Target::Worker(index),
            Isolate::Broker(index) => Target::Broker(index),
            Isolate::Master => Target::Master,
        }
    }
}

impl Method {
    /// Returns the name in upper case: `GET`.
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
    /// Returns the name of the kind in the contract: `http`, `broadcast`, `rpc` and so on.
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

impl Origin {
    /// Returns the name of the kind in the contract: `client`, `session`, `guest` and so on.
    pub fn kind(&self) -> &str {
        match self {
            Origin::Client => "client",
            Origin::Session(_) => "session",
            Origin::Guest(_) => "guest",
            Origin::Host => "host",
            Origin::Operator => "operator",
            Origin::Other((name, _)) => name,
        }
    }
}

impl StartupReason {
    /// Returns the name in the contract: `start`, `swap`, `restart`.
    pub fn as_str(&self) -> &str {
        match self {
            StartupReason::Start => "start",
            StartupReason::Swap => "swap",
            StartupReason::Restart => "restart",
            StartupReason::Other(name) => name,
        }
    }
}

/// The answer of one place, when a call went to several.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The isolate that answered.
    pub isolate: Isolate,
    /// The id of its node, or `None` for this node.
    pub node: Option<String>,
    /// The answer.
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
