//! The bucket of the cluster: small values in JetStream that outlive a node. Nodes change them by
//! compare-and-set.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Operation, Store, UpdateErrorKind};
use async_nats::jetstream::stream::{Config, DiscardPolicy, StorageType};
use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::jetstream::{JetStream, came_late};
use super::link::Link;
use crate::call::CallError;

/// How often a node tries to change a value that others change at the same time.
const ATTEMPTS: u32 = 64;

/// The pause before the next attempt while another node's change is being written.
const PAUSE: Duration = Duration::from_millis(5);

/// The bucket.
pub(super) struct Bucket {
    name: String,
    link: Arc<Link>,
    /// `None` until it was opened, and after a failure.
    store: Mutex<Option<Store>>,
}

/// Whether a value was changed, and so has to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edit {
    Write,
    Keep,
}

impl Edit {
    pub(super) fn or(self, other: Edit) -> Edit {
        if self == Edit::Write { self } else { other }
    }
}

impl Bucket {
    pub(super) fn new(name: &str, link: Arc<Link>) -> Bucket {
        Bucket { name: name.to_owned(), link, store: Mutex::default() }
    }

    /// Changes a value. Where a key has no value yet, `edit` gets the default. It may run several
    /// times. If this fails, the value may have been written.
    pub(super) async fn change<T: Default + Serialize + DeserializeOwned, R>(
        &self,
        key: &str,
        edit: impl FnMut(&mut T) -> (Edit, R),
    ) -> Result<R, CallError> {
        let lost = self.link.lost();
        let changed = tokio::select! {
            biased;
            changed = self.try_change(key, edit) => changed,
            () = lost.cancelled() => Err("the connection to NATS was lost".to_owned()),
        };
        changed.map_err(|error| {
            self.link.counts.bucket_failed.inc();
            *self.store.lock() = None;
            CallError::Unavailable(format!("JetStream bucket {}: {error}", self.name))
        })
    }

    async fn try_change<T: Default + Serialize + DeserializeOwned, R>(
        &self,
        key: &str,
        mut edit: impl FnMut(&mut T) -> (Edit, R),
    ) -> Result<R, String> {
        let store = self.open().await?;
        for _ in 0..ATTEMPTS {
            let entry = store.entry(key).await.map_err(|error| error.to_string())?;
            let revision = entry.as_ref().map_or(0, |entry| entry.revision);
            let mut value = match entry.filter(|entry| entry.operation == Operation::Put) {
                Some(entry) => serde_json::from_slice(&entry.value)
                    .map_err(|error| format!("the value of {key} cannot be read: {error}"))?,
                None => T::default(),
            };
            let (edited, result) = edit(&mut value);
            if edited == Edit::Keep {
                return Ok(result);
            }
            let bytes = serde_json::to_vec(&value).map_err(|error| error.to_string())?;
            match store.update(key, bytes.into(), revision).await {
                Ok(_) => return Ok(result),
                Err(error) if error.kind() == UpdateErrorKind::WrongLastRevision => {}
                // That of another node is not written yet.
                Err(error) if came_late(&error) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.to_string()),
            }
        }
        Err(format!("other nodes changed {key} {ATTEMPTS} times meanwhile"))
    }

    /// The name of its stream, once it was opened.
    pub(super) fn stream(&self) -> Option<String> {
        self.store.lock().as_ref().map(|_| stream_name(&self.name))
    }

    async fn open(&self) -> Result<Store, String> {
        if let Some(store) = self.store.lock().clone() {
            return Ok(store);
        }
        let jetstream = JetStream::by(&self.link)?;
        let name = &self.name;
        let store = match jetstream.context.get_key_value(name).await {
            Ok(store) => store,
            Err(_) => {
                jetstream.make(|copies| stream_of(name, copies)).await?;
                jetstream.context.get_key_value(name).await.map_err(|error| error.to_string())?
            }
        };
        *self.store.lock() = Some(store.clone());
        Ok(store)
    }
}

fn stream_name(bucket: &str) -> String {
    format!("KV_{bucket}")
}

/// The stream of a bucket. `create_key_value` of the client asks for facts about the account that a
/// server of version 2.9 does not have, and for the permission to read them.
fn stream_of(bucket: &str, copies: usize) -> Config {
    Config {
        name: stream_name(bucket),
        description: Some("What the nodes of a Fanfare cluster agree on".to_owned()),
        subjects: vec![format!("$KV.{bucket}.>")],
        max_messages_per_subject: 1,
        max_messages: -1,
        max_bytes: -1,
        discard: DiscardPolicy::New,
        storage: StorageType::File,
        num_replicas: copies,
        allow_rollup: true,
        deny_delete: true,
        allow_direct: true,
        ..Config::default()
    }
}

/// A key: parts with dots between them. Characters that keys cannot have become `=` and two
/// hexadecimal digits.
pub(super) fn key(parts: &[&str]) -> String {
    let mut key = String::new();
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            key.push('.');
        }
        for byte in part.bytes() {
            match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => key.push(byte.into()),
                _ => key.push_str(&format!("={byte:02x}")),
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_when_their_parts_do() {
        assert_eq!(key(&["tick", "m", "a b.c"]), "tick.m.a=20b=2ec");
        assert_eq!(key(&["tick", "m", "é="]), "tick.m.=c3=a9=3d");
    }
}
