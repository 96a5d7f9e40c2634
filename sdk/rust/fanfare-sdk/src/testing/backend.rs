//! Answers the imports in memory, with the functions that the component has.

mod channels;
mod sessions;

pub(crate) use channels::*;
pub(crate) use sessions::*;

use super::dispatch::{into_reply, worker};
use super::promise::Promise;
use super::{LogLine, worker as thread};
use crate::failure::CallError;
use crate::types::{Address, HeaderFields, Identity, Isolate, Level, Outcome, Receipt, Reply, RequestHead, Target};
use crate::wit::nodes::Node;
use crate::wit::sse::{Event, Reach};
use crate::wit::types::{self as wit, CallId, CallOptions, Emission, Group, Payload};

/// The id and the server type of the node of a test.
const OWN_NODE: &str = "test-1";
const OWN_SERVER: &str = "test";

pub(crate) fn emit(caller: Option<CallId>, emission: &Emission, payload: &Payload) -> Result<Receipt, wit::CallError> {
    let (node, worker) = thread::current();
    let (receipt, _) = node.emit(Some((worker, caller)), emission, payload).map_err(CallError::into_wit)?;
    Ok(receipt)
}

// Has the signature of the component's function, which can fail.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn reload(_caller: Option<CallId>, module: Option<&str>) -> Result<Receipt, wit::CallError> {
    let (node, _) = thread::current();
    Ok(node.reload(module))
}

// Has the signature of the component's function, which waits.
#[allow(clippy::unused_async)]
pub(crate) async fn emit_durable(
    caller: Option<CallId>,
    emission: &Emission,
    payload: &Payload,
) -> Result<Receipt, wit::CallError> {
    let (node, worker) = thread::current();
    let (mut receipt, _) = node.emit_durable((worker, caller), emission, payload).map_err(CallError::into_wit)?;
    receipt.extra.push(("position".to_owned(), receipt.seq.to_string()));
    Ok(receipt)
}

pub(crate) async fn gather(
    caller: Option<CallId>,
    emission: &Emission,
    payload: &Payload,
    _timeout_ms: Option<u32>,
) -> Result<Vec<wit::Entry>, wit::CallError> {
    let (node, worker) = thread::current();
    let (_, pending) = node.emit(Some((worker, caller)), emission, payload).map_err(CallError::into_wit)?;
    Ok(entries(pending).await)
}

async fn entries(pending: Vec<Promise<Result<Outcome, CallError>>>) -> Vec<wit::Entry> {
    let mut entries = Vec::new();
    for (index, promise) in pending.into_iter().enumerate() {
        let outcome = promise.await.map(into_reply).map_err(CallError::into_wit);
        entries.push(wit::Entry { isolate: worker(index), node: None, outcome });
    }
    entries
}

