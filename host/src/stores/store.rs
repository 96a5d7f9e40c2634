//! What every store of keys and values does, wherever its entries are.

use std::fmt::Debug;

use bytes::Bytes;
use futures_util::future::BoxFuture;

/// The most bytes of a key.
pub const MAX_KEY: usize = 1_024;

/// What a call of a store returns.
pub type Outcome<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// One store. Each call takes effect as a whole or not at all, beside all others.
pub trait Store: Debug + Send + Sync {
    /// The values of keys, of at most this many bytes together, because a list may name one large
    /// value again and again.
    fn get<'a>(&'a self, keys: &'a [String], most: u64) -> Outcome<'a, Values>;

    fn set(&self, entries: Vec<(String, Bytes)>) -> Outcome<'_, ()>;

    fn delete(&self, keys: Vec<String>) -> Outcome<'_, ()>;

    fn exists(&self, key: String) -> Outcome<'_, bool>;

    /// One page of keys, and the cursor of the next page. The cursor of the first page is 0.
    fn keys(&self, cursor: u64) -> Outcome<'_, (Vec<String>, Option<u64>)>;

    /// Adds to a number, which the store has as text. A key without a value counts from 0.
    fn increment(&self, key: String, delta: u64) -> Outcome<'_, u64>;

    /// The bytes that its entries use in memory, and may use. `None` for a store that is elsewhere.
    fn memory(&self) -> Option<(u64, u64)> {
        None
    }
}

/// The values of keys, each `None` if the key has none.
pub type Values = Vec<Option<Bytes>>;

/// Why a store rejects a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    #[error("a key has 1 to {MAX_KEY} bytes")]
    Key,
    #[error("the store {name} is full: keyvalue.{name}.size allows {most} bytes")]
    Full { name: String, most: u64 },
    #[error("the values are larger than limits.memory allows, which is {0} bytes")]
    TooMuch(u64),
    #[error("the values of one call of the store {name} have at most {most} bytes together (limits.max.payload)")]
    TooLarge { name: String, most: u64 },
    #[error("one call of the store {name} has at most {most} keys")]
    TooMany { name: String, most: usize },
    #[error("the value is not a whole number in text, or becomes too large")]
    NoNumber,
    #[error("the store {name} is not reachable (redis connection {connection}): {reason}")]
    Away { name: String, connection: String, reason: String },
    #[error("Redis refuses the command: {0}")]
    Refused(String),
}

/// Rejects keys that no store takes.
pub fn check_key(key: &str) -> Result<(), StoreError> {
    match (1..=MAX_KEY).contains(&key.len()) {
        true => Ok(()),
        false => Err(StoreError::Key),
    }
}
