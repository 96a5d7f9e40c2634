//! Redis: receives messages of channels, patterns and streams for the subscriptions of modules,
//! publishes messages of modules, and has stores of keys and values.
//!
//! Each connection of the settings is a [`Link`]. Everything runs on the thread `links`.

mod bounded;
mod commands;
mod counts;
mod entries;
mod filter;
mod gate;
mod health;
mod link;
mod outbox;
mod pending;
mod reader;
mod receive;
mod sources;
mod stores;
mod stores_connection;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use counts::Snapshot;
pub use link::RedisNode;

use super::subscriptions::{Subscription, Subscriptions};
use crate::api::RedisStatus;
use crate::call::text::{NAME, line};
use crate::call::{CallError, Payload};
use crate::config::{KeyValueConfig, RedisConfig, StoreConfig};
use crate::events::{EventLog, HostEvent, Origin};
use crate::ports::Caller;
use crate::registry::{RedisTopic, SourceKind};
use crate::stores::Store;
use link::Link;
use sources::{connection_of, topic_of};
use stores::RedisStore;

/// All connections to Redis.
pub struct Redis {
    links: BTreeMap<String, Arc<Link>>,
    stores: Vec<Arc<RedisStore>>,
    events: Arc<EventLog>,
    /// Cancelled when the host begins to stop: streams read no more.
    stopping: CancellationToken,
}

impl Redis {
    pub fn new(
        config: &RedisConfig,
        stores: &KeyValueConfig,
        node: RedisNode<'_>,
        events: Arc<EventLog>,
        stopping: CancellationToken,
    ) -> Redis {
        let link = |(name, connection): (&String, _)| {
            (name.clone(), Arc::new(Link::new(name, connection, node, events.clone())))
        };
        let links: BTreeMap<String, Arc<Link>> = config.0.iter().map(link).collect();
        let store = |(name, settings): (&String, &StoreConfig)| {
            let link = links.get(settings.redis.as_ref()?)?.clone();
            Some(Arc::new(RedisStore { name: name.clone(), prefix: settings.prefix(name), link }))
        };
        Redis { stores: stores.0.iter().filter_map(store).collect(), links, events, stopping }
    }

    /// The stores of keys and values that are on Redis servers, by name.
    pub fn stores(&self) -> impl Iterator<Item = (&str, Arc<dyn Store>)> {
        self.stores.iter().map(|store| (store.name.as_str(), store.clone() as Arc<dyn Store>))
    }

    /// Starts the connections of the stores, which modules may use as soon as they are loaded. They
    /// end when `end` is cancelled.
    pub fn start_stores(&self, runtime: &Handle, end: &CancellationToken) {
        for link in self.links.values() {
            if self.stores.iter().any(|store| Arc::ptr_eq(&store.link, link)) {
                runtime.spawn(end.clone().run_until_cancelled_owned(stores::run(link.clone())));
            }
        }
    }

    /// Starts the other connections on the runtime of the thread `links`. They end when `end` is
    /// cancelled, and streams read no more once the host begins to stop.
    pub fn start(self: &Arc<Self>, runtime: &Handle, subscriptions: Arc<Subscriptions>, end: CancellationToken) {
        let redis = self.clone();
        runtime.spawn(end.run_until_cancelled_owned(async move { redis.run(subscriptions).await }));
    }

    /// Follows the subscriptions of the modules.
    async fn run(self: Arc<Self>, subscriptions: Arc<Subscriptions>) {
        let tasks = TaskTracker::new();
        let channels: HashMap<&str, watch::Sender<Vec<Arc<Subscription>>>> =
            self.links.keys().map(|name| (name.as_str(), watch::Sender::default())).collect();
        let mut connections = tokio::task::JoinSet::new();
        for (name, link) in &self.links {
            connections.spawn(commands::run(link.clone()));
            if let Some(wanted) = channels.get(name.as_str()) {
                connections.spawn(receive::run(link.clone(), wanted.subscribe()));
            }
        }
        let mut streams: Vec<(Arc<Subscription>, CancellationToken)> = Vec::new();
        let mut reported = Vec::new();
        let mut changes = subscriptions.changes();
        loop {
            changes.mark_unchanged();
            let wanted = subscriptions.wanted(SourceKind::Redis);
            self.unknown(&wanted, &mut reported);
            let is_stream = |one: &Arc<Subscription>| matches!(topic_of(one), Some(RedisTopic::Stream { .. }));
            for (name, sender) in &channels {
                let of_link = |one: &&Arc<Subscription>| connection_of(one) == *name && !is_stream(one);
                let now: Vec<_> = wanted.iter().filter(of_link).cloned().collect();
                sender.send_if_modified(|before| {
                    let changed = !same(before, &now);
                    *before = now;
                    changed
                });
            }
            streams.retain(|(one, end)| {
                let stays = wanted.iter().any(|other| Arc::ptr_eq(one, other));
                if !stays {
                    end.cancel();
                }
                stays
            });
            for one in wanted.iter().filter(|one| is_stream(one)) {
                let Some(link) = self.links.get(connection_of(one)) else { continue };
                if !streams.iter().any(|(other, _)| Arc::ptr_eq(one, other)) {
                    let end = self.stopping.child_token();
                    connections.spawn(tasks.track_future(reader::run(link.clone(), one.clone(), end.clone())));
                    streams.push((one.clone(), end));
                }
            }
            // Those that have ended.
            while connections.try_join_next().is_some() {}
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Reports each connection that a subscription names and the settings do not have, once.
    fn unknown(&self, wanted: &[Arc<Subscription>], reported: &mut Vec<String>) {
        for one in wanted {
            let connection = connection_of(one);
            if self.links.contains_key(connection) || reported.iter().any(|other| other == connection) {
                continue;
            }
            reported.push(connection.to_owned());
            let message = format!(
                "{} subscribes to the connection `{}`, which `redis` in fanfare.json does not have: add it, and start the host again",
                one.label(),
                line(connection, NAME)
            );
            tracing::warn!("{message}");
            self.events.raise(HostEvent::Warning { origin: Origin::master(), message });
        }
    }

    fn not_found(&self, connection: &str) -> CallError {
        let name = line(connection, NAME);
        let known: Vec<&str> = self.links.keys().map(String::as_str).collect();
        CallError::NotFound(match known.is_empty() {
            true => format!("there is no connection `{name}`: add it to `redis` in fanfare.json"),
            false => {
                format!("there is no connection `{name}` in `redis` of fanfare.json; it has: {}", known.join(", "))
            }
        })
    }

    /// Queues a message of a module for a channel.
    pub fn publish(&self, from: &Caller, connection: &str, topic: &str, payload: Payload) -> Result<(), CallError> {
        let link = self.links.get(connection).ok_or_else(|| self.not_found(connection))?;
        link.outbox.push(&from.module, topic, payload)
    }

    /// Resolves when the messages that wait are published, as far as the servers are there.
    pub async fn flush(&self) {
        join_all(self.links.values().map(|link| link.outbox.flushed())).await;
    }

    pub fn status(&self) -> Vec<RedisStatus> {
        self.links.values().map(|link| link.status()).collect()
    }

    /// The counters of each connection, by its name.
    pub fn counts(&self) -> Vec<(String, Snapshot)> {
        self.links.iter().map(|(name, link)| (name.clone(), link.snapshot())).collect()
    }
}

/// Whether two lists have the same subscriptions, in any order.
fn same(one: &[Arc<Subscription>], other: &[Arc<Subscription>]) -> bool {
    one.len() == other.len() && one.iter().all(|a| other.iter().any(|b| Arc::ptr_eq(a, b)))
}
