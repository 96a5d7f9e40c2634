//! Stores of `wasi:keyvalue` on a Redis server. Each key is a string of Redis, behind the prefix of
//! its store.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, cmd};
use tokio::time::{sleep, timeout};

use super::commands::{is_answer, keep, ping};
use super::link::{Commands, Link, reason};
use crate::stores::{Outcome, Store, StoreError, Values, check_key};

/// The connection of the stores, in the status.
const PART: &str = "stores";

/// Reads values, of as many bytes together as the argument says. Redis checks that, so that the
/// host never receives more.
const GET: &str = "
local values, total = {}, 0
for index, key in ipairs(KEYS) do
    local value = redis.call('GET', key)
    if value then
        total = total + #value
        if total > tonumber(ARGV[1]) then return redis.error_reply('TOOLARGE values') end
    end
    values[index] = value
end
return values";

/// The most keys of one call, because Redis does nothing else meanwhile.
const MAX_KEYS: usize = 10_000;

/// How many keys Redis looks at for one page.
const COUNT: usize = 250;

/// The bytes of one page of keys, with room for long ones of others.
pub const MAX_PAGE: u64 = 4 * 1_024 * 1_024;

/// Keeps the connection of the stores, until it is dropped.
pub async fn run(link: Arc<Link>) {
    let away = |link: &Link, reason: &str| link.stores.set(Err(reason.to_owned()));
    keep(&link, PART, MAX_PAGE.max(link.max_payload), serve, away).await;
}

/// Lets the stores use the connection until it is lost.
async fn serve(link: Arc<Link>, mut commands: Commands) -> RedisError {
    link.stores.set(Ok(commands.connection.clone()));
    loop {
        tokio::select! {
            () = link.stores.doubt.notified() => {}
            () = sleep(link.settings.timeout) => {}
        }
        if let Err(error) = ping(&mut commands).await {
            return error;
        }
    }
}

