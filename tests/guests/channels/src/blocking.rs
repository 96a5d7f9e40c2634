//! The functions of `channels-blocking`, each of which blocks the instance.

use fanfare_sdk::caller;
use fanfare_sdk::prelude::*;
use fanfare_sdk::wit::types::CallError;

use crate::{Use, member, page, place};

mod generated {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package test:channels; world blocking { import fanfare:module/channels-blocking@0.1.0; }",
        world: "test:channels/blocking",
        with: { "fanfare:module/types@0.1.0": fanfare_sdk::wit::types },
        generate_all,
    });
}

use generated::fanfare::module::channels_blocking as raw;

pub fn run(what: Use) -> Result<Value, CallError> {
    let call = caller();
    Ok(match what {
        Use::PublishAndWait { channel, payload } => place(raw::publish(call, &channel, &crate::payload(payload))?),
        Use::History { channel, after, most } => {
            page(raw::history(call, &channel, after.map(fanfare_sdk::channels::Position::from).as_ref(), most)?)
        }
        Use::Members { channel } => raw::members(call, &channel)?.into_iter().map(member).collect(),
        _ => json!("not a function of channels-blocking"),
    })
}
