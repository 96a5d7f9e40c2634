//! Answers the imports in memory, with the functions that the component has.

use super::dispatch::{into_reply, worker};
use super::promise::Promise;
use super::{LogLine, worker as thread};
use crate::channels::{ChannelMember, ChannelPage, Position};
use crate::failure::CallError;
use crate::types::{Address, HeaderFields, Identity, Isolate, Level, Outcome, Receipt, Reply, RequestHead, Target};
use crate::wit::sessions::WhenTaken;
use crate::wit::sse::{Event, Reach};
use crate::wit::types::{self as wit, CallId, CallOptions, Emission, Group, Payload, Pushed, Recipient, Session};

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
        node: "test-1".to_owned(),
        server: "test".to_owned(),
        isolate: Isolate::Worker(worker),
        workers: node.workers(),
        module: node.name.clone(),
        generation: "0".repeat(64),
    }
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

pub(crate) fn current_session(call: CallId) -> Option<Session> {
    thread::current().0.current_session(call)
}

// Has the signature of the component's function, which can fail.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn look(caller: Option<CallId>, session: &str) -> Result<Option<Session>, wit::CallError> {
    Ok(thread::current().0.look(caller, session))
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn find_sessions(_caller: Option<CallId>, uid: &str) -> Result<Vec<String>, wit::CallError> {
    Ok(thread::current().0.sessions_of(uid).into_iter().map(|session| session.id).collect())
}

pub(crate) fn session_value(
    caller: Option<CallId>,
    session: Option<&str>,
    key: &str,
) -> Result<Option<String>, wit::CallError> {
    let values = thread::current().0.session_values(caller, session).map_err(CallError::into_wit)?;
    Ok(values.get(key).cloned())
}

pub(crate) fn session_values(
    caller: Option<CallId>,
    session: Option<&str>,
) -> Result<Vec<(String, String)>, wit::CallError> {
    let values = thread::current().0.session_values(caller, session).map_err(CallError::into_wit)?;
    Ok(values.into_iter().collect())
}

pub(crate) fn set_session_values(
    caller: Option<CallId>,
    session: Option<&str>,
    values: &[(String, String)],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, session, values, &[]).map_err(CallError::into_wit)
}

pub(crate) fn remove_session_values(
    caller: Option<CallId>,
    session: Option<&str>,
    keys: &[String],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, session, &[], keys).map_err(CallError::into_wit)
}

pub(crate) fn bind(
    caller: Option<CallId>,
    session: Option<&str>,
    uid: &str,
    taken: WhenTaken,
) -> Result<(), wit::CallError> {
    thread::current().0.bind(caller, session, uid, taken).map_err(CallError::into_wit)
}

pub(crate) fn unbind(caller: Option<CallId>, session: Option<&str>) -> Result<(), wit::CallError> {
    let unbound = thread::current().0.change_session(caller, session, |session| session.uid = None);
    unbound.map_err(CallError::into_wit)
}

pub(crate) fn authenticate(
    caller: Option<CallId>,
    session: Option<&str>,
    claims: &str,
    _expires_ms: Option<u64>,
) -> Result<(), wit::CallError> {
    thread::current().0.authenticate(caller, session, claims).map_err(CallError::into_wit)
}

pub(crate) fn deauthenticate(caller: Option<CallId>, session: Option<&str>) -> Result<(), wit::CallError> {
    let taken = thread::current().0.change_session(caller, session, |session| session.claims = None);
    taken.map_err(CallError::into_wit)
}

pub(crate) fn send_to_sessions(
    _caller: Option<CallId>,
    to: &Recipient,
    name: &str,
    payload: &Payload,
) -> Result<u32, wit::CallError> {
    thread::current().0.send_to(to, name, payload).map_err(CallError::into_wit)
}

pub(crate) fn disconnect(
    caller: Option<CallId>,
    session: Option<&str>,
    code: u16,
    reason: &str,
) -> Result<(), wit::CallError> {
    thread::current().0.disconnect(caller, session, code, reason).map_err(CallError::into_wit)
}

pub(crate) fn join(_caller: Option<CallId>, group: &str, sessions: &[String]) -> Result<u32, wit::CallError> {
    thread::current().0.regroup(group, sessions, true).map_err(CallError::into_wit)
}

