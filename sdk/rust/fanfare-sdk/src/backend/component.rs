//! Calls the host through the imports of the component.

use std::cell::Cell;

use crate::types::{Identity, Isolate};
pub(crate) use crate::wit::broadcast::{emit, reload};
pub(crate) use crate::wit::channels::{
    add as add_to_channel, count as count_members, kick_out, publish as publish_to_channel,
    subscribe as subscribe_to_channel, unsubscribe as unsubscribe_from_channel,
};
pub(crate) use crate::wit::config::get as config;
pub(crate) use crate::wit::events::{emit as emit_event, subscribe, unsubscribe};
pub(crate) use crate::wit::host::{log, whoami};
pub(crate) use crate::wit::http::{head, header, headers};
pub(crate) use crate::wit::master::{options as option, post};
pub(crate) use crate::wit::messages::publish as publish_message;
pub(crate) use crate::wit::nodes::{get as get_node, list as list_nodes};
pub(crate) use crate::wit::rpc::notify;
pub(crate) use crate::wit::sessions::{
    authenticate, bind, count as count_sessions, current as current_session, deauthenticate, disconnect,
    find as find_sessions, get as session_value, join, leave, look, members, remove as remove_session_values,
    send as send_to_sessions, set as set_session_values, unbind, values as session_values,
};
pub(crate) use crate::wit::sse::{close, close_all, count as stream_count, publish, publish_all};
use crate::wit::types::{
    CallError, CallId, CallOptions, ChannelMember, ChannelPage, Emission, Entry, Group, Payload, Position, Pushed,
    Receipt, Recipient, Reply, Session, Target,
};

pub(crate) async fn emit_durable(
    caller: Option<CallId>,
    emission: &Emission,
    payload: &Payload,
) -> Result<Receipt, CallError> {
    crate::wit::durable::emit(caller, emission, payload).await
}

pub(crate) async fn gather(
    caller: Option<CallId>,
    emission: &Emission,
    payload: &Payload,
    timeout_ms: Option<u32>,
) -> Result<Vec<Entry>, CallError> {
    crate::wit::broadcast::gather(caller, emission, payload, timeout_ms).await
}

pub(crate) async fn call(
    caller: Option<CallId>,
    target: &Target,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<Reply, CallError> {
    crate::wit::rpc::call(caller, target, route, payload, options).await
}

pub(crate) async fn call_every(
    caller: Option<CallId>,
    group: &Group,
    route: &str,
    payload: &Payload,
    options: &CallOptions,
) -> Result<Vec<Entry>, CallError> {
    crate::wit::rpc::call_every(caller, group, route, payload, options).await
}

pub(crate) async fn send(
    caller: Option<CallId>,
    payload: &Payload,
    timeout_ms: Option<u32>,
) -> Result<Payload, CallError> {
    crate::wit::master_await::send(caller, payload, timeout_ms).await
}

pub(crate) async fn push(
    caller: Option<CallId>,
    to: &[Recipient],
    name: &str,
    payload: &Payload,
) -> Result<Pushed, CallError> {
    crate::wit::sessions_await::push(caller, to, name, payload).await
}

pub(crate) async fn ask(
    caller: Option<CallId>,
    session: &str,
    name: &str,
    payload: &Payload,
    timeout_ms: Option<u32>,
) -> Result<Payload, CallError> {
    crate::wit::sessions_await::ask(caller, session, name, payload, timeout_ms).await
}

pub(crate) async fn apply(call: CallId) -> Result<(), CallError> {
    crate::wit::sessions_await::apply(call).await
}

pub(crate) async fn read_session(
    caller: Option<CallId>,
    session: &str,
) -> Result<(Session, Vec<(String, String)>), CallError> {
    crate::wit::sessions_await::read(caller, session).await
}

pub(crate) async fn write_session(
    caller: Option<CallId>,
    session: &str,
    set: &[(String, String)],
    remove: &[String],
) -> Result<(), CallError> {
    crate::wit::sessions_await::write(caller, session, set, remove).await
}

pub(crate) async fn find_everywhere(caller: Option<CallId>, uid: &str) -> Result<Vec<Session>, CallError> {
    crate::wit::sessions_await::find(caller, uid).await
}

pub(crate) async fn publish_and_wait(
    caller: Option<CallId>,
    channel: &str,
    payload: &Payload,
) -> Result<Option<Position>, CallError> {
    crate::wit::channels_await::publish(caller, channel, payload).await
}

pub(crate) async fn channel_history(
    caller: Option<CallId>,
    channel: &str,
    after: Option<&Position>,
    most: u32,
) -> Result<ChannelPage, CallError> {
    crate::wit::channels_await::history(caller, channel, after, most).await
}

pub(crate) async fn channel_members(caller: Option<CallId>, channel: &str) -> Result<Vec<ChannelMember>, CallError> {
    crate::wit::channels_await::members(caller, channel).await
}

/// Asks the host once, because an instance never moves.
pub(crate) fn isolate() -> Isolate {
    thread_local! { static ISOLATE: Cell<Option<Isolate>> = const { Cell::new(None) } }
    ISOLATE.get().unwrap_or_else(|| {
        let Identity { isolate, .. } = whoami();
        ISOLATE.set(Some(isolate));
        isolate
    })
}

#[cfg(feature = "spawn")]
pub(crate) fn spawn(future: impl Future<Output = ()> + 'static) {
    drop(wit_bindgen::spawn_local(future));
}
