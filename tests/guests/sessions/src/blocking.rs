//! The functions of `sessions-blocking`, each of which blocks the instance.

use fanfare_sdk::caller;
use fanfare_sdk::prelude::*;
use fanfare_sdk::sessions::Recipient;
use fanfare_sdk::wit::types::CallError;

use crate::{Use, pushed, record};

mod generated {
    wit_bindgen::generate!({
        path: "../../../wit",
        inline: "package test:sessions; world blocking { import fanfare:module/sessions-blocking@0.1.0; }",
        world: "test:sessions/blocking",
        with: { "fanfare:module/types@0.1.0": fanfare_sdk::wit::types },
        generate_all,
    });
}

use generated::fanfare::module::sessions_blocking as raw;

pub fn run(what: Use) -> Result<Value, CallError> {
    let call = caller();
    Ok(match what {
        Use::Push { to, name, payload } => {
            let to: Vec<Recipient> = to.into_iter().map(Into::into).collect();
            pushed(raw::push(call, &to, &name, &payload.into())?)
        }
        Use::Ask { session, name, payload, timeout_ms } => {
            let answer = raw::ask(call, &session, &name, &payload.into(), timeout_ms)?;
            json!({ "answer": answer.as_text() })
        }
        Use::Apply => json!(raw::apply(call.unwrap_or_default())?),
        Use::Read { session } => {
            let (session, values) = raw::read(call, &session)?;
            json!({ "session": record(session), "values": values })
        }
        Use::Write { session, set, remove } => json!(raw::write(call, &session, &set, &remove)?),
        Use::FindAll { uid } => raw::find(call, &uid)?.into_iter().map(record).collect(),
        _ => json!("not a function of sessions-blocking"),
    })
}
