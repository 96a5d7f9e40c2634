//! The commands of Redis streams that a reader uses.

use redis::aio::MultiplexedConnection;
use redis::{Cmd, RedisError, Value, cmd};

use super::entries::{Entry, Pending, of_list, of_pending, of_streams};

/// The most pending entries in one answer.
pub const PAGE: usize = 100;

/// A group of a stream, as one consumer sees it.
#[derive(Debug, Clone)]
pub struct Group {
    pub key: String,
    pub group: String,
    pub consumer: String,
    /// The largest payload of an entry.
    pub most: u64,
}

impl Group {
    fn command(&self, name: &str) -> Cmd {
        let mut command = cmd(name);
        command.arg(&self.key).arg(&self.group);
        command
    }

    /// Creates the stream and the group if they do not exist. A new group begins with the first
    /// entry of the stream.
    pub async fn create(&self, connection: &mut MultiplexedConnection) -> Result<(), RedisError> {
        let mut command = cmd("XGROUP");
        command.arg("CREATE").arg(&self.key).arg(&self.group).arg("0").arg("MKSTREAM");
        match command.query_async::<Value>(connection).await {
            Err(error) if error.code() != Some("BUSYGROUP") => Err(error),
            _ => Ok(()),
        }
    }

    /// Waits for entries that nobody has got.
    pub async fn read(
        &self,
        mut connection: MultiplexedConnection,
        count: u64,
        block: u64,
    ) -> Result<Vec<Entry>, RedisError> {
        let mut command = cmd("XREADGROUP");
        command.arg("GROUP").arg(&self.group).arg(&self.consumer);
        command.arg("COUNT").arg(count).arg("BLOCK").arg(block).arg("STREAMS").arg(&self.key).arg(">");
        command.query_async(&mut connection).await.map(|answer| of_streams(answer, self.most))
    }

    /// Lists pending entries after an id, at most [`PAGE`].
    pub async fn pending(
        &self,
        connection: &mut MultiplexedConnection,
        after: Option<&str>,
    ) -> Result<Vec<Pending>, RedisError> {
        let from = after.map_or_else(|| "-".to_owned(), |id| format!("({id}"));
        let mut command = self.command("XPENDING");
        command.arg(from).arg("+").arg(PAGE);
        command.query_async(connection).await.map(of_pending)
    }

    /// Claims an entry that was not delivered for `idle` milliseconds, and sets how often it was
    /// delivered. Returns none if it was deleted, or another consumer has it.
    pub async fn claim(
        &self,
        connection: &mut MultiplexedConnection,
        id: &str,
        idle: u64,
        deliveries: u64,
    ) -> Result<Option<Entry>, RedisError> {
        let mut command = self.command("XCLAIM");
        command.arg(&self.consumer).arg(idle).arg(id).arg("RETRYCOUNT").arg(deliveries);
        command.query_async(connection).await.map(|answer| of_list(answer, self.most).into_iter().next())
    }

    /// Tells the group that the consumer still works on entries, so that no other claims them.
    pub async fn keep(
        &self,
        connection: &mut MultiplexedConnection,
        ids: impl IntoIterator<Item = &String>,
    ) -> Result<(), RedisError> {
        let mut command = self.command("XCLAIM");
        command.arg(&self.consumer).arg(0);
        for id in ids {
            command.arg(id);
        }
        command.arg("JUSTID");
        command.query_async::<Value>(connection).await.map(drop)
    }

    /// Sets how often entries were delivered, without reading them.
    pub async fn count(
        &self,
        connection: &mut MultiplexedConnection,
        ids: &[String],
        deliveries: u64,
    ) -> Result<(), RedisError> {
        let mut command = self.command("XCLAIM");
        command.arg(&self.consumer).arg(0).arg(ids).arg("RETRYCOUNT").arg(deliveries).arg("JUSTID");
        command.query_async::<Value>(connection).await.map(drop)
    }

    /// Acknowledges entries.
    pub async fn acknowledge(&self, connection: &mut MultiplexedConnection, ids: &[String]) -> Result<(), RedisError> {
        let mut command = self.command("XACK");
        command.arg(ids);
        command.query_async::<Value>(connection).await.map(drop)
    }
}
