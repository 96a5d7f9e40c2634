//! Calls and broadcasts as a JSON body says, with their ends as JSON.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Entry, Group, Target};

/// `{"route", "target", "payload", "timeoutMs", "subdomain"}`; all but the route can be left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wanted {
    route: String,
    #[serde(default)]
    target: To,
    group: Option<Where>,
    #[serde(default)]
    payload: Value,
    timeout_ms: Option<u64>,
    subdomain: Option<String>,
}

/// `"any"`, `"master"`, `{"worker": 1}`, `{"broker": 0}`, `{"node": "id"}`, `{"server": "type"}`, `{"channel": "name"}`,
/// `{"session": "id"}`, `{"other": ["kind", "name"]}`.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum To {
    #[default]
    Any,
    Master,
    Worker(u32),
    Broker(u32),
    Node(String),
    Server(String),
    Channel(String),
    Session(String),
    Other((String, String)),
}

/// `"workers"`, `"brokers"`, `{"servers": "type"}`, `"nodes"`, `"cluster"`, `{"other": ["kind", "name"]}`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Where {
    Workers,
    Brokers,
    Servers(String),
    Nodes,
    Cluster,
    Other((String, String)),
}

impl From<To> for Target {
    fn from(to: To) -> Self {
        match to {
            To::Any => Target::Any,
            To::Master => Target::Master,
            To::Worker(index) => Target::Worker(index),
            To::Broker(index) => Target::Broker(index),
            To::Node(id) => Target::Node(id),
            To::Server(kind) => Target::Server(kind),
            To::Channel(name) => Target::Channel(name),
            To::Session(id) => Target::Session(id),
            To::Other(other) => Target::Other(other),
        }
    }
}

impl From<Where> for Group {
    fn from(group: Where) -> Self {
        match group {
            Where::Workers => Group::Workers,
            Where::Brokers => Group::Brokers,
            Where::Servers(kind) => Group::Servers(kind),
            Where::Nodes => Group::Nodes,
            Where::Cluster => Group::Cluster,
            Where::Other(other) => Group::Other(other),
        }
    }
}

impl Wanted {
    fn to<A>(&self, address: A) -> rpc::To<A> {
        let mut to = rpc::to(address);
        if let Some(timeout) = self.timeout_ms {
            to = to.timeout(Duration::from_millis(timeout));
        }
        if let Some(subdomain) = &self.subdomain {
            to = to.subdomain(subdomain);
        }
        to
    }
}

/// Text as it is, nothing for `null`, else JSON.
fn payload(value: Value) -> Payload {
    match value {
        Value::Null => Payload::None,
        Value::String(text) => Payload::Text(text),
        value => Payload::Text(value.to_string()),
    }
}

fn shown(payload: &Payload) -> Value {
    match payload {
        Payload::None => Value::Null,
        Payload::Text(text) => Value::from(text.as_str()),
        Payload::Bytes(bytes) => json!({"bytes": bytes.len()}),
    }
}

/// `{"ok": {"status", "payload"}}` or `{"error": {"kind", "message"}}`, with `failure` when it is one.
pub fn outcome(outcome: Result<Reply, CallError>) -> Value {
    match outcome {
        Ok(reply) => json!({"ok": {"status": reply.status, "payload": shown(&reply.payload)}}),
        Err(error) => json!({"error": {
            "kind": error.kind(),
            "message": error.to_string(),
            "failure": error.failure().map(|failure| {
                json!({"name": failure.name, "status": failure.status, "data": shown(&failure.data)})
            }),
        }}),
    }
}

fn entries(answers: Result<Vec<Entry>, CallError>) -> Value {
    match answers {
        Ok(entries) => entries
            .into_iter()
            .map(|entry| json!({"isolate": entry.isolate, "node": entry.node, "outcome": outcome(entry.outcome)}))
            .collect(),
        Err(error) => outcome(Err(error)),
    }
}

/// Calls a route in one place and answers how that ended.
#[handler]
pub async fn nested(Json(wanted): Json<Wanted>) -> Json<Value> {
    let to = wanted.to(Target::from(wanted.target.clone()));
    Json(outcome(to.call(&wanted.route, payload(wanted.payload)).await))
}

/// Calls a route in several places: an array of their ends.
#[handler]
pub async fn every(Json(wanted): Json<Wanted>) -> Json<Value> {
    let to = wanted.to(wanted.group.clone().map_or(Group::Workers, Group::from));
    Json(entries(to.call_every(&wanted.route, payload(wanted.payload)).await))
}

/// Notifies one place, or several with `group`: `{"ok": count}`.
#[handler]
pub fn notify(Json(wanted): Json<Wanted>) -> Json<Value> {
    let sent = match &wanted.group {
        Some(group) => wanted.to(Group::from(group.clone())).notify(&wanted.route, payload(wanted.payload)),
        None => wanted.to(Target::from(wanted.target.clone())).notify(&wanted.route, payload(wanted.payload)),
    };
    Json(match sent {
        Ok(count) => json!({"ok": count}),
        Err(error) => outcome(Err(error)),
    })
}

/// `{"name", "module", "payload", "timeoutMs", "subdomain"}`; all but the name can be left out.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Broadcast {
    name: String,
    module: Option<String>,
    #[serde(default)]
    payload: Value,
    timeout_ms: Option<u64>,
    subdomain: Option<String>,
}

impl Broadcast {
    fn named(&self) -> broadcast::Emit {
        let mut emit = broadcast::named(&self.name);
        if let Some(module) = &self.module {
            emit = emit.of(module);
        }
        if let Some(subdomain) = &self.subdomain {
            emit = emit.subdomain(subdomain);
        }
        if let Some(timeout) = self.timeout_ms {
            emit = emit.timeout(Duration::from_millis(timeout));
        }
        emit
    }
}

/// Emits a broadcast: `{"ok": {"id", "seq", "accepted", "skipped"}}`.
#[handler]
pub fn emit(Json(wanted): Json<Broadcast>) -> Json<Value> {
    Json(match wanted.named().emit(payload(wanted.payload)) {
        Ok(receipt) => {
            let skipped = receipt.skipped.into_iter();
            let skipped: Vec<_> =
                skipped.map(|skipped| json!({"isolate": skipped.isolate, "reason": skipped.reason})).collect();
            json!({"ok": {"id": receipt.id, "seq": receipt.seq, "accepted": receipt.accepted, "skipped": skipped}})
        }
        Err(error) => outcome(Err(error)),
    })
}

/// Gathers a broadcast: an array of the workers' ends.
#[handler]
pub async fn gather(Json(wanted): Json<Broadcast>) -> Json<Value> {
    Json(entries(wanted.named().gather(payload(wanted.payload)).await))
}
