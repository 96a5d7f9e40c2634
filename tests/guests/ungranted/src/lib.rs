//! Imports every interface and asks for no capability, so it cannot reach other modules.

use common::events::{emit_event, publish_message, subscribe, unsubscribe};
use common::streams::{close, close_all, count, publish, publish_all};
use common::{emit, every, gather, nested, notify};
use fanfare_sdk::prelude::*;

/// Uses the imports that need no grant.
#[handler]
fn own(cx: Context) -> Result<Json<Value>> {
    info!("my own log");
    let config: Value = config::all()?;
    let module = host::whoami().module;
    Ok(Json(json!({"module": module, "config": config, "headers": cx.headers().len(), "head": cx.head().is_some()})))
}

/// Requests a reload of one module, or of all modules.
#[handler]
fn reload(module: Json<Option<String>>) -> Result<Json<u64>> {
    let receipt = match &*module {
        Some(module) => broadcast::reload(module)?,
        None => broadcast::reload_all()?,
    };
    Ok(Json(receipt.seq))
}

fanfare_sdk::module!(
    reload,
    own,
    nested,
    every,
    notify,
    emit,
    gather,
    publish,
    publish_all,
    close,
    close_all,
    count,
    emit_event,
    publish_message,
    subscribe,
    unsubscribe,
);
