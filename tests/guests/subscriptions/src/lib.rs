//! Receives messages of subscriptions, which the tests declare in its manifest, and emits events.

use std::cell::RefCell;

use common::events::{emit_event, publish_message, subscribe, unsubscribe};
use common::{gate, holding, release, who};
use fanfare_sdk::prelude::*;

thread_local! {
    static GOT: RefCell<Vec<Value>> = RefCell::default();
}

/// Records a message: the fields of the trigger, and the body as `text`, or as `bytes` if it is not
/// UTF-8.
fn record(handler: &str, from: &Subscription, body: &Payload, cx: &Context) -> Result<()> {
    let mut facts = json!({
        "handler": handler, "name": from.name, "source": from.source, "topic": from.topic, "id": from.id,
        "isolate": host::isolate(), "kind": cx.trigger().kind(), "origin": format!("{:?}", cx.origin()),
        "version": config::get::<u32>("/version")?,
    });
    match body.as_text() {
        Some(text) => facts["text"] = text.into(),
        None => facts["bytes"] = body.as_bytes().into(),
    }
    GOT.with_borrow_mut(|got| got.push(facts));
    Ok(())
}

#[handler]
fn on(from: Subscription, body: Payload, cx: Context) -> Result<()> {
    record("on", &from, &body, &cx)
}

#[handler]
fn other(from: Subscription, body: Payload, cx: Context) -> Result<()> {
    record("other", &from, &body, &cx)
}

/// Records a message, then waits until `release` runs in this worker.
#[handler]
async fn waits(from: Subscription, body: Payload, cx: Context) -> Result<()> {
    record("waits", &from, &body, &cx)?;
    gate().await;
    Ok(())
}

/// Records a message, then fails, except when the body is `"ok"`.
#[handler]
fn fails(from: Subscription, body: Payload, cx: Context) -> Result<()> {
    record("fails", &from, &body, &cx)?;
    match body.as_text() {
        Some("ok" | "\"ok\"") => Ok(()),
        _ => Err(Failure::conflict("on-request", "this message fails on request")),
    }
}

/// Traps, except when the body is `"ok"`, which it records.
#[handler]
fn traps(from: Subscription, body: Payload, cx: Context) -> Result<()> {
    match body.as_text() {
        Some("ok" | "\"ok\"") => record("traps", &from, &body, &cx),
        _ => panic!("this message traps on request"),
    }
}

/// The messages that this instance, and those before it in swaps, have recorded, in order.
#[handler]
fn got() -> Json<Vec<Value>> {
    Json(GOT.with_borrow(Clone::clone))
}

/// Removes what this instance has recorded, and returns its number.
#[handler]
fn forget() -> Json<usize> {
    Json(GOT.take().len())
}

/// Traps.
#[handler]
fn crash() -> Result<()> {
    panic!("this call traps on request")
}

#[derive(Serialize, Deserialize)]
struct Saved {
    got: Vec<Value>,
}

impl State for Saved {
    async fn save() -> Self {
        Saved { got: GOT.with_borrow(Clone::clone) }
    }

    async fn load(self, _from: &str) -> Result<()> {
        GOT.with_borrow_mut(|got| got.splice(0..0, self.got).for_each(drop));
        Ok(())
    }
}

fanfare_sdk::module! {
    handlers: [
        on, other, waits, fails, traps, got, forget, release, holding, who, crash, emit_event, publish_message,
        subscribe, unsubscribe,
    ],
    snapshot: Saved,
}
