//! The service: its limits, and what its connections share.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::access::Token;
use super::counters::Counters;
use super::rate::Rate;
use super::repeats::Repeats;
use crate::api::{EventServiceLimits, EventServiceStatus};
use crate::call::TopicKind;
use crate::config::EventsConfig;
use crate::hub::ServiceLog;
use crate::ports::{Followed, Topics};

/// The most events of one request.
pub(super) const MAX_LIST: usize = 1_000;

/// The most connections beyond `events.maxConnections` that get a response, which says so.
const MAX_REFUSED: u32 = 64;

/// The event service of a node, or of a process of its own.
pub struct EventService {
    pub log: Arc<ServiceLog>,
    pub counters: Counters,
    pub(super) token: Option<Token>,
    pub(super) max_body: u64,
    pub(super) max_rate: u32,
    pub(super) ping: Duration,
    pub(super) rate: Rate,
    pub(super) repeats: Repeats,
    connections: Arc<AtomicU32>,
    max_connections: u32,
    refused: Arc<AtomicU32>,
    subscribers: Arc<AtomicU32>,
    max_subscribers: u32,
    pub(super) topics: Arc<dyn Topics>,
    /// The events of other nodes, which its log has, too.
    pub(super) followed: Box<dyn Followed>,
}

/// One of the connections, of the rejected ones, or of the subscribers. Dropping it frees the
/// place.
pub(super) struct ConnectionPlace(Arc<AtomicU32>);

impl EventService {
    pub fn new(
        config: &EventsConfig,
        token: Option<Token>,
        log: Arc<ServiceLog>,
        topics: Arc<dyn Topics>,
    ) -> EventService {
        EventService {
            log,
            counters: Counters::default(),
            token,
            max_body: config.max_body,
            max_rate: config.rate,
            ping: config.ping_interval,
            rate: Rate::new(config.rate, Instant::now()),
            repeats: Repeats::default(),
            connections: Arc::default(),
            max_connections: config.max_connections,
            refused: Arc::default(),
            subscribers: Arc::default(),
            max_subscribers: config.max_subscribers,
            followed: topics.follow(TopicKind::Event, ""),
            topics,
        }
    }

    /// Takes a place for a connection. `None` if all are taken.
    pub(super) fn enter(&self) -> Option<ConnectionPlace> {
        ConnectionPlace::take(&self.connections, self.max_connections)
    }

    /// Takes a place for a connection whose requests are rejected. `None` if all are taken.
    pub(super) fn refuse(&self) -> Option<ConnectionPlace> {
        ConnectionPlace::take(&self.refused, MAX_REFUSED)
    }

    /// Takes a place for a subscriber.
    pub(super) fn subscribe(&self) -> Option<ConnectionPlace> {
        let place = ConnectionPlace::take(&self.subscribers, self.max_subscribers);
        if place.is_none() {
            self.counters.refused_subscribers.fetch_add(1, Relaxed);
        }
        place
    }

    pub fn subscribers(&self) -> u32 {
        self.subscribers.load(Relaxed)
    }

    pub fn connections(&self) -> u32 {
        self.connections.load(Relaxed)
    }

    pub fn status(&self) -> EventServiceStatus {
        EventServiceStatus {
            service: "fanfare-events".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            position: self.log.position().to_string(),
            kept: self.log.kept().0 as u64,
            subscribers: self.subscribers().into(),
            emitted: self.counters.emitted.load(Relaxed),
            limits: EventServiceLimits {
                body: self.max_body,
                list: MAX_LIST as u64,
                rate: self.max_rate.into(),
                subscribers: self.max_subscribers.into(),
            },
        }
    }

    pub(super) fn max_connections(&self) -> u32 {
        self.max_connections
    }

    pub(super) fn max_subscribers(&self) -> u32 {
        self.max_subscribers
    }
}

impl ConnectionPlace {
    fn take(taken: &Arc<AtomicU32>, most: u32) -> Option<ConnectionPlace> {
        let more = taken.fetch_update(Relaxed, Relaxed, |count| (count < most).then_some(count + 1));
        more.is_ok().then(|| ConnectionPlace(taken.clone()))
    }
}

impl Drop for ConnectionPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
