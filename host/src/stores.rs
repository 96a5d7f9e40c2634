//! Stores of keys and values, which modules share by name. A store is in the memory of the node,
//! unless the settings put it elsewhere.

mod memory;
mod store;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use store::{Outcome, Store, StoreError, Values, check_key};

use crate::config::KeyValueConfig;
use memory::Memory;

/// The stores of the node.
#[derive(Debug, Default)]
pub struct Stores {
    settings: KeyValueConfig,
    all: Mutex<BTreeMap<String, Arc<dyn Store>>>,
}

impl Stores {
    pub fn new(settings: KeyValueConfig) -> Stores {
        Stores { settings, all: Mutex::default() }
    }

    /// Adds a store that is not in memory.
    pub fn add(&self, name: &str, store: Arc<dyn Store>) {
        self.all.lock().insert(name.to_owned(), store);
    }

    /// Returns a store, and creates it in memory if necessary. Only names that were granted get
    /// here.
    pub fn open(&self, name: &str) -> Arc<dyn Store> {
        let create = || -> Arc<dyn Store> { Arc::new(Memory::new(name, self.settings.size(name))) };
        self.all.lock().entry(name.to_owned()).or_insert_with(create).clone()
    }

    /// The stores in memory that exist, with the bytes that each uses and may use.
    pub fn usage(&self) -> Vec<(String, u64, u64)> {
        let all = self.all.lock();
        let used = |(name, store): (&String, &Arc<dyn Store>)| {
            let (bytes, most) = store.memory()?;
            Some((name.clone(), bytes, most))
        };
        all.iter().filter_map(used).collect()
    }
}

/// A store that a guest has opened.
#[derive(Debug, Clone)]
pub struct Bucket(pub Arc<dyn Store>);

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_name_stands_for_one_store() {
        let stores = Stores::default();
        stores.open("a").set(vec![("k".to_owned(), Bytes::from("v"))]).await.unwrap();
        assert!(stores.open("a").exists("k".to_owned()).await.unwrap());
        assert!(!stores.open("b").exists("k".to_owned()).await.unwrap());
        assert_eq!(stores.usage().len(), 2);
    }
}
