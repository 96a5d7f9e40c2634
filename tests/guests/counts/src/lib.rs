//! Records every broadcast that runs in its worker, and misbehaves in one worker on request.

use std::cell::RefCell;

use fanfare_sdk::prelude::*;

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Heard {
    payload: Option<String>,
    id: u64,
    seq: u64,
    same_as_caller: bool,
    subdomain: Option<String>,
}

thread_local! {
    static HEARD: RefCell<Vec<Heard>> = RefCell::default();
}

#[handler]
fn emit(body: Payload) -> Result<Json<u64>> {
    Ok(Json(broadcast::emit("append", body)?.seq))
}

/// The inner route of the broadcast `append`: records it.
#[handler]
fn append(body: Payload, cx: Context) -> Result<()> {
    let broadcast = cx.broadcast().ok_or("the trigger is not a broadcast")?;
    let heard = Heard {
        payload: body.as_text().map(str::to_owned),
        id: broadcast.id,
        seq: broadcast.seq,
        same_as_caller: broadcast.same_as_caller,
        subdomain: cx.subdomain().map(str::to_owned),
    };
    HEARD.with_borrow_mut(|all| all.push(heard));
    Ok(())
}

/// Emits a broadcast, then waits for a call. Returns how many broadcasts had run in this worker
/// before the emit, right after it, and after the wait.
#[handler]
async fn look(body: Payload) -> Result<Json<Value>> {
    let heard = || HEARD.with_borrow(Vec::len);
    let before = heard();
    broadcast::emit("append", body)?;
    let emitted = heard();
    let _ = rpc::call("/list", ()).await;
    Ok(Json(json!({"before": before, "emitted": emitted, "waited": heard()})))
}

#[handler]
fn list() -> Json<Value> {
    HEARD.with_borrow(|heard| Json(json!({"isolate": host::isolate(), "heard": heard})))
}

#[derive(Deserialize)]
struct Misbehave {
    worker: u32,
    /// `fail`, `trap`, `spin` or `never`.
    how: String,
}

/// The inner route of the broadcast `misbehave`: misbehaves in one worker.
#[handler]
async fn misbehave(how: Json<Misbehave>) -> Result<&'static str> {
    if host::isolate() != Isolate::Worker(how.worker) {
        return Ok("fine");
    }
    match how.how.as_str() {
        "trap" => panic!("this handler traps on request"),
        "spin" => loop {
            std::hint::black_box(());
        },
        "never" => std::future::pending().await,
        _ => Err(Failure::conflict("on-request", "this handler fails on request")),
    }
}

fanfare_sdk::module!(emit, look, append, list, misbehave);
