//! Stores of keys and values in the memory of the node, which modules share by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::config::KeyValueConfig;

/// The most bytes of a key.
pub const MAX_KEY: usize = 1_024;

/// What an entry uses besides its key and its value.
const ENTRY: u64 = 64;

/// The most keys of one page.
const PAGE: usize = 1_000;

/// The stores of the node.
#[derive(Debug, Default)]
pub struct Stores {
    settings: KeyValueConfig,
    all: Mutex<BTreeMap<String, Arc<Store>>>,
}

impl Stores {
    pub fn new(settings: KeyValueConfig) -> Stores {
        Stores { settings, all: Mutex::default() }
    }

    /// Returns a store, and creates it if necessary. Only names that were granted get here.
    pub fn open(&self, name: &str) -> Arc<Store> {
        let create = || Arc::new(Store::new(name, self.settings.size(name)));
        self.all.lock().entry(name.to_owned()).or_insert_with(create).clone()
    }

    /// The stores that exist, with the bytes that each uses and may use.
    pub fn usage(&self) -> Vec<(String, u64, u64)> {
        let all = self.all.lock();
        all.iter().map(|(name, store)| (name.clone(), store.data.lock().bytes, store.most)).collect()
    }
}

/// One store. It lives as long as the host.
#[derive(Debug)]
pub struct Store {
    name: String,
    /// `keyvalue.<name>.size`.
    most: u64,
    data: Mutex<Data>,
}

/// A store that a guest has opened.
#[derive(Debug, Clone)]
pub struct Bucket(pub Arc<Store>);

#[derive(Debug, Default)]
struct Data {
    entries: BTreeMap<String, Bytes>,
    bytes: u64,
}

/// Copies of entries, each `None` if it does not exist.
pub type Entries = Vec<Option<(String, Vec<u8>)>>;

/// Why a store rejects a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("a key has 1 to {MAX_KEY} bytes")]
    Key,
    #[error("the store {name} is full: keyvalue.{name}.size allows {most} bytes")]
    Full { name: String, most: u64 },
    #[error("the values are larger than limits.memory allows, which is {0} bytes")]
    TooMuch(u64),
    #[error("the value is not a whole number in text")]
    NoNumber,
}

fn size(key: &str, value: &[u8]) -> u64 {
    ENTRY + (key.len() + value.len()) as u64
}

impl Data {
    fn remove(&mut self, key: &str) {
        if let Some(value) = self.entries.remove(key) {
            self.bytes = self.bytes.saturating_sub(size(key, &value));
        }
    }
}

impl Store {
    fn new(name: &str, most: u64) -> Store {
        Store { name: name.to_owned(), most, data: Mutex::default() }
    }

    pub fn get(&self, key: &str) -> Option<Bytes> {
        self.data.lock().entries.get(key).cloned()
    }

    /// Copies the values of keys, of at most this many bytes together, because a list may name one
    /// large value again and again.
    pub fn get_many(&self, keys: Vec<String>, most: u64) -> Result<Entries, StoreError> {
        let found: Vec<(Option<Bytes>, String)> = {
            let data = self.data.lock();
            keys.into_iter().map(|key| (data.entries.get(&key).cloned(), key)).collect()
        };
        let bytes: u64 = found.iter().filter_map(|(value, _)| value.as_ref()).map(|value| value.len() as u64).sum();
        if bytes > most {
            return Err(StoreError::TooMuch(most));
        }
        Ok(found.into_iter().map(|(value, key)| Some((key, value?.into()))).collect())
    }

    /// Sets all of the entries, or none of them.
    pub fn set(&self, entries: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        if entries.iter().any(|(key, _)| key.is_empty() || key.len() > MAX_KEY) {
            return Err(StoreError::Key);
        }
        // The last of several entries with the same key.
        let entries: BTreeMap<String, Bytes> = entries.into_iter().collect();
        let mut data = self.data.lock();
        let more: u64 = entries.iter().map(|(key, value)| size(key, value)).sum();
        let replaced = entries.keys().filter_map(|key| Some((key, data.entries.get(key)?)));
        let less: u64 = replaced.map(|(key, value)| size(key, value)).sum();
        if data.bytes.saturating_add(more).saturating_sub(less) > self.most {
            return Err(StoreError::Full { name: self.name.clone(), most: self.most });
        }
        for (key, value) in entries {
            data.remove(&key);
            data.bytes += size(&key, &value);
            data.entries.insert(key, value);
        }
        Ok(())
    }

    pub fn delete(&self, keys: &[String]) {
        let mut data = self.data.lock();
        keys.iter().for_each(|key| data.remove(key));
    }

