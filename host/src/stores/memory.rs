//! A store in the memory of the node. It lives as long as the host.

use std::collections::BTreeMap;
use std::future::ready;

use bytes::Bytes;
use parking_lot::Mutex;

use super::store::{Outcome, Store, StoreError, Values, check_key};

/// What an entry uses besides its key and its value.
const ENTRY: u64 = 64;

/// The most keys of one page.
const PAGE: usize = 1_000;

#[derive(Debug)]
pub struct Memory {
    name: String,
    /// `keyvalue.<name>.size`.
    most: u64,
    data: Mutex<Data>,
}

#[derive(Debug, Default)]
struct Data {
    entries: BTreeMap<String, Bytes>,
    bytes: u64,
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

impl Memory {
    pub fn new(name: &str, most: u64) -> Memory {
        Memory { name: name.to_owned(), most, data: Mutex::default() }
    }

    fn full(&self) -> StoreError {
        StoreError::Full { name: self.name.clone(), most: self.most }
    }

    fn get_now(&self, keys: &[String], most: u64) -> Result<Values, StoreError> {
        let found: Values = {
            let data = self.data.lock();
            keys.iter().map(|key| data.entries.get(key).cloned()).collect()
        };
        let bytes: u64 = found.iter().flatten().map(|value| value.len() as u64).sum();
        if bytes > most { Err(StoreError::TooMuch(most)) } else { Ok(found) }
    }

    fn set_now(&self, entries: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        entries.iter().try_for_each(|(key, _)| check_key(key))?;
        // The last of several entries with the same key.
        let entries: BTreeMap<String, Bytes> = entries.into_iter().collect();
        let mut data = self.data.lock();
        let more: u64 = entries.iter().map(|(key, value)| size(key, value)).sum();
        let replaced = entries.keys().filter_map(|key| Some((key, data.entries.get(key)?)));
        let less: u64 = replaced.map(|(key, value)| size(key, value)).sum();
        if data.bytes.saturating_add(more).saturating_sub(less) > self.most {
            return Err(self.full());
        }
        for (key, value) in entries {
            data.remove(&key);
            data.bytes += size(&key, &value);
            data.entries.insert(key, value);
        }
        Ok(())
    }

    fn keys_now(&self, skipped: u64) -> (Vec<String>, Option<u64>) {
        let data = self.data.lock();
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX);
        let keys: Vec<String> = data.entries.keys().skip(skipped).take(PAGE).cloned().collect();
        let next = skipped.saturating_add(keys.len());
        (keys, (next < data.entries.len()).then_some(next as u64))
    }

    fn increment_now(&self, key: String, delta: u64) -> Result<u64, StoreError> {
        check_key(&key)?;
        let mut data = self.data.lock();
        let (now, old) = match data.entries.get(&key) {
            Some(value) => {
                let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
                (number.ok_or(StoreError::NoNumber)?, size(&key, value))
            }
            None => (0u64, 0),
        };
        let after = now.checked_add(delta).ok_or(StoreError::NoNumber)?;
        let value = Bytes::from(after.to_string());
        if data.bytes.saturating_add(size(&key, &value)).saturating_sub(old) > self.most {
            return Err(self.full());
        }
        data.remove(&key);
        data.bytes += size(&key, &value);
        data.entries.insert(key, value);
        Ok(after)
    }
}

impl Store for Memory {
    fn get<'a>(&'a self, keys: &'a [String], most: u64) -> Outcome<'a, Values> {
        Box::pin(ready(self.get_now(keys, most)))
    }

