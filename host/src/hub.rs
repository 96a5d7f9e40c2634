//! The hub: topics, their histories, and the queues from publishers to connected clients.
//!
//! A message goes from its publisher into the inbox of each worker with clients of its topic. One
//! task per worker, the fan-out, owns all clients there. It moves the message into their queues,
//! lets them send, and reads what they send. The hub knows neither sockets nor protocols: a
//! connection is a [`Client`], a message is a [`Message`].
//!
//! There are two kinds of topics: the keys of server-sent events, and the sessions of WebSockets. A
//! message of a channel goes to the topics of the sessions that are subscribed.
//!
//! The hub also keeps the log of the event service, [`ServiceLog`].
//!
//! - `namespace` publishes messages, and attaches and closes connections; `eviction` shrinks
//!   histories to `hub.history`
//! - `shards` is the map of topics; `topic` is one of them: its history (`ring`) and its members in
//!   each worker, under one lock
//! - `frame` is a message with its number, encoded once, as a chunk of HTTP/1.1. The text for other
//!   clients is a part of the same bytes
//! - `inbox` is the bounded queue from publishers to one worker, with the wakers of its connections
//! - `fanout` moves messages from the inbox to the queues (`outbox`) of the connections of a worker
//!   (`connections`); `work` is the item in hand, `delivery` does what concerns one connection, and
//!   `task` runs the turns on the thread of the worker
//! - `client` is the trait of a connection: a socket, an HTTP/2 stream or a WebSocket
//! - `sessions` and `channels` are what connected clients share

use std::sync::Arc;
use std::time::Duration;

use crate::config::{HistoryConfig, HubConfig, QueueConfig, SseConfig, WebSocketConfig};
use crate::events::EventLog;

mod capacity;
mod channels;
mod chunk;
mod client;
mod connections;
mod counters;
mod delivery;
mod driver;
mod epoch;
mod eviction;
mod fanout;
mod frame;
mod histories;
mod ids;
mod inbox;
mod message;
mod namespace;
mod outbox;
#[cfg(any(test, fuzzing))]
#[allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
mod resuming;
mod ring;
mod service_log;
mod sessions;
mod shards;
mod slow;
mod sync;
mod task;
#[cfg(test)]
mod tests;
mod topic;
mod topics;
mod work;

#[cfg(test)]
pub use channels::ChannelInfo;
pub use channels::{
    Announced, Assigned, CROWD, Change, ChannelError, ChannelListener, Channels, EncodeChannel, INTERVAL, Listening,
    MemberReport, Mended, Placed, Published, ReadHistory, Written, list_as_json,
};
#[cfg(test)]
pub use chunk::text_of;
pub use chunk::{LAST_CHUNK, chunk};
pub use client::{Client, Gone, Lost, Received};
#[cfg(test)]
pub use frame::FRAME;
pub use frame::{Form, Memory};
pub use message::{
    ClientKind, Encoding, HistoryLimits, HubError, Limits, Message, Notice, Pinged, Position, QueueLimits, Reach,
    Resume, SlowReason, TopicSettings,
};
pub use outbox::Outbox;
#[cfg(any(test, fuzzing))]
pub use resuming::Resumable;
pub use service_log::{LogItem, LogReader, Logged, ServiceLog};
pub use sessions::{BindError, Claims, JoinError, NewSession, Session, Sessions, SocketName};
pub use task::FanoutTask;
pub use topics::Topics;

use epoch::epoch;
use fanout::Fanout;
use inbox::{INBOX, Inbox};
use namespace::{Inboxes, Namespace};

/// The most topics of sessions. Each client has one, and their number has a lower maximum.
const SESSIONS: u32 = 1_000_000;

/// The most subscriptions of all sessions to channels. Each costs about 500 bytes, and as many
/// again while the route of its channel waits to be told that it has ended.
const SUBSCRIPTIONS: u32 = 1_000_000;

/// The clients of a node.
pub struct Hub {
    /// The keys of server-sent events.
    pub streams: Topics,
    /// The clients with a session.
    pub sessions: Arc<Sessions>,
    pub channels: Arc<Channels>,
    events: Arc<EventLog>,
}

