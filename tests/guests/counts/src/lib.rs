//! Writes down every broadcast that runs in its worker, and misbehaves in one when told to.

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

/// The inner route of the broadcast `append`.
#[handler]
fn append(body: Payload, cx: Context) -> Result<()> {
    let broadcast = cx.broadcast().ok_or("this is no broadcast")?;
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

/// Emits, then waits for a call: how many broadcasts had run here before, right after and after the wait.
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

/// The inner route of the broadcast `misbehave`.
#[handler]
async fn misbehave(how: Json<Misbehave>) -> Result<&'static str> {
    if host::isolate() != Isolate::Worker(how.worker) {
        return Ok("fine");
    }
    match how.how.as_str() {
        "trap" => panic!("as told"),
        "spin" => loop {
            std::hint::black_box(());
        },
        "never" => std::future::pending().await,
        _ => Err(Failure::conflict("as-told", "it fails as told")),
    }
}

fanfare_sdk::module!(emit, look, append, list, misbehave);
