//! Publishes to live streams in every way, and admits readers or not.

use std::cell::RefCell;

use common::streams::{Spec, close, close_all, count, publish, publish_all};
use common::{hold, holding, release, who};
use fanfare_sdk::prelude::*;
use fanfare_sdk::sse::StreamRequest;

thread_local! {
    static ASKED: RefCell<Vec<Value>> = RefCell::default();
}

#[derive(Deserialize)]
struct Burst {
    key: String,
    count: u64,
    /// The number of the first event.
    #[serde(default)]
    from: u64,
    /// The size of the data in bytes, beyond its number.
    #[serde(default)]
    size: usize,
}

/// Publishes a number of events in a row: data `<number>` and padding. Returns the clients that the
/// last one reached.
#[handler]
fn burst(burst: Json<Burst>) -> Result<Json<u32>> {
    let padding = "x".repeat(burst.size);
    let mut reached = 0;
    for number in burst.from..burst.from + burst.count {
        reached = sse::publish(&burst.key, format!("{number}{padding}"))?;
    }
    Ok(Json(reached))
}

/// Emits a broadcast whose route publishes in every worker.
#[handler]
async fn broadcast_publish(spec: Json<Spec>) -> Result<Json<u32>> {
    let mut reached = 0;
    for entry in broadcast::gather("published", spec).await? {
        reached += entry.outcome?.json::<u32>()?;
    }
    Ok(Json(reached))
}

/// The route of the broadcast: publishes, usually to its own worker.
#[handler]
fn published(spec: Json<Spec>) -> Result<Json<u32>> {
    Ok(Json(spec.clients().publish(&spec.key, spec.event())?))
}

/// Calls `publish` of this module by its inner name.
#[handler]
async fn rpc_publish(spec: Json<Spec>) -> Result<Payload> {
    Ok(rpc::call("/publish", spec).await?.payload)
}

/// Admits a reader, or not, as the last part of the key says.
#[handler]
async fn may_listen(stream: StreamRequest, cx: Context) -> Result<Outcome> {
    let asked = json!({
        "key": stream.key, "lastEventId": stream.last_event_id, "user": cx.header("x-user"), "query": cx.query(),
        "path": cx.head().map(|head| head.path), "origin": format!("{:?}", cx.origin()),
        "isolate": host::isolate(), "subdomain": cx.subdomain(),
    });
    ASKED.with_borrow_mut(|list| list.push(asked));
    match stream.key.rsplit('/').next().unwrap_or_default() {
        "refuse" => Err(Failure::new("no-user", "log in first").with_status(401)),
        "redirect" => Ok(Outcome::Reply(Reply::empty().with_status(302).with_header("location", "/login"))),
        "reply" => Ok(Outcome::Reply(Reply::new("welcome")?)),
        "none" => Ok(Outcome::Reply(Reply::empty().with_status(204))),
        "trap" => panic!("trapped while it admitted a reader"),
        "wait" => {
            common::gate().await;
            Ok(Outcome::pass())
        }
        _ => Ok(Outcome::pass()),
    }
}

/// Returns the requests of readers that this instance has seen.
#[handler]
fn asked() -> Json<Vec<Value>> {
    Json(ASKED.with_borrow(Clone::clone))
}

/// The route of schedules: publishes its payload, or the number of the run.
#[handler]
fn tick(body: Payload, cx: Context) -> Result<Json<u32>> {
    let key = config::get("/tick").ok().flatten().unwrap_or_else(|| "streams/tick".to_owned());
    let data = match cx.schedule() {
        Some(schedule) if body.is_none() => Payload::Text(schedule.due_ms.to_string()),
        _ => body,
    };
    Ok(Json(sse::publish(&key, data)?))
}

#[handler]
fn trap() {
    panic!("trapped as asked");
}

fanfare_sdk::module!(
    publish,
    publish_all,
    close,
    close_all,
    count,
    burst,
    broadcast_publish,
    published,
    rpc_publish,
    may_listen,
    asked,
    tick,
    hold,
    release,
    holding,
    who,
    trap
);