    /// The keys after the first `skipped` ones, in their order, and the number to skip for the next
    /// page.
    pub fn keys(&self, skipped: u64) -> (Vec<String>, Option<u64>) {
        let data = self.data.lock();
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let keys: Vec<String> = data.entries.keys().skip(skipped).take(PAGE).cloned().collect();
        let next = skipped.saturating_add(keys.len());
        (keys, (next < data.entries.len()).then_some(next as u64))
    }

    /// Adds to a number, which the store has as text. A key without a value counts from 0.
    pub fn increment(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        let mut data = self.data.lock();
        let now = match data.entries.get(key) {
            Some(value) => {
                std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(StoreError::NoNumber)?
            }
            None => 0u64,
        };
        if key.is_empty() || key.len() > MAX_KEY {
            return Err(StoreError::Key);
        }
        let after = now.wrapping_add(delta);
        let value = Bytes::from(after.to_string());
        let old = data.entries.get(key).map_or(0, |value| size(key, value));
        if data.bytes + size(key, &value) - old > self.most {
            return Err(StoreError::Full { name: self.name.clone(), most: self.most });
        }
        data.remove(key);
        data.bytes += size(key, &value);
        data.entries.insert(key.to_owned(), value);
        Ok(after)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(all: &[(&str, usize)]) -> Vec<(String, Bytes)> {
        all.iter().map(|(key, size)| ((*key).to_owned(), Bytes::from(vec![b'x'; *size]))).collect()
    }

    #[test]
    fn a_store_takes_no_more_than_its_size() {
        let store = Store::new("cache", 1_000);
        assert_eq!(store.set(entries(&[("a", 935)])), Ok(()));
        let full = StoreError::Full { name: "cache".into(), most: 1_000 };
        assert_eq!(store.set(entries(&[("b", 0)])), Err(full.clone()));
        assert_eq!(store.set(entries(&[("a", 936)])), Err(full.clone()), "the old value stays");
        assert_eq!((store.get("a").unwrap().len(), store.increment("n", 1)), (935, Err(full)));
        assert_eq!(store.set(entries(&[("a", 10), ("b", 10)])), Ok(()));
        store.delete(&["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        assert_eq!(store.get("a"), None);
        assert_eq!(store.data.lock().bytes, 0);
        assert_eq!(store.set(entries(&[("a", 900)])), Ok(()));
        let mut repeated = entries(&[("a", 1); 20]);
        repeated.extend(entries(&[("b", 900)]));
        assert!(store.set(repeated).is_err(), "a key counts once, however often it is in the list");
        assert_eq!(store.set(entries(&[("", 1)])), Err(StoreError::Key));
        assert_eq!(store.set(entries(&[(&"k".repeat(MAX_KEY + 1), 1)])), Err(StoreError::Key));
    }

    #[test]
    fn a_list_of_keys_gets_no_more_than_fits() {
        let store = Store::new("cache", 1 << 20);
        store.set(entries(&[("a", 1_000), ("b", 1)])).unwrap();
        let keys = |all: &[&str]| all.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
        let found = store.get_many(keys(&["a", "none", "b"]), 1_001).unwrap();
        let sizes: Vec<_> =
            found.iter().map(|found| found.as_ref().map(|(key, value)| (&**key, value.len()))).collect();
        assert_eq!(sizes, [Some(("a", 1_000)), None, Some(("b", 1))]);
        assert_eq!(store.get_many(keys(&["a"; 10_000]), 9_999_999), Err(StoreError::TooMuch(9_999_999)));
    }

    #[test]
    fn keys_come_in_pages_and_numbers_count() {
        let store = Store::new("cache", 1 << 20);
        for index in 0..PAGE + 1 {
            store.set(entries(&[(&format!("{index:05}"), 1)])).unwrap();
        }
        let (first, next) = store.keys(0);
        assert_eq!((first.len(), next), (PAGE, Some(PAGE as u64)));
        assert_eq!(store.keys(PAGE as u64), (vec![format!("{PAGE:05}")], None));
        assert_eq!(store.keys(u64::MAX), (vec![], None));
        assert_eq!((store.increment("n", 2), store.increment("n", 3)), (Ok(2), Ok(5)));
        assert_eq!((store.get("n").unwrap(), store.increment("00001", 1)), ("5".into(), Err(StoreError::NoNumber)));
    }

    #[test]
    fn a_name_stands_for_one_store() {
        let stores = Stores::default();
        stores.open("a").set(entries(&[("k", 1)])).unwrap();
        assert!(stores.open("a").get("k").is_some() && stores.open("b").get("k").is_none());
        assert_eq!(stores.usage().len(), 2);
    }
}
