//! Stores of `wasi:keyvalue`.

use fanfare_sdk::prelude::*;
use serde::Deserialize;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Command {
    store: String,
    #[serde(flatten)]
    action: Action,
}

#[derive(Deserialize)]
#[serde(tag = "do", rename_all = "camelCase")]
pub enum Action {
    Get { key: String },
}

pub fn run(command: &Command) -> Result<Value, String> {
    let Action::Get { key } = &command.action;
    Err(format!("no store {} for {key}", command.store))
}
