//! One connection of the settings, and how to connect.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, ProtocolVersion, RedisConnectionInfo, RedisError};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use super::bounded::Bounded;
use super::counts::{Counts, Snapshot};
use super::gate::Gate;
use super::health::Health;
use super::outbox::Outbox;
use super::stores_connection::Connection;
use crate::api::{RedisState, RedisStatus};
use crate::blocking::run_blocking;
use crate::config::RedisConnection;
use crate::config::redis_address::RedisAddress;
use crate::config::secret::Secret;
use crate::events::EventLog;
use crate::net::{self, Outgoing, Retry, Tls};

/// Facts about the node that the connections need.
#[derive(Debug, Clone, Copy)]
pub struct RedisNode<'a> {
    /// The setting `node.id`: the name of the host in the groups of streams.
    pub id: &'a str,
    /// The folder of the settings.
    pub root: &'a Path,
    pub variables: &'a BTreeMap<String, String>,
    /// The largest message that the host receives: the setting `limits.max.payload`.
    pub max_payload: u64,
}

/// A connection of the settings.
pub struct Link {
    pub name: String,
    /// The name of this host in the groups of streams.
    pub node: String,
    pub settings: RedisConnection,
    pub health: Health,
    pub counts: Arc<Counts>,
    pub outbox: Outbox,
    pub stores: Connection,
    pub events: Arc<EventLog>,
    /// The channels and patterns that the server sends, for the status.
    pub topics: AtomicU64,
    /// The next number for the id of a message of a channel.
    messages: AtomicU64,
    password: Secret,
    ca: Option<PathBuf>,
    /// The largest message that the host receives.
    pub max_payload: u64,
    /// Whether the server does not have RESP3.
    old: AtomicBool,
}

/// A connection for commands, and the task that carries it.
pub struct Commands {
    pub connection: MultiplexedConnection,
    _driver: AbortOnDropHandle<()>,
}

impl Link {
    pub fn new(name: &str, settings: &RedisConnection, node: RedisNode<'_>, events: Arc<EventLog>) -> Link {
        let counts = Arc::<Counts>::default();
        Link {
            name: name.to_owned(),
            node: node.id.to_owned(),
            health: Health::new(name, events.clone()),
            outbox: Outbox::new(name, settings.queue, counts.clone()),
            counts,
            stores: Connection::default(),
            events,
            topics: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            password: settings.password(node.root, node.variables),
            ca: settings.ca_file(node.root),
            max_payload: node.max_payload,
            old: AtomicBool::new(false),
            settings: settings.clone(),
        }
    }

    /// The delays between attempts to connect.
    pub fn retry(&self) -> Retry {
        Retry::new(self.settings.reconnect, self.settings.reconnect_max)
    }

    /// The id of the next message of a channel.
    pub fn next_id(&self) -> Arc<str> {
        format!("{}-{:x}-{}", self.name, self.events.epoch, self.messages.fetch_add(1, Relaxed) + 1).into()
    }

    /// Opens a connection for messages of channels. It reads as the gate allows.
    pub async fn open_pubsub(&self) -> Result<(PubSub, Arc<Gate>), String> {
        let gate = Arc::<Gate>::default();
        let pubsub = self
            .open(self.max_payload, Some(gate.clone()), async |info, stream| PubSub::new(&info, stream).await)
            .await?;
        Ok((pubsub, gate))
    }

    /// Opens a connection for commands, each of which may take `patience` longer than the server
    /// may take to answer. Values have at most `most` bytes.
    pub async fn open_commands(&self, patience: Duration, most: u64) -> Result<Commands, String> {
        let answer = self.settings.timeout.saturating_add(patience);
        self.open(most, None, async move |info, stream| {
            let config = AsyncConnectionConfig::new().set_response_timeout(Some(answer));
            let (connection, driver) = MultiplexedConnection::new_with_config(&info, stream, config).await?;
            let driver: JoinHandle<()> = tokio::spawn(driver);
            Ok(Commands { connection, _driver: AbortOnDropHandle::new(driver) })
        })
        .await
    }

