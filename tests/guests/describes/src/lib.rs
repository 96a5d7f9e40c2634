//! `describe` returns the maximum number of handlers, each with a name of 20,000 bytes that is not
//! in the manifest.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package test:describes;
        world describes {
            export fanfare:module/handler-sync@0.1.0;
            export fanfare:module/describe@0.1.0;
        }
    ",
    world: "test:describes/describes",
    generate_all,
});

use exports::fanfare::module::{describe, handler_sync};
use fanfare::module::types::{Call, Failure, Outcome, Payload, Reply};

struct Component;

impl handler_sync::Guest for Component {
    fn handle(_: Call) -> Result<Outcome, Failure> {
        Ok(Outcome::Reply(Reply { status: 0, headers: Vec::new(), payload: Payload::None, extra: Vec::new() }))
    }
}

impl describe::Guest for Component {
    fn handlers() -> Vec<String> {
        (0..2_048).map(|number| format!("{number}\u{1b}[31m{}", "x".repeat(20_000))).collect()
    }
}

export!(Component);