/// The settings of the sessions.
#[derive(Clone)]
pub struct SessionSettings {
    pub topics: TopicSettings,
    /// `node.id`.
    pub node: String,
    /// `websocket.sessionSize`.
    pub max_values: u64,
    /// `websocket.socketChannelLimit`.
    pub max_channels: u32,
    /// Encodes the messages of channels.
    pub encoder: Arc<dyn EncodeChannel>,
}

impl Hub {
    /// `streams` are the settings of the stream keys.
    pub fn new(
        config: &HubConfig,
        streams: TopicSettings,
        sessions: SessionSettings,
        workers: u32,
        events: Arc<EventLog>,
    ) -> Arc<Hub> {
        let memory = Arc::new(Memory::new(config.history, config.queued));
        let inboxes =
            || -> Vec<Arc<Inbox>> { (0..workers).map(|_| Arc::new(Inbox::new(INBOX, config.queued))).collect() };
        let (of_streams, of_sessions) = (inboxes(), inboxes());
        let all: Arc<[_]> = of_streams.iter().chain(&of_sessions).cloned().collect();
        let topics = |max, settings, inboxes: Vec<_>| {
            let inboxes = Inboxes { own: inboxes.into(), all: all.clone() };
            Topics::new(Namespace::new(epoch(), max, settings, inboxes, memory.clone(), Arc::default()))
        };
        let streams = topics(config.topics, streams, of_streams);
        let SessionSettings { topics: settings, node, max_values, max_channels, encoder } = sessions;
        let topics = topics(SESSIONS, settings, of_sessions);
        let namespace = topics.namespace.clone();
        let channels = Channels::new(epoch(), config.topics, max_channels, SUBSCRIPTIONS, namespace, encoder);
        let sessions = Arc::new(Sessions::new(topics, &node, max_values, channels.clone()));
        Arc::new(Hub { streams, sessions, channels, events })
    }

    /// Returns the tasks that serve the connections of a worker, which must run on its thread. None
    /// if there is no such worker.
    pub fn fanouts(&self, worker: u32) -> impl Iterator<Item = FanoutTask> {
        let channels = Some(self.channels.clone());
        let (streams, sessions) = (self.streams.namespace.clone(), self.sessions.topics.namespace.clone());
        let events = self.events.clone();
        [(streams, None), (sessions, channels)].into_iter().filter_map(move |(namespace, channels)| {
            let fanout = Fanout::new(&namespace, worker)?;
            Some(FanoutTask::new(fanout, worker, namespace, channels, events.clone()))
        })
    }
}

impl TopicSettings {
    /// The settings of stream keys. `idle_timeout` is `http.idleTimeout`.
    pub fn new(config: &SseConfig, idle_timeout: Duration) -> TopicSettings {
        let HistoryConfig { count, age, bytes } = config.history;
        let QueueConfig { events, bytes: waiting } = config.queue;
        TopicSettings {
            kind: ClientKind::Sse,
            history: HistoryLimits { count: count as usize, age, bytes },
            queue: QueueLimits { events: events as usize, bytes: waiting },
            ping: config.ping_interval,
            pinged: Pinged::Quiet,
            silence: Duration::ZERO,
            message: Duration::ZERO,
            idle_timeout,
            drain: Duration::ZERO,
        }
    }

    /// The settings of sessions. `idle_timeout` is `http.idleTimeout`.
    pub fn of_sessions(config: &WebSocketConfig, idle_timeout: Duration, drain: Duration) -> TopicSettings {
        let QueueConfig { events, bytes } = config.queue;
        TopicSettings {
            kind: ClientKind::WebSocket,
            history: HistoryLimits::OFF,
            queue: QueueLimits { events: events as usize, bytes },
            ping: config.ping_interval,
            pinged: Pinged::All,
            silence: config.ping_timeout,
            message: config.message_timeout,
            idle_timeout,
            drain,
        }
    }
}
