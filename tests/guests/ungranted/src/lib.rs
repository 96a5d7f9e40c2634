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

/// Publishes to the channel in the body, and waits.
#[handler]
async fn publish_to_channel(channel: Text) -> Result<()> {
    channels::publish_and_wait(&channel, "hello").await?;
    Ok(())
}

fanfare_sdk::module!(
    publish_to_channel,
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
