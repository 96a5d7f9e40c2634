//! The ways of use in `docs/sse.md`. The page shows the parts between the marks `// [name]` and
//! `// [end]`; the test `streams::ways` compares them.

use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::{Event, Reach, StreamRequest};

// [schedule-all]
/// Runs in every worker, and publishes to the readers of that worker.
#[handler]
fn every_worker() -> Result<()> {
    let event = Event::new(json!({ "aa": 11 })).with_event("data");
    sse::to(Reach::ThisWorker).publish_all(event)?;
    Ok(())
}
// [end]

// [schedule-worker]
/// Runs in one worker, and publishes to all readers.
#[handler]
fn any_worker() -> Result<()> {
    sse::publish_all(Event::new(json!({ "aa": 11 })).with_event("data"))?;
    Ok(())
}
// [end]

// [messenger]
/// `POST /api/ways/message`: sends the body to every worker.
#[handler]
fn send_message(message: Text) -> Result<()> {
    broadcast::emit("message", message)?;
    Ok(())
}

/// The route of the broadcast `message`, which runs in every worker.
#[handler]
fn on_message(message: Text) -> Result<()> {
    sse::to(Reach::ThisWorker).publish_all(Event::new(message).with_event("data"))?;
    Ok(())
}
// [end]

// [http]
/// `POST /api/ways/news/{topic}`: publishes the body, and returns the number of readers.
#[handler]
fn publish_news(topic: Path<String>, text: Text) -> Result<String> {
    let readers = sse::publish(&format!("ways/{}", *topic), Event::new(text).with_event("news"))?;
    Ok(readers.to_string())
}
// [end]

// [rpc]
/// The inner route `inner/orders`, which other modules call.
#[handler]
fn order_changed(order: Json<Value>) -> Result<()> {
    let key = format!("ways/orders/{}", order["id"]);
    sse::publish(&key, Event::new(order).with_event("order"))?;
    Ok(())
}
// [end]

/// Calls `order_changed` as another module does.
#[handler]
async fn change(order: Json<Value>) -> Result<()> {
    rpc::call("ways/inner/orders", order).await?;
    Ok(())
}

// [admit]
/// The route of `streams`: admits a reader whose token names the key.
#[handler]
fn admit(stream: StreamRequest, cx: Context) -> Result<Pass> {
    match cx.query_pairs().iter().find(|(name, _)| name == "token") {
        Some((_, token)) if stream.key == format!("ways/members/{token}") => Ok(Pass),
        _ => Err(Failure::forbidden("no-member", "log in first")),
    }
}
// [end]

/// `GET ""`
#[handler]
fn root() -> &'static str {
    "a page"
}

/// `GET status/{status}`: returns an empty reply with this status.
#[handler]
fn status(status: Path<u16>) -> (u16, ()) {
    (*status, ())
}

/// Traps.
#[handler]
fn crash() {
    panic!("a panic for the test");
}

fanfare_sdk::module!(
    every_worker,
    any_worker,
    send_message,
    on_message,
    publish_news,
    order_changed,
    change,
    admit,
    root,
    status,
    crash
);
