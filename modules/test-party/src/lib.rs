//! One broadcast, and a record of what every worker saw of it.

use std::cell::RefCell;

use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Entry;

/// The broadcasts that this worker has seen.
#[derive(Default)]
struct Party {
    /// The number of broadcasts that ran in this worker.
    seen: u64,
    /// The number of those that a handler in this worker emitted.
    own: u64,
    /// The body of the last broadcast.
    last: Value,
}

thread_local! {
    static PARTY: RefCell<Party> = RefCell::default();
}

/// `POST test/feat/emit`: broadcasts the body and returns the receipt without waiting.
#[handler]
fn emit(body: Payload) -> Result<Json<Value>> {
    let receipt = broadcast::emit("broadcastTest", body)?;
    let skipped: Vec<Isolate> = receipt.skipped.iter().map(|skipped| skipped.isolate).collect();
    Ok(Json(json!({"id": receipt.id, "seq": receipt.seq, "accepted": receipt.accepted, "skipped": skipped})))
}

/// `POST test/feat/gather`: broadcasts the body and returns the answer of every worker.
#[handler]
async fn gather(body: Payload) -> Result<Json<Vec<Value>>> {
    let entries = broadcast::gather("broadcastTest", body).await?;
    Ok(Json(entries.into_iter().map(describe).collect()))
}

fn describe(entry: Entry) -> Value {
    match entry.outcome {
        Ok(reply) => json!({"isolate": entry.isolate, "reply": reply.json::<Value>().unwrap_or_default()}),
        Err(error) => json!({"isolate": entry.isolate, "error": error.kind(), "message": error.to_string()}),
    }
}

/// The inner route `test/feat/broadcast`, which runs in every worker for each broadcast.
#[handler(name = "broadcast")]
fn on_broadcast(body: Payload, cx: Context) -> Json<Value> {
    let same_as_caller = cx.broadcast().is_some_and(|broadcast| broadcast.same_as_caller);
    PARTY.with_borrow_mut(|party| {
        party.seen += 1;
        party.own += u64::from(same_as_caller);
        party.last = body.json().unwrap_or_else(|_| body.as_text().map_or(Value::Null, Value::from));
    });
    Json(json!({"isolate": host::isolate(), "sameAsCaller": same_as_caller}))
}

/// `GET test/feat/seen`: returns what the worker that answers has seen.
#[handler]
fn seen() -> Json<Value> {
    let isolate = host::isolate();
    PARTY.with_borrow(|party| {
        Json(json!({"isolate": isolate, "seen": party.seen, "own": party.own, "last": party.last}))
    })
}

/// `POST test/feat/reload`: requests a reload of this module and returns the receipt without
/// waiting.
#[handler]
fn reload() -> Result<Json<Value>> {
    let receipt = broadcast::reload("test-party")?;
    Ok(Json(json!({"id": receipt.id, "seq": receipt.seq, "accepted": receipt.accepted})))
}

fanfare_sdk::module!(emit, gather, on_broadcast, seen, reload);

#[cfg(test)]
mod tests;