    fn set(&self, entries: Vec<(String, Bytes)>) -> Outcome<'_, ()> {
        Box::pin(ready(self.set_now(entries)))
    }

    fn delete(&self, keys: Vec<String>) -> Outcome<'_, ()> {
        let mut data = self.data.lock();
        keys.iter().for_each(|key| data.remove(key));
        Box::pin(ready(Ok(())))
    }

    fn exists(&self, key: String) -> Outcome<'_, bool> {
        Box::pin(ready(Ok(self.data.lock().entries.contains_key(&key))))
    }

    /// The cursor is the number of keys to skip, in the order of the keys.
    fn keys(&self, cursor: u64) -> Outcome<'_, (Vec<String>, Option<u64>)> {
        Box::pin(ready(Ok(self.keys_now(cursor))))
    }

    fn increment(&self, key: String, delta: u64) -> Outcome<'_, u64> {
        Box::pin(ready(self.increment_now(key, delta)))
    }

    fn memory(&self) -> Option<(u64, u64)> {
        Some((self.data.lock().bytes, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::MAX_KEY;
    use super::*;

    fn entries(all: &[(&str, usize)]) -> Vec<(String, Bytes)> {
        all.iter().map(|(key, size)| ((*key).to_owned(), Bytes::from(vec![b'x'; *size]))).collect()
    }

    fn keys(all: &[&str]) -> Vec<String> {
        all.iter().map(|key| (*key).to_owned()).collect()
    }

    fn value(store: &Memory, key: &str) -> Option<Bytes> {
        store.get_now(&keys(&[key]), u64::MAX).unwrap().remove(0)
    }

    #[tokio::test]
    async fn a_store_takes_no_more_than_its_size() {
        let store = Memory::new("cache", 1_000);
        assert_eq!(store.set_now(entries(&[("a", 935)])), Ok(()));
        let full = StoreError::Full { name: "cache".into(), most: 1_000 };
        assert_eq!(store.set_now(entries(&[("b", 0)])), Err(full.clone()));
        assert_eq!(store.set_now(entries(&[("a", 936)])), Err(full.clone()), "the old value stays");
        assert_eq!((value(&store, "a").unwrap().len(), store.increment_now("n".into(), 1)), (935, Err(full)));
        assert_eq!(store.set_now(entries(&[("a", 10), ("b", 10)])), Ok(()));
        store.delete(keys(&["a", "b", "c"])).await.unwrap();
        assert_eq!(value(&store, "a"), None);
        assert_eq!(store.memory(), Some((0, 1_000)));
        assert_eq!(store.set_now(entries(&[("a", 900)])), Ok(()));
        let mut repeated = entries(&[("a", 1); 20]);
        repeated.extend(entries(&[("b", 900)]));
        assert!(store.set_now(repeated).is_err(), "a key counts once, however often it is in the list");
        assert_eq!(store.set_now(entries(&[("", 1)])), Err(StoreError::Key));
        assert_eq!(store.set_now(entries(&[(&"k".repeat(MAX_KEY + 1), 1)])), Err(StoreError::Key));
    }

    #[test]
    fn a_list_of_keys_gets_no_more_than_fits() {
        let store = Memory::new("cache", 1 << 20);
        store.set_now(entries(&[("a", 1_000), ("b", 1)])).unwrap();
        let found = store.get_now(&keys(&["a", "none", "b"]), 1_001).unwrap();
        let sizes: Vec<_> = found.iter().map(|found| found.as_ref().map(Bytes::len)).collect();
        assert_eq!(sizes, [Some(1_000), None, Some(1)]);
        assert_eq!(store.get_now(&keys(&["a"; 10_000]), 9_999_999), Err(StoreError::TooMuch(9_999_999)));
    }

    #[test]
    fn keys_come_in_pages_and_numbers_count() {
        let store = Memory::new("cache", 1 << 20);
        for index in 0..PAGE + 1 {
            store.set_now(entries(&[(&format!("{index:05}"), 1)])).unwrap();
        }
        let (first, next) = store.keys_now(0);
        assert_eq!((first.len(), next), (PAGE, Some(PAGE as u64)));
        assert_eq!(store.keys_now(PAGE as u64), (vec![format!("{PAGE:05}")], None));
        assert_eq!(store.keys_now(u64::MAX), (vec![], None));
        let add = |key: &str, delta| store.increment_now(key.into(), delta);
        assert_eq!((add("n", 2), add("n", 3)), (Ok(2), Ok(5)));
        assert_eq!((value(&store, "n").unwrap(), add("00001", 1)), ("5".into(), Err(StoreError::NoNumber)));
        assert_eq!(add("n", u64::MAX), Err(StoreError::NoNumber), "the number does not wrap");
        assert_eq!(add("n", 1), Ok(6));
    }
}
