//! Lifted as `async`, but blocks its instance for a while with a blocking import.

use common::{outcome, who};
use fanfare_sdk::prelude::*;

mod blocking {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package test:blocks; world blocks { import fanfare:module/rpc-blocking@0.1.0; import fanfare:module/master-blocking@0.1.0; }",
        world: "test:blocks/blocks",
        generate_all,
    });
}

use blocking::fanfare::module::types::{CallError, CallOptions, Payload as Sent, Target};
use blocking::fanfare::module::{master_blocking, rpc_blocking};

/// Calls `who` in any worker and blocks, then calls `who` in its own worker without blocking.
#[handler]
async fn twice(cx: Context) -> Json<Value> {
    let options = CallOptions { timeout_ms: None, subdomain: None, extra: Vec::new() };
    let blocked = match rpc_blocking::call(Some(cx.id()), &Target::Any, "/who", &Sent::None, &options) {
        Ok(reply) => match reply.payload {
            Sent::Text(text) => text,
            _ => "no text".to_owned(),
        },
        Err(CallError::WouldDeadlock(_)) => "would-deadlock".to_owned(),
        Err(error) => format!("{error:?}"),
    };
    let then = rpc::to(host::isolate().target()).call("/who", ()).await;
    Json(json!({"blocked": blocked, "then": outcome(then)}))
}

/// Sends the body to the master, and blocks until the reply arrives.
#[handler]
fn ask(body: Text, cx: Context) -> String {
    match master_blocking::send(Some(cx.id()), &Sent::Text(body.0), Some(5_000)) {
        Ok(Sent::Text(text)) => text,
        other => format!("{other:?}"),
    }
}

fanfare_sdk::module!(twice, who, ask);
