//! Stores of `wasi:keyvalue`.

use fanfare_sdk::prelude::*;
use serde::Deserialize;

use crate::wasi::wasi::keyvalue::{atomics, store};

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
    Set { key: String, value: String },
    Delete { key: String },
    Increment { key: String, delta: u64 },
    Keys,
}

pub fn run(command: &Command) -> Result<Value, String> {
    let failed = |error: store::Error| format!("{error:?}");
    let bucket = store::open(&command.store).map_err(failed)?;
    Ok(match &command.action {
        Action::Get { key } => {
            bucket.get(key).map_err(failed)?.map(|value| String::from_utf8_lossy(&value).into_owned()).into()
        }
        Action::Set { key, value } => bucket.set(key, value.as_bytes()).map(|()| true).map_err(failed)?.into(),
        Action::Delete { key } => bucket.delete(key).map(|()| true).map_err(failed)?.into(),
        Action::Increment { key, delta } => atomics::increment(&bucket, key, *delta).map_err(failed)?.into(),
        Action::Keys => bucket.list_keys(None).map_err(failed)?.keys.into(),
    })
}
