//! Waits in every way that a guest can: for another call, for a route, for all workers, and in
//! WASI.

use std::cell::RefCell;

use common::{block, emit, every, gather, hold, holding, nested, notify, ok, release, who};
use fanfare_sdk::prelude::*;

thread_local! {
    static HEARD: RefCell<Vec<String>> = RefCell::default();
}

/// The inner route of the broadcast `wave`: records the body and returns where it ran.
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

/// Waits `ms` milliseconds for a call to itself that ends with a timeout. The instance stays free
/// meanwhile.
#[handler]
async fn slow(ms: Json<u64>) -> Result<&'static str> {
    let wait = std::time::Duration::from_millis(*ms);
    match rpc::to(host::isolate().target()).timeout(wait).call("/hold", ()).await {
        Err(CallError::Timeout) | Ok(_) => Ok("ok"),
        Err(error) => Err(error.into()),
    }
}

/// Sends the body to `echo` and returns the reply.
#[handler]
async fn relay(body: Payload) -> Result<Payload> {
    Ok(rpc::call("echo/echo", body).await?.payload)
}

/// Logs before and after a wait. Both lines belong to this call.
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
