//! Calls and broadcasts between nodes, as plain data.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Address, IsolateId, Origin, Payload, RouteName, Trace, written};

/// The version of [`Envelope`] that this node writes, and the only one that it accepts.
pub const VERSION: u8 = 2;

/// The context of a call from another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Envelope {
    pub version: u8,
    pub origin: Origin,
    /// The calls that wait for this one, nearest first. Empty if none waits.
    pub chain: Vec<Link>,
    /// The number of calls above it.
    pub depth: u32,
    /// Whether it descends from a startup that waits for it.
    pub in_startup: bool,
    /// How long its caller waits, counted from when it is sent.
    #[serde(rename = "leftMicros", with = "written::micros")]
    pub left: Duration,
    pub trace: Trace,
    #[serde(with = "written::shared::option")]
    pub subdomain: Option<Arc<str>>,
}

/// A call that waits, by the names that every node understands. Its own node can look it up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Link {
    #[serde(with = "written::shared")]
    pub node: Arc<str>,
    #[serde(with = "written::shared")]
    pub module: Arc<str>,
    pub isolate: IsolateId,
    pub call: u64,
}

/// An RPC to another node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerCall {
    pub envelope: Envelope,
    /// The isolates on that node.
    pub address: Address,
    /// The route, always with a module.
    pub route: RouteName,
    pub payload: Payload,
}

/// A broadcast to other nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerBroadcast {
    pub envelope: Envelope,
    pub module: String,
    pub name: String,
    /// The id, unique on the node that emits.
    pub id: u64,
    pub payload: Payload,
}

/// Another node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    pub id: Arc<str>,
    pub server: Arc<str>,
    pub workers: u32,
}

/// Implements serde for a type by its text.
macro_rules! as_text {
    ($type:ty, $parse:expr, $what:literal) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let parse: fn(&str) -> Option<Self> = $parse;
                parse(&text).ok_or_else(|| serde::de::Error::custom(concat!("must be ", $what)))
            }
        }
    };
}

as_text!(IsolateId, IsolateId::parse, "`worker-<n>`, `broker-<n>` or `master`");
as_text!(Trace, Trace::parse, "32 hexadecimal digits, not all 0");
// `RouteName::parse` applies the bounds of routes to names from other nodes, too.
as_text!(RouteName, |text| RouteName::parse(text).ok(), "a route: `[METHOD ]module/path[?query]`");

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::call::{CallError, Group, Reply, Target};

    fn envelope() -> Envelope {
        let trace = Trace::parse("0123456789abcdef0123456789abcdef").unwrap();
        Envelope {
            version: VERSION,
            origin: Origin::Guest { module: "m".into(), isolate: IsolateId::Worker(1), node: Some("n-1".into()) },
            chain: vec![Link { node: "n-1".into(), module: "m".into(), isolate: IsolateId::Master, call: 7 }],
            depth: 1,
            in_startup: false,
            left: Duration::from_micros(1_500),
            trace,
            subdomain: Some("acme".into()),
        }
    }

    fn round<T: Serialize + for<'de> Deserialize<'de> + PartialEq + std::fmt::Debug>(value: &T) -> Value {
        let written = serde_json::to_value(value).unwrap();
        assert_eq!(serde_json::from_value::<T>(written.clone()).unwrap(), *value, "{written}");
        written
    }

    #[test]
    fn a_call_crosses_nodes_as_plain_data() {
        let route = RouteName::parse("GET m/a/b?c=d").unwrap();
        let payload = Payload::Bytes(vec![0, 255]);
        let call =
            PeerCall { envelope: envelope(), address: Address::One(Target::Any), route, payload: payload.clone() };
        let written = round(&call);
        assert_eq!(
            written["envelope"],
            json!({
                "version": VERSION,
                "origin": { "guest": { "module": "m", "isolate": "worker-1", "node": "n-1" } },
                "chain": [{ "node": "n-1", "module": "m", "isolate": "master", "call": 7 }],
                "depth": 1,
                "inStartup": false,
                "leftMicros": 1_500,
                "trace": "0123456789abcdef0123456789abcdef",
                "subdomain": "acme",
            })
        );
        assert_eq!(written["route"], "GET m/a/b?c=d");
        round(&PeerCall { address: Address::Every(Group::Workers), ..call });
        let broadcast = PeerBroadcast { envelope: envelope(), module: "m".into(), name: "b".into(), id: 3, payload };
        assert_eq!(round(&broadcast)["id"], 3);
    }

    #[test]
    fn every_reply_and_error_crosses_nodes() {
        let written = CallError::one_of_each("why").each_ref().map(round);
        assert_eq!(written[1], json!({ "timeout": "why" }));
        assert_eq!(round(&CallError::Timeout(None)), json!({ "timeout": null }));
        assert_eq!(written[7], json!({ "wouldDeadlock": "why" }));
        let headers = vec![("x".to_owned(), "y".to_owned())];
        let reply = Reply { status: 201, headers, payload: Payload::None, extra: Vec::new() };
        assert_eq!(round(&reply)["payload"], "none");
    }

    #[test]
    fn isolate_ids_and_traces_are_parsed_from_their_text() {
        for isolate in [IsolateId::Worker(12), IsolateId::Broker(0), IsolateId::Master] {
            assert_eq!(IsolateId::parse(&isolate.to_string()), Some(isolate));
        }
        for text in ["worker", "worker-", "worker--1", "worker-x", "Master", ""] {
            assert_eq!(IsolateId::parse(text), None, "{text}");
        }
        let trace = Trace::fresh();
        assert_eq!(Trace::parse(&trace.to_string()), Some(trace));
        for text in ["0123", &"0".repeat(32), &"G".repeat(32), &"A".repeat(32)] {
            assert_eq!(Trace::parse(text), None, "{text}");
        }
    }
}