/// A store on a Redis server.
pub struct RedisStore {
    pub name: String,
    pub prefix: String,
    pub link: Arc<Link>,
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore").field("name", &self.name).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisStore {
    fn key(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The connection. A call before the first attempt to connect has ended waits for that.
    async fn connection(&self) -> Result<MultiplexedConnection, StoreError> {
        match timeout(self.link.settings.timeout, self.link.stores.current()).await {
            Ok(connection) => connection.map_err(|reason| self.away(reason)),
            Err(_) => Err(self.away("the host has not connected yet".to_owned())),
        }
    }

    async fn run<T: FromRedisValue>(&self, command: Cmd) -> Result<T, StoreError> {
        let mut connection = self.connection().await?;
        command.query_async(&mut connection).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &RedisError) -> StoreError {
        if is_answer(error) {
            return StoreError::Refused(error.to_string());
        }
        // The connection replaces an answer that is too large by nil.
        if error.kind() == ErrorKind::UnexpectedReturnType {
            return self.too_large();
        }
        self.link.stores.doubt.notify_one();
        self.away(reason(error))
    }

    fn away(&self, reason: String) -> StoreError {
        StoreError::Away { name: self.name.clone(), connection: self.link.name.clone(), reason }
    }

    async fn get_all(&self, keys: &[String], most: u64) -> Result<Values, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.check_count(keys.len())?;
        let mut command = cmd("EVAL");
        command.arg(GET).arg(keys.len());
        keys.iter().for_each(|key| _ = command.arg(self.key(key)));
        command.arg(most.min(self.link.max_payload));
        let mut connection = self.connection().await?;
        let values: Result<Vec<Option<Vec<u8>>>, RedisError> = command.query_async(&mut connection).await;
        match values {
            Ok(values) => Ok(values.into_iter().map(|value| value.map(Bytes::from)).collect()),
            Err(error) if error.code() == Some("TOOLARGE") && most < self.link.max_payload => {
                Err(StoreError::TooMuch(most))
            }
            Err(error) if error.code() == Some("TOOLARGE") => Err(self.too_large()),
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn too_large(&self) -> StoreError {
        StoreError::TooLarge { name: self.name.clone(), most: self.link.max_payload }
    }

    fn check_count(&self, keys: usize) -> Result<(), StoreError> {
        match keys > MAX_KEYS {
            true => Err(StoreError::TooMany { name: self.name.clone(), most: MAX_KEYS }),
            false => Ok(()),
        }
    }

    async fn set_all(&self, entries: Vec<(String, Bytes)>) -> Result<(), StoreError> {
        if entries.is_empty() {
            return Ok(());
        }
        self.check_count(entries.len())?;
        let mut command = cmd("MSET");
        let mut bytes = 0;
        for (key, value) in entries {
            check_key(&key)?;
            bytes += value.len() as u64;
            if bytes > self.link.max_payload {
                return Err(self.too_large());
            }
            command.arg(self.key(&key)).arg(&*value);
        }
        self.run(command).await
    }

    async fn delete_all(&self, keys: Vec<String>) -> Result<(), StoreError> {
        if keys.is_empty() {
            return Ok(());
        }
        self.check_count(keys.len())?;
        let mut command = cmd("DEL");
        keys.iter().for_each(|key| _ = command.arg(self.key(key)));
        self.run(command).await
    }

    /// Keys that are no text have no name in `wasi:keyvalue`.
    async fn scan(&self, cursor: u64) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let mut command = cmd("SCAN");
        command.arg(cursor).arg("MATCH").arg(format!("{}*", literal(&self.prefix))).arg("COUNT").arg(COUNT);
        let (next, found): (u64, Vec<Vec<u8>>) = self.run(command).await?;
        let text = |key| Some(String::from_utf8(key).ok()?.strip_prefix(&self.prefix)?.to_owned());
        Ok((found.into_iter().filter_map(text).collect(), (next != 0).then_some(next)))
    }

    async fn add(&self, key: &str, delta: u64) -> Result<u64, StoreError> {
        check_key(key)?;
        let delta = i64::try_from(delta).map_err(|_| StoreError::NoNumber)?;
        let mut command = cmd("INCRBY");
        command.arg(self.key(key)).arg(delta);
        match self.run::<i64>(command).await {
            Ok(sum) => u64::try_from(sum).map_err(|_| StoreError::NoNumber),
            Err(StoreError::Refused(text)) if text.contains("not an integer") || text.contains("overflow") => {
                Err(StoreError::NoNumber)
            }
            Err(error) => Err(error),
        }
    }
}

impl Store for RedisStore {
    fn get<'a>(&'a self, keys: &'a [String], most: u64) -> Outcome<'a, Values> {
        Box::pin(self.get_all(keys, most))
    }

    fn set(&self, entries: Vec<(String, Bytes)>) -> Outcome<'_, ()> {
        Box::pin(self.set_all(entries))
    }

    fn delete(&self, keys: Vec<String>) -> Outcome<'_, ()> {
        Box::pin(self.delete_all(keys))
    }

    fn exists(&self, key: String) -> Outcome<'_, bool> {
        let mut command = cmd("EXISTS");
        command.arg(self.key(&key));
        Box::pin(self.run(command))
    }

    /// The cursor is that of Redis.
    fn keys(&self, cursor: u64) -> Outcome<'_, (Vec<String>, Option<u64>)> {
        Box::pin(self.scan(cursor))
    }

    fn increment(&self, key: String, delta: u64) -> Outcome<'_, u64> {
        Box::pin(async move { self.add(&key, delta).await })
    }
}

/// A pattern of Redis that only matches this text.
fn literal(text: &str) -> String {
    let mut pattern = String::with_capacity(text.len());
    for char in text.chars() {
        if matches!(char, '*' | '?' | '[' | ']' | '\\') {
            pattern.push('\\');
        }
        pattern.push(char);
    }
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_no_pattern() {
        assert_eq!(literal(r"a:*[b]?\"), r"a:\*\[b\]\?\\");
    }
}
