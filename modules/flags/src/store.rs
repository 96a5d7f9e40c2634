//! The flags of one worker.

use std::cell::RefCell;
use std::collections::BTreeMap;

use fanfare_sdk::prelude::*;
use serde::Deserializer;
use serde_json::value::RawValue;

thread_local! {
    pub static STORE: RefCell<Flags> = RefCell::default();
}

/// The maximum number of names, including those of deleted flags.
pub const MAX_NAMES: usize = 1_000;

/// The payload of a broadcast: a new value, or `None` for a flag that is removed.
#[derive(Serialize, Deserialize)]
pub struct Change {
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub value: Option<Box<RawValue>>,
}

/// Every flag with the number of its last change. A deleted flag stays without a value, so that an
/// older change cannot restore it.
#[derive(Clone, Default, Serialize, Deserialize)]
pub struct Flags(BTreeMap<String, Flag>);

#[derive(Clone, Serialize, Deserialize)]
struct Flag {
    /// The number of the broadcast that made the last change, in the module's order.
    seq: u64,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    value: Option<Box<RawValue>>,
}

/// Reads a key that is present as `Some`, also when its value is `null`.
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

    /// Whether the name is known or the maximum is not reached.
    pub fn has_room_for(&self, name: &str) -> bool {
        self.0.len() < MAX_NAMES || self.0.contains_key(name)
    }

    /// Applies a change, unless the flag has a later one.
    pub fn apply(&mut self, change: Change, seq: u64) {
        self.set(change.name, Flag { seq, value: change.value });
    }

    /// Adopts the flags of another worker that are newer.
    pub fn merge(&mut self, other: Flags) {
        for (name, flag) in other.0 {
            self.set(name, flag);
        }
    }

    fn set(&mut self, name: String, flag: Flag) {
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
