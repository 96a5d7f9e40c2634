//! Makes the calls and broadcasts that a JSON body describes, and returns their outcomes as JSON.

use std::time::Duration;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::{Entry, Group, Target};

/// `{"route", "target", "group", "payload", "timeoutMs", "subdomain"}`. Only the route is required.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CallSpec {
    route: String,
    #[serde(default)]
    target: To,
    group: Option<ToGroup>,
    #[serde(default)]
    payload: Value,
    timeout_ms: Option<u64>,
    subdomain: Option<String>,
}

/// `"any"`, `"master"`, `{"worker": 1}`, `{"broker": 0}`, `{"node": "id"}`, `{"server": "type"}`,
/// `{"channel": "name"}`, `{"session": "id"}`, `{"other": ["kind", "name"]}`.
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

/// `"workers"`, `"brokers"`, `{"servers": "type"}`, `"nodes"`, `"cluster"`, `{"other": ["kind",
/// "name"]}`.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ToGroup {
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

impl From<ToGroup> for Group {
    fn from(group: ToGroup) -> Self {
        match group {
            ToGroup::Workers => Group::Workers,
            ToGroup::Brokers => Group::Brokers,
            ToGroup::Servers(kind) => Group::Servers(kind),
            ToGroup::Nodes => Group::Nodes,
            ToGroup::Cluster => Group::Cluster,
            ToGroup::Other(other) => Group::Other(other),
        }
    }
}

impl CallSpec {
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

/// Converts a JSON value to a payload: a string to its text, `null` to none, any other value to
/// JSON.
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

/// Returns `{"ok": {"status", "payload"}}` or `{"error": {"kind", "message", "failure"}}`.
/// `failure` is `null` for other errors.
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

/// Calls a route in one place and returns the outcome.
#[handler]
pub async fn nested(Json(spec): Json<CallSpec>) -> Json<Value> {
    let to = spec.to(Target::from(spec.target.clone()));
    Json(outcome(to.call(&spec.route, payload(spec.payload)).await))
}

/// Calls a route in several places and returns an array of the outcomes.
#[handler]
pub async fn every(Json(spec): Json<CallSpec>) -> Json<Value> {
    let to = spec.to(spec.group.clone().map_or(Group::Workers, Group::from));
    Json(entries(to.call_every(&spec.route, payload(spec.payload)).await))
}

/// Notifies one place, or several with `group`. Returns `{"ok": count}`.
#[handler]
pub fn notify(Json(spec): Json<CallSpec>) -> Json<Value> {
    let sent = match &spec.group {
        Some(group) => spec.to(Group::from(group.clone())).notify(&spec.route, payload(spec.payload)),
        None => spec.to(Target::from(spec.target.clone())).notify(&spec.route, payload(spec.payload)),
    };
    Json(match sent {
        Ok(count) => json!({"ok": count}),
        Err(error) => outcome(Err(error)),
    })
}

/// `{"name", "module", "payload", "timeoutMs", "subdomain"}`. Only the name is required.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BroadcastSpec {
    name: String,
    module: Option<String>,
    #[serde(default)]
    payload: Value,
    timeout_ms: Option<u64>,
    subdomain: Option<String>,
}

impl BroadcastSpec {
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

/// Emits a broadcast. Returns `{"ok": {"id", "seq", "accepted", "skipped"}}`.
#[handler]
pub fn emit(Json(spec): Json<BroadcastSpec>) -> Json<Value> {
    Json(match spec.named().emit(payload(spec.payload)) {
        Ok(receipt) => {
            let skipped = receipt.skipped.into_iter();
            let skipped: Vec<_> =
                skipped.map(|skipped| json!({"isolate": skipped.isolate, "reason": skipped.reason})).collect();
            json!({"ok": {"id": receipt.id, "seq": receipt.seq, "accepted": receipt.accepted, "skipped": skipped}})
        }
        Err(error) => outcome(Err(error)),
    })
}

/// Gathers a broadcast and returns an array of the workers' outcomes.
#[handler]
pub async fn gather(Json(spec): Json<BroadcastSpec>) -> Json<Value> {
    Json(entries(spec.named().gather(payload(spec.payload)).await))
}
