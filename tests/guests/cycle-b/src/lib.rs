//! Calls `cycle-a`, which calls back, as often as the body says.

use common::{ok, outcome};
use fanfare_sdk::prelude::*;

/// Makes a chain of `depth` calls. Returns where this call ran and the outcome of the next one.
#[handler]
async fn go(depth: Json<u32>) -> Json<Value> {
    let here = format!("cycle-b {}", host::isolate());
    if *depth == 0 {
        return Json(json!({"here": here}));
    }
    let next = rpc::call("cycle-a/go", Json(*depth - 1)).await;
    Json(json!({"here": here, "next": match next {
        Ok(reply) => reply.json().unwrap_or_default(),
        Err(error) => outcome(Err(error)),
    }}))
}

fanfare_sdk::module!(go, ok);
