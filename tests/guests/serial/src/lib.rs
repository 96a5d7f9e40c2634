//! Runs one call at a time (`"concurrency": 1`): calls itself, gathers its own broadcast, holds
//! calls.

use common::{block, emit, every, gather, hold, nested, notify, ok, release, who};
use fanfare_sdk::prelude::*;

/// The inner route of the broadcast `wave`.
#[handler]
fn hear(cx: Context) -> Json<Value> {
    let same = cx.broadcast().is_some_and(|broadcast| broadcast.same_as_caller);
    Json(json!({"isolate": host::isolate(), "sameAsCaller": same}))
}

fanfare_sdk::module!(hold, release, who, ok, block, nested, every, notify, emit, gather, hear);
