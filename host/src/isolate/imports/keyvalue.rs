//! `wasi:keyvalue`: the stores of the node that were granted.

use std::sync::Arc;

use bytes::Bytes;
use wasmtime::component::Resource;

use crate::bindings::wasi::wasi::keyvalue::{atomics, batch, store};
use crate::isolate::state::State;
use crate::stores::{Bucket, Store, StoreError};

type Returned<T> = wasmtime::Result<Result<T, store::Error>>;

impl From<StoreError> for store::Error {
    fn from(error: StoreError) -> store::Error {
        store::Error::Other(error.to_string())
    }
}

impl State {
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Arc<Store>> {
        Ok(self.table.get(bucket)?.0.clone())
    }
}

impl store::Host for State {
    fn open(&mut self, identifier: String) -> Returned<Resource<Bucket>> {
        let generation = &self.guest.generation;
        match generation.stores.get(&identifier) {
            Some(store) => Ok(Ok(self.table.push(Bucket(store.clone()))?)),
            None => {
                generation.deny("keyvalue", &identifier);
                Ok(Err(store::Error::AccessDenied))
            }
        }
    }
}

impl store::HostBucket for State {
    fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<Option<Vec<u8>>> {
        Ok(Ok(self.bucket(&bucket)?.get(&key).map(Vec::from)))
    }

    fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Returned<()> {
        Ok(self.bucket(&bucket)?.set(vec![(key, Bytes::from(value))]).map_err(Into::into))
    }

    fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<()> {
        self.bucket(&bucket)?.delete(&[key]);
        Ok(Ok(()))
    }

    fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<bool> {
        Ok(Ok(self.bucket(&bucket)?.get(&key).is_some()))
    }

    fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Returned<store::KeyResponse> {
        let (keys, cursor) = self.bucket(&bucket)?.keys(cursor.unwrap_or(0));
        Ok(Ok(store::KeyResponse { keys, cursor }))
    }

    fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Returned<u64> {
        Ok(self.bucket(&bucket)?.increment(&key, delta).map_err(Into::into))
    }
}

impl batch::Host for State {
    fn get_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Returned<Vec<Option<(String, Vec<u8>)>>> {
        let most = self.guest.generation.limits.memory;
        Ok(self.bucket(&bucket)?.get_many(keys, most).map_err(Into::into))
    }

    fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Returned<()> {
        let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        Ok(self.bucket(&bucket)?.set(entries).map_err(Into::into))
    }

    fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Returned<()> {
        self.bucket(&bucket)?.delete(&keys);
        Ok(Ok(()))
    }
}
