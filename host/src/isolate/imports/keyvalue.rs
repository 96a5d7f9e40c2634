//! `wasi:keyvalue`: the stores of the node that were granted. The functions block: an instance runs
//! nothing else while its store answers.

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
    fn bucket(&self, bucket: &Resource<Bucket>) -> wasmtime::Result<Arc<dyn Store>> {
        Ok(self.table.get(bucket)?.0.clone())
    }
}

impl store::Host for State {
    async fn open(&mut self, identifier: String) -> Returned<Resource<Bucket>> {
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
    async fn get(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<Option<Vec<u8>>> {
        let most = self.guest.generation.limits.memory;
        let found = self.bucket(&bucket)?.get(&[key], most).await;
        Ok(found.map(|values| values.into_iter().flatten().next().map(Vec::from)).map_err(Into::into))
    }

    async fn set(&mut self, bucket: Resource<Bucket>, key: String, value: Vec<u8>) -> Returned<()> {
        Ok(self.bucket(&bucket)?.set(vec![(key, Bytes::from(value))]).await.map_err(Into::into))
    }

    async fn delete(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<()> {
        Ok(self.bucket(&bucket)?.delete(vec![key]).await.map_err(Into::into))
    }

    async fn exists(&mut self, bucket: Resource<Bucket>, key: String) -> Returned<bool> {
        Ok(self.bucket(&bucket)?.exists(key).await.map_err(Into::into))
    }

    async fn list_keys(&mut self, bucket: Resource<Bucket>, cursor: Option<u64>) -> Returned<store::KeyResponse> {
        let page = self.bucket(&bucket)?.keys(cursor.unwrap_or(0)).await;
        Ok(page.map(|(keys, cursor)| store::KeyResponse { keys, cursor }).map_err(Into::into))
    }

    async fn drop(&mut self, bucket: Resource<Bucket>) -> wasmtime::Result<()> {
        self.table.delete(bucket)?;
        Ok(())
    }
}

impl atomics::Host for State {
    async fn increment(&mut self, bucket: Resource<Bucket>, key: String, delta: u64) -> Returned<u64> {
        Ok(self.bucket(&bucket)?.increment(key, delta).await.map_err(Into::into))
    }
}

impl batch::Host for State {
    async fn get_many(
        &mut self,
        bucket: Resource<Bucket>,
        keys: Vec<String>,
    ) -> Returned<Vec<Option<(String, Vec<u8>)>>> {
        let most = self.guest.generation.limits.memory;
        let found = self.bucket(&bucket)?.get(&keys, most).await;
        let entries = |values: Vec<Option<Bytes>>| {
            keys.into_iter().zip(values).map(|(key, value)| Some((key, value?.into()))).collect()
        };
        Ok(found.map(entries).map_err(Into::into))
    }

    async fn set_many(&mut self, bucket: Resource<Bucket>, entries: Vec<(String, Vec<u8>)>) -> Returned<()> {
        let entries = entries.into_iter().map(|(key, value)| (key, Bytes::from(value))).collect();
        Ok(self.bucket(&bucket)?.set(entries).await.map_err(Into::into))
    }

    async fn delete_many(&mut self, bucket: Resource<Bucket>, keys: Vec<String>) -> Returned<()> {
        Ok(self.bucket(&bucket)?.delete(keys).await.map_err(Into::into))
    }
}
