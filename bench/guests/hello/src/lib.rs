//! The smallest guest, on raw bindings: measures the cost of a call without an SDK.

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

// Replaces `export!`, which leaks the parameters of a call: see `wit::handler` in the SDK.
const CALL: std::alloc::Layout = match std::alloc::Layout::from_size_align(152, 8) {
    Ok(layout) => layout,
    Err(_) => panic!(),
};

#[unsafe(export_name = "[async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn handle(call: *mut u8) -> i32 {
    unsafe {
        let code = exports::fanfare::module::handler::_export_handle_cabi::<Hello>(call);
        std::alloc::dealloc(call, CALL);
        code
    }
}

#[unsafe(export_name = "[callback][async-lift]fanfare:module/handler@0.1.0#handle")]
unsafe extern "C" fn resume(event: u32, first: u32, second: u32) -> u32 {
    unsafe { exports::fanfare::module::handler::__callback_handle(event, first, second) }
}