pub(crate) async fn call(
    caller: Option<CallId>,
    target: &Target,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<Reply, wit::CallError> {
    let (node, worker) = thread::current();
    let pending = node.rpc((worker, caller), target, route, payload, options).map_err(CallError::into_wit)?;
    pending.await.map(into_reply).map_err(CallError::into_wit)
}

pub(crate) async fn call_every(
    caller: Option<CallId>,
    group: &Group,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<Vec<wit::Entry>, wit::CallError> {
    let (node, worker) = thread::current();
    let mut pending = Vec::new();
    for target in targets(group)? {
        pending.push(node.rpc((worker, caller), &target, route, payload, options).map_err(CallError::into_wit)?);
    }
    Ok(entries(pending).await)
}

pub(crate) fn notify(
    caller: Option<CallId>,
    address: &Address,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<u32, wit::CallError> {
    let (node, worker) = thread::current();
    let targets = match address {
        Address::One(target) => vec![target.clone()],
        Address::Every(group) => targets(group)?,
    };
    let mut count = 0;
    for target in targets {
        node.rpc((worker, caller), &target, route, payload, options).map_err(CallError::into_wit)?;
        count += 1;
    }
    Ok(count)
}

fn targets(group: &Group) -> Result<Vec<Target>, wit::CallError> {
    match group {
        Group::Workers | Group::Cluster => Ok((0..thread::current().0.workers()).map(Target::Worker).collect()),
        Group::Nodes => Ok(vec![Target::Worker(0)]),
        Group::Brokers => Ok(Vec::new()),
        Group::Servers(name) => {
            Err(wit::CallError::NotFound(format!("there is no server type `{name}`: a test host is the only node")))
        }
        Group::Other(_) => Err(wit::CallError::Invalid(format!("this version has no group {group:?}"))),
    }
}

fn http<T: Default>(call: CallId, read: impl FnOnce(&(HeaderFields, RequestHead)) -> T) -> T {
    let (node, _) = thread::current();
    let state = node.state();
    state.calls.get(&call).and_then(|running| running.http.as_ref()).map(read).unwrap_or_default()
}

pub(crate) fn header(call: CallId, name: &str) -> Vec<String> {
    let named = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
    http(call, |(headers, _)| headers.iter().filter(named).map(|(_, value)| value.clone()).collect())
}

pub(crate) fn headers(call: CallId) -> HeaderFields {
    http(call, |(headers, _)| headers.clone())
}

pub(crate) fn head(call: CallId) -> Option<RequestHead> {
    http(call, |(_, head)| Some(head.clone()))
}

pub(crate) fn whoami() -> Identity {
    let (node, worker) = thread::current();
    Identity {
        node: OWN_NODE.to_owned(),
        server: OWN_SERVER.to_owned(),
        isolate: Isolate::Worker(worker),
        workers: node.workers(),
        module: node.name.clone(),
        generation: "0".repeat(64),
    }
}

pub(crate) fn list_nodes(server: Option<&str>) -> Vec<Node> {
    let (node, _) = thread::current();
    let own = Node {
        id: OWN_NODE.to_owned(),
        server: OWN_SERVER.to_owned(),
        frontend: true,
        workers: node.workers(),
        settings: "{}".to_owned(),
        since_ms: 0,
        extra: Vec::new(),
    };
    let mut nodes: Vec<Node> = node.nodes.iter().cloned().chain([own]).collect();
    nodes.retain(|node| server.is_none_or(|server| server == node.server));
    nodes.sort_by(|one, other| one.id.cmp(&other.id));
    nodes
}

pub(crate) fn get_node(id: &str) -> Option<Node> {
    list_nodes(None).into_iter().find(|node| node.id == id)
}

pub(crate) fn isolate() -> Isolate {
    Isolate::Worker(thread::current().1)
}

pub(crate) fn log(caller: Option<CallId>, level: Level, message: &str, fields: &[(String, String)]) {
    let (node, _) = thread::current();
    let line = LogLine { isolate: isolate(), caller, level, message: message.to_owned(), fields: fields.to_vec() };
    node.state().logs.push(line);
}

pub(crate) fn config(_caller: Option<CallId>, pointer: &str) -> Option<String> {
    let (node, _) = thread::current();
    let state = node.state();
    state.config.pointer(pointer).map(ToString::to_string)
}

pub(crate) fn option(pointer: &str) -> Option<String> {
    thread::current().0.options.pointer(pointer).map(ToString::to_string)
}

pub(crate) fn post(_caller: Option<CallId>, payload: &Payload) -> Result<(), wit::CallError> {
    message(payload).map(drop)
}

// Has the signature of the component's function, which waits.
#[allow(clippy::unused_async)]
pub(crate) async fn send(
    _caller: Option<CallId>,
    payload: &Payload,
    _timeout_ms: Option<u32>,
) -> Result<Payload, wit::CallError> {
    message(payload)
}

fn message(payload: &Payload) -> Result<Payload, wit::CallError> {
    let (node, _) = thread::current();
    match &node.on_message {
        Some(handler) => handler(payload.clone()).map_err(CallError::into_wit),
        None => Err(wit::CallError::Unavailable("nobody listens: call `on_message` of the builder".to_owned())),
    }
}

pub(crate) fn publish(_caller: Option<CallId>, key: &str, event: &Event, reach: Reach) -> Result<u32, wit::CallError> {
    let (node, worker) = thread::current();
    node.publish(Some(key), event, worker, reach).map_err(CallError::into_wit)
}

pub(crate) fn publish_all(_caller: Option<CallId>, event: &Event, reach: Reach) -> Result<u32, wit::CallError> {
    let (node, worker) = thread::current();
    node.publish(None, event, worker, reach).map_err(CallError::into_wit)
}

pub(crate) fn close(_caller: Option<CallId>, key: &str, reach: Reach) -> Result<u32, wit::CallError> {
    let (node, worker) = thread::current();
    node.close(Some(key), worker, reach).map_err(CallError::into_wit)
}

pub(crate) fn close_all(_caller: Option<CallId>, reach: Reach) -> Result<u32, wit::CallError> {
    let (node, worker) = thread::current();
    node.close(None, worker, reach).map_err(CallError::into_wit)
}

pub(crate) fn stream_count(key: Option<&str>) -> u32 {
    thread::current().0.count_streams(key)
}

pub(crate) fn emit_event(
    _caller: Option<CallId>,
    event_type: Option<&str>,
    value: &Payload,
) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.emit_event(Some(worker), event_type, value).map_err(CallError::into_wit)
}

pub(crate) fn subscribe(_caller: Option<CallId>, pattern: Option<&str>, route: &str) -> Result<String, wit::CallError> {
    let (node, worker) = thread::current();
    node.subscribe(worker, pattern, route).map_err(CallError::into_wit)
}

pub(crate) fn unsubscribe(_caller: Option<CallId>, subscription: &str) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.unsubscribe(worker, subscription).map_err(CallError::into_wit)
}

pub(crate) fn publish_message(
    _caller: Option<CallId>,
    connection: &str,
    topic: &str,
    payload: &Payload,
) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.publish_message(worker, connection, topic, payload).map_err(CallError::into_wit)
}

#[cfg(feature = "spawn")]
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    super::worker::spawn(Box::pin(future));
}
