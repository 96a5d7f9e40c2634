//! Calls the host through the imports of the component.

use std::cell::Cell;

use crate::types::{Identity, Isolate};
pub(crate) use crate::wit::broadcast::{emit, reload};
pub(crate) use crate::wit::config::get as config;
pub(crate) use crate::wit::events::{emit as emit_event, subscribe, unsubscribe};
pub(crate) use crate::wit::host::{log, whoami};
pub(crate) use crate::wit::http::{head, header, headers};
pub(crate) use crate::wit::master::{options as option, post};
pub(crate) use crate::wit::messages::publish as publish_message;
pub(crate) use crate::wit::rpc::notify;
pub(crate) use crate::wit::sse::{close, close_all, count as stream_count, publish, publish_all};
use crate::wit::types::{CallError, CallId, CallOptions, Emission, Entry, Group, Payload, Reply, Target};

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
