//! `describe` returns one handler more than the host accepts.

wit_bindgen::generate!({
    path: "../../../wit",
    inline: "
        package test:describes-more;
        world describes-more {
            export fanfare:module/handler-sync@0.1.0;
            export fanfare:module/describe@0.1.0;
        }
    ",
    world: "test:describes-more/describes-more",
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
        (0..2_049).map(|number| number.to_string()).collect()
    }
}

export!(Component);
