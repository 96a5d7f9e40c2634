//! Calls itself a number of levels deep, by call, gather or emit.

use std::cell::Cell;

use common::outcome;
use fanfare_sdk::prelude::*;

thread_local! {
    /// The number of broadcasts `sink` that ran in this worker.
    static SUNK: Cell<u64> = const { Cell::new(0) };
}

/// Calls itself `levels` deep. Returns the number of levels it reached, and the error that stopped
/// it.
#[handler]
async fn dive(levels: Json<u32>) -> Json<Value> {
    if *levels == 0 {
        return Json(json!({"reached": 0, "end": null}));
    }
    let next = rpc::call("/dive", Json(*levels - 1)).await;
    let below = next.as_ref().ok().and_then(|reply| reply.json::<Value>().ok());
    Json(match below.and_then(|below| Some((below["reached"].as_u64()?, below["end"].clone()))) {
        Some((reached, end)) => json!({"reached": reached + 1, "end": end}),
        None => json!({"reached": 0, "end": outcome(next)}),
    })
}

/// The inner route of the broadcast `sink`: emits it again until `levels` is 0.
#[handler]
fn sink(levels: Json<u32>) -> Result<()> {
    SUNK.set(SUNK.get() + 1);
    if *levels > 0 {
        broadcast::emit("sink", Json(*levels - 1))?;
    }
    Ok(())
}

#[handler]
fn sunk() -> Json<u64> {
    Json(SUNK.get())
}

/// The inner route of the broadcast `gathering`: gathers it again until `levels` is 0.
#[handler]
async fn gathering(levels: Json<u32>) -> Result<Json<Value>> {
    if *levels == 0 {
        return Ok(Json(json!("done")));
    }
    let entries = broadcast::gather("gathering", Json(*levels - 1)).await?;
    Ok(Json(entries.into_iter().map(|entry| outcome(entry.outcome)).collect()))
}

fanfare_sdk::module!(dive, sink, sunk, gathering);
