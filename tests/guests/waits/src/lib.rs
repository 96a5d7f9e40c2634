//! Waits in every way there is: for another call, for a route elsewhere, for all workers, in WASI.

use std::cell::RefCell;

use common::{block, emit, every, gather, hold, holding, nested, notify, ok, release, who};
use fanfare_sdk::prelude::*;

thread_local! {
    static HEARD: RefCell<Vec<String>> = RefCell::default();
}

/// The inner route of the broadcast `wave`: remembers the body and answers where it was heard.
#[handler]
fn hear(body: Text, cx: Context) -> Json<Value> {
    HEARD.with_borrow_mut(|heard| heard.push(body.0));
    let same = cx.broadcast().is_some_and(|broadcast| broadcast.same_as_caller);
    Json(json!({"isolate": host::isolate(), "sameAsCaller": same, "subdomain": cx.subdomain()}))
}

#[handler]
fn heard() -> Json<Vec<String>> {
    Json(HEARD.with_borrow(Clone::clone))
}

/// Waits so many milliseconds, the instance free meanwhile: for a call to itself that answers by timeout only.
#[handler]
async fn slow(ms: Json<u64>) -> Result<&'static str> {
    let wait = std::time::Duration::from_millis(*ms);
    match rpc::to(host::isolate().target()).timeout(wait).call("/hold", ()).await {
        Err(CallError::Timeout) | Ok(_) => Ok("ok"),
        Err(error) => Err(error.into()),
    }
}

/// Sends the body on to `echo`, and answers what comes back.
#[handler]
async fn relay(body: Payload) -> Result<Payload> {
    Ok(rpc::call("echo/echo", body).await?.payload)
}

/// Logs before and after a wait: both lines belong to this call.
#[handler]
async fn log_around(body: Text) -> &'static str {
    info!("before {}", *body);
    let _ = rpc::call("/ok", ()).await;
    info!("after {}", *body);
    "ok"
}

fanfare_sdk::module!(
    hold, release, holding, who, ok, block, nested, every, notify, emit, gather, hear, heard, slow, relay, log_around
);