pub(crate) fn leave(_caller: Option<CallId>, group: &str, sessions: &[String]) -> Result<u32, wit::CallError> {
    thread::current().0.regroup(group, sessions, false).map_err(CallError::into_wit)
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn members(_caller: Option<CallId>, group: &str) -> Result<Vec<String>, wit::CallError> {
    Ok(thread::current().0.members(group))
}

pub(crate) fn count_sessions() -> (u32, u32) {
    thread::current().0.count_sessions()
}

// The functions below have the signatures of the component's functions, which wait.
#[allow(clippy::unused_async)]
pub(crate) async fn push(
    _caller: Option<CallId>,
    to: &[Recipient],
    name: &str,
    payload: &Payload,
) -> Result<Pushed, wit::CallError> {
    thread::current().0.push(to, name, payload).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn ask(
    caller: Option<CallId>,
    session: &str,
    name: &str,
    payload: &Payload,
    _timeout_ms: Option<u32>,
) -> Result<Payload, wit::CallError> {
    thread::current().0.ask(caller, session, name, payload).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn apply(call: CallId) -> Result<(), wit::CallError> {
    thread::current().0.session_values(Some(call), None).map(drop).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn read_session(
    caller: Option<CallId>,
    session: &str,
) -> Result<(Session, Vec<(String, String)>), wit::CallError> {
    let values = session_values(caller, Some(session))?;
    let missing = || wit::CallError::NotFound(format!("there is no session {session}"));
    Ok((thread::current().0.look(caller, session).ok_or_else(missing)?, values))
}

#[allow(clippy::unused_async)]
pub(crate) async fn write_session(
    caller: Option<CallId>,
    session: &str,
    set: &[(String, String)],
    remove: &[String],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, Some(session), set, remove).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async, clippy::unnecessary_wraps)]
pub(crate) async fn find_everywhere(_caller: Option<CallId>, uid: &str) -> Result<Vec<Session>, wit::CallError> {
    Ok(thread::current().0.sessions_of(uid))
}

pub(crate) fn publish_to_channel(
    _caller: Option<CallId>,
    channel: &str,
    payload: &Payload,
) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.publish_from(worker, channel, payload).map(drop).map_err(CallError::into_wit)
}

pub(crate) fn subscribe_to_channel(
    _caller: Option<CallId>,
    channel: &str,
    route: &str,
) -> Result<String, wit::CallError> {
    let (node, worker) = thread::current();
    node.subscribe_to_channel(worker, channel, route).map_err(CallError::into_wit)
}

pub(crate) fn unsubscribe_from_channel(_caller: Option<CallId>, subscription: &str) -> Result<(), wit::CallError> {
    let (node, worker) = thread::current();
    node.unsubscribe_from_channel(worker, subscription).map_err(CallError::into_wit)
}

pub(crate) fn add_to_channel(_caller: Option<CallId>, channel: &str, session: &str) -> Result<(), wit::CallError> {
    thread::current().0.add_to_channel(channel, session).map_err(CallError::into_wit)
}

pub(crate) fn kick_out(
    _caller: Option<CallId>,
    channel: &str,
    session: &str,
    message: &str,
) -> Result<(), wit::CallError> {
    thread::current().0.kick_out(channel, session, message).map_err(CallError::into_wit)
}

pub(crate) fn count_members(channel: &str) -> u32 {
    thread::current().0.count_members(channel)
}

pub(crate) async fn publish_and_wait(
    _caller: Option<CallId>,
    channel: &str,
    payload: &Payload,
) -> Result<Option<Position>, wit::CallError> {
    let (node, worker) = thread::current();
    let placed = node.publish_from(worker, channel, payload).map_err(CallError::into_wit)?;
    placed.await.map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn channel_history(
    _caller: Option<CallId>,
    channel: &str,
    after: Option<&Position>,
    most: u32,
) -> Result<ChannelPage, wit::CallError> {
    thread::current().0.channel_history(channel, after, most).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn channel_members(
    _caller: Option<CallId>,
    channel: &str,
) -> Result<Vec<ChannelMember>, wit::CallError> {
    thread::current().0.listed_members(channel).map_err(CallError::into_wit)
}

#[cfg(feature = "spawn")]
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    super::worker::spawn(Box::pin(future));
}
