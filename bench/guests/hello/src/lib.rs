//! The smallest guest, on raw bindings: what a call costs without an SDK.

use std::cell::Cell;

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package bench:hello;
        world hello {
            export fanfare:module/handler@0.1.0;
        }
    ",
    generate_all,
});

use exports::fanfare::module::handler::Guest;
use fanfare::module::types::{Call, Failure, Outcome, Payload, Reply};

thread_local! {
    static BROADCASTS: Cell<u64> = const { Cell::new(0) };
}

struct Hello;

impl Guest for Hello {
    async fn handle(call: Call) -> Result<Outcome, Failure> {
        match call.handler.as_str() {
            "hello" => Ok(reply(Payload::Text("hello".into()))),
            "broadcast" => {
                BROADCASTS.set(BROADCASTS.get() + 1);
                Ok(reply(Payload::None))
            }
            "count" => Ok(reply(Payload::Text(BROADCASTS.get().to_string()))),
            other => Err(Failure {
                name: "no-such-handler".into(),
                message: format!("there is no handler `{other}`"),
                status: 500,
                data: Payload::None,
                extra: Vec::new(),
            }),
        }
    }
}

fn reply(payload: Payload) -> Outcome {
    Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload, extra: Vec::new() })
}

export!(Hello);