    /// Connects, with RESP3 if the server has it. The connection reads as the gate allows.
    async fn open<T>(
        &self,
        most: u64,
        gate: Option<Arc<Gate>>,
        begin: impl AsyncFn(RedisConnectionInfo, Bounded<Outgoing>) -> Result<T, RedisError>,
    ) -> Result<T, String> {
        let Some(RedisAddress { host, port, tls }) = self.settings.address() else {
            return Err("`url` is not the address of a Redis server".to_owned());
        };
        let (secret, ca) = (self.password.clone(), self.ca.clone());
        let read = move || {
            let password = secret.read()?;
            let tls = if tls { Some(Tls::load(ca.as_deref())?) } else { None };
            Ok::<_, String>((password, tls))
        };
        let (password, tls) = run_blocking(read).await?;
        let attempt = async |protocol| {
            let stream = net::open(&host, port, tls.as_ref()).await.map_err(RedisError::from)?;
            let mut info = RedisConnectionInfo::default().set_protocol(protocol).set_db(self.settings.database.into());
            if let Some(username) = &self.settings.username {
                info = info.set_username(username);
            }
            if let Some(password) = &password {
                info = info.set_password(password);
            }
            begin(info, Bounded::new(stream, most, gate.clone())).await
        };
        let both = async {
            if !self.old.load(Relaxed) {
                match attempt(ProtocolVersion::RESP3).await {
                    Err(error) if lacks_resp3(&error) => self.old.store(true, Relaxed),
                    outcome => return outcome,
                }
            }
            attempt(ProtocolVersion::RESP2).await
        };
        match timeout(self.settings.timeout, both).await {
            Ok(outcome) => outcome.map_err(|error| reason(&error)),
            Err(_) => Err(format!("the server has not answered within {:?} (timeout)", self.settings.timeout)),
        }
    }

    pub fn status(&self) -> RedisStatus {
        let (up, since, reasons) = self.health.state();
        let (queued, queued_bytes) = self.outbox.size();
        RedisStatus {
            name: self.name.clone(),
            url: self.settings.address().map(|address| address.to_string()).unwrap_or_default(),
            state: match up {
                None => RedisState::Connecting,
                Some(true) => RedisState::Up,
                Some(false) => RedisState::Down,
            },
            since: up.map(|_| since),
            reasons,
            topics: self.topics.load(Relaxed),
            received: self.counts.received.get(),
            published: self.counts.published.get(),
            lost: self.counts.lost.get(),
            queued,
            queued_bytes,
        }
    }

    pub fn snapshot(&self) -> Snapshot {
        let (queued_messages, queued_bytes) = self.outbox.size();
        Snapshot {
            up: self.health.state().0 == Some(true),
            queued_messages,
            queued_bytes,
            counters: self.counts.snapshot(),
        }
    }
}

/// Whether an error means that the server, or the rights of the user there, have no RESP3.
fn lacks_resp3(error: &RedisError) -> bool {
    error.kind() == ErrorKind::RESP3NotSupported || error.code() == Some("NOPERM")
}

/// Why a connection failed, for the status and the log.
pub fn reason(error: &RedisError) -> String {
    match error.kind() {
        ErrorKind::Parse => "the server sent bytes that Redis never sends: is it a Redis server?".to_owned(),
        _ if error.is_timeout() => "the server has not answered in time (timeout)".to_owned(),
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_says_what_the_server_did() {
        let timed_out = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(reason(&timed_out), "the server has not answered in time (timeout)");
        let garbage = redis::parse_redis_value(b"\x8fnoise\r\n").unwrap_err();
        assert_eq!(reason(&garbage), "the server sent bytes that Redis never sends: is it a Redis server?");
        let refused = RedisError::from(std::io::Error::from(std::io::ErrorKind::ConnectionRefused));
        assert_eq!(reason(&refused), "connection refused");
    }
}
