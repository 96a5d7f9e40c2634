//! The flags of one worker.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;
use serde::Deserializer;
use serde_json::value::RawValue;

thread_local! {
    pub static STORE: RefCell<Flags> = RefCell::default();
}

/// The most names, with those of deleted flags.
pub const MOST: usize = 1_000;

/// What a broadcast says: a new value, or none any more.
#[derive(Serialize, Deserialize)]
pub struct Change {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<Box<RawValue>>,
}

/// Every flag with the place of its last change in the module's order. One that was deleted stays, without
/// a value, so that an older change cannot bring it back.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Flags(BTreeMap<String, Flag>);

#[derive(Clone, Serialize, Deserialize)]
struct Flag {
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    value: Option<Box<RawValue>>,
}

/// A value that is there, even if it is `null`.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(deserializer).map(Some)
}

impl Flags {
    pub fn value(&self, name: &str) -> Option<&RawValue> {
        self.0.get(name)?.value.as_deref()
    }

    pub fn values(&self) -> BTreeMap<&str, &RawValue> {
        self.0.iter().filter_map(|(name, flag)| Some((name.as_str(), flag.value.as_deref()?))).collect()
    }

    /// Whether the name is known, or there is room for another one.
    pub fn has_room_for(&self, name: &str) -> bool {
        self.0.len() < MOST || self.0.contains_key(name)
    }

    /// Takes a change, unless a later one is known.
    pub fn apply(&mut self, change: Change, seq: u64) {
        self.take(change.name, Flag { seq, value: change.value });
    }

    /// Takes what is newer in another worker's flags.
    pub fn merge(&mut self, other: Flags) {
        for (name, flag) in other.0 {
            self.take(name, flag);
        }
    }

    fn take(&mut self, name: String, flag: Flag) {
        if self.0.get(&name).is_none_or(|known| known.seq < flag.seq) {
            self.0.insert(name, flag);
        }
    }
}

impl State for Flags {
    async fn save() -> Self {
        STORE.with_borrow(Flags::clone)
    }

    async fn load(self, _from: &str) -> Result<()> {
        STORE.with_borrow_mut(|flags| flags.merge(self));
        Ok(())
    }
}
