//! Stores of `wasi:keyvalue`.

use fanfare_sdk::prelude::*;
use serde::Deserialize;

use crate::wasi::wasi::keyvalue::{atomics, batch, store};

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
    Get {
        key: String,
    },
    Set {
        key: String,
        value: String,
    },
    Delete {
        key: String,
    },
    Increment {
        key: String,
        delta: u64,
    },
    Exists {
        key: String,
    },
    Keys {
        after: Option<u64>,
    },
    /// The sizes of values.
    GetMany {
        keys: Vec<String>,
    },
    /// The values are repeated so often.
    SetMany {
        entries: Vec<(String, String)>,
        times: usize,
    },
    DeleteMany {
        keys: Vec<String>,
    },
    /// Sets a value of this many bytes.
    Fill {
        key: String,
        bytes: usize,
    },
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
        Action::Exists { key } => bucket.exists(key).map_err(failed)?.into(),
        Action::Keys { after } => {
            let page = bucket.list_keys(*after).map_err(failed)?;
            json!({ "keys": page.keys, "next": page.cursor })
        }
        Action::GetMany { keys } => {
            let found = batch::get_many(&bucket, keys).map_err(failed)?;
            let sizes = found.into_iter().map(|entry| entry.map(|(key, value)| (key, value.len())));
            json!(sizes.collect::<Vec<_>>())
        }
        Action::SetMany { entries, times } => {
            let entries: Vec<(String, Vec<u8>)> =
                entries.iter().map(|(key, value)| (key.clone(), value.repeat(*times).into_bytes())).collect();
            batch::set_many(&bucket, &entries).map(|()| true).map_err(failed)?.into()
        }
        Action::DeleteMany { keys } => batch::delete_many(&bucket, keys).map(|()| true).map_err(failed)?.into(),
        Action::Fill { key, bytes } => bucket.set(key, &vec![b'x'; *bytes]).map(|()| true).map_err(failed)?.into(),
    })
}
