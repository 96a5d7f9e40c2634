//! Has hooks, which the tests declare in its manifest, and talks to the master.

use std::cell::RefCell;
use std::time::Duration;

use common::{outcome, release};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

thread_local! {
    static CALLS: RefCell<Vec<Value>> = RefCell::default();
}

/// The trigger, the origin, the isolate and the payload of a call.
fn facts(body: &Payload, cx: &Context) -> Value {
    let payload = match body {
        Payload::Text(text) => body.json().unwrap_or_else(|_| json!(text)),
        Payload::Bytes(bytes) => json!({ "bytes": bytes.len() }),
        Payload::None => Value::Null,
    };
    let hook = cx.hook().map(|hook| hook.name.clone());
    json!({
        "hook": hook, "origin": format!("{:?}", cx.origin()), "isolate": host::isolate(), "payload": payload,
        "subdomain": cx.subdomain(),
    })
}

/// Records a host event. `config.hook` says what happens then: `fails`, `traps`, `relays` the trap
/// to worker 0, `waits` for `release`, or `never` returns. With `config.only`, this happens to
/// events of that type only.
#[handler]
async fn hook(body: Payload, cx: Context) -> Result<()> {
    let facts = facts(&body, &cx);
    let matches = config::get::<String>("/only")?.is_none_or(|only| facts["payload"]["type"] == only);
    CALLS.with_borrow_mut(|calls| calls.push(facts));
    match config::get::<String>("/hook")?.as_deref().filter(|_| matches) {
        Some("fails") => Err(Failure::conflict("on-request", "this hook fails on request")),
        Some("traps") => panic!("this hook traps on request"),
        Some("relays") => {
            let trap = Json(json!({ "how": "trap" }));
            rpc::to(Target::Worker(0)).call("/message", trap).await?;
            Ok(())
        }
        Some("waits") => {
            common::gate().await;
            Ok(())
        }
        Some("never") => std::future::pending().await,
        _ => Ok(()),
    }
}

/// The calls of `hook` that this instance has recorded.
#[handler]
fn hooks() -> Json<Vec<Value>> {
    Json(CALLS.with_borrow(Clone::clone))
}

/// Replies to a message as its `how` says: `fail`, `trap`, `hold` (until `release`), `large` (2
/// MiB), or else with the facts of the call.
#[handler]
async fn message(body: Payload, cx: Context) -> Result<Json<Value>> {
    let facts = facts(&body, &cx);
    match facts["payload"]["how"].as_str() {
        Some("fail") => {
            let failure = Failure::new("no-tea", "There is no tea.").with_status(418);
            Err(failure.with_data(Json(json!({ "pots": 0 }))))
        }
        Some("trap") => panic!("this message traps on request"),
        Some("hold") => {
            common::gate().await;
            Ok(Json(facts))
        }
        Some("large") => Ok(Json(json!("x".repeat(2 << 20)))),
        _ => Ok(Json(facts)),
    }
}

/// Logs the reason of the end. `config.stop` says what happens then: `fails`, `traps` or `never`.
#[handler]
async fn stop(body: Text, cx: Context) -> Result<()> {
    let mark: String = config::get("/mark")?.unwrap_or_default();
    info!("{mark} stops in {} with {} as {:?}", host::isolate(), body.0, cx.origin());
    match config::get::<String>("/stop")?.as_deref() {
        Some("fails") => Err(Failure::conflict("on-request", "this hook fails on request")),
        Some("traps") => panic!("this hook traps on request"),
        Some("never") => std::future::pending().await,
        _ => Ok(()),
    }
}

/// The host's option at a JSON Pointer.
#[handler]
fn options(pointer: Text) -> Result<Json<Option<Value>>> {
    Ok(Json(master::options(&pointer.0)?))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    data: Value,
    timeout_ms: Option<u64>,
}

/// Sends `data` to the master, and returns the outcome.
#[handler]
async fn send(message: Json<Message>) -> Json<Value> {
    let Json(Message { data, timeout_ms }) = message;
    let message = master::message(Json(data));
    let message = match timeout_ms {
        Some(timeout) => message.timeout(Duration::from_millis(timeout)),
        None => message,
    };
    Json(outcome(message.send().await.map(|payload| Reply { status: 0, headers: vec![], payload, extra: vec![] })))
}

/// Posts the body to the master.
#[handler]
fn post(body: Payload) -> Json<Value> {
    let posted = master::post(body);
    Json(outcome(posted.map(|()| Reply { status: 0, headers: vec![], payload: Payload::None, extra: vec![] })))
}

fanfare_sdk::module!(hook, hooks, release, message, stop, options, send, post);
