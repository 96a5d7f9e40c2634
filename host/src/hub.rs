//! The hub: topics, their histories, and the queues from publishers to connected clients.
//!
//! A message goes from its publisher into the inbox of each worker with clients of its topic. One
//! task per worker, the fan-out, owns all clients there. It moves the message into their queues and
//! lets them send. The hub knows neither sockets nor protocols: a connection is a [`Client`], a
//! message is a [`Message`].
//!
//! The hub also keeps the log of the event service, [`ServiceLog`].

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::config::{HistoryConfig, HubConfig, QueueConfig, SseConfig};
use crate::events::EventLog;

mod chunk;
mod client;
mod connections;
mod counters;
mod delivery;
mod eviction;
mod fanout;
mod frame;
mod ids;
mod inbox;
mod message;
mod namespace;
mod outbox;
mod ring;
mod service_log;
mod shards;
mod slow;
mod sync;
mod task;
#[cfg(test)]
mod tests;
mod topic;
mod work;

#[cfg(test)]
pub use chunk::text_of;
pub use chunk::{LAST_CHUNK, chunk};
pub use client::{Client, Gone};
pub use counters::Counters;
#[cfg(test)]
pub use frame::FRAME;
pub use frame::{Form, Memory};
pub use message::{
    Encoding, HistoryLimits, HubError, Limits, Message, Notice, Position, QueueLimits, Reach, Resume, SlowReason,
    TopicSettings,
};
pub use outbox::Outbox;
pub use service_log::{LogItem, LogReader, Logged, ServiceLog};
pub use shards::Place;
pub use task::FanoutTask;

use fanout::Fanout;
use inbox::{INBOX, Inbox};
use namespace::Namespace;

/// The parts of a map of topics.
#[cfg(test)]
const SHARDS: u32 = shards::SHARDS as u32;

/// The live streams of a node.
pub struct Hub {
    /// The keys of server-sent events.
    pub streams: Topics,
    events: Arc<EventLog>,
}

impl Hub {
    /// `streams` are the settings of the stream keys.
    pub fn new(config: &HubConfig, streams: TopicSettings, workers: u32, events: Arc<EventLog>) -> Arc<Hub> {
        Arc::new(Hub { streams: topics(config, streams, workers, INBOX), events })
    }

    /// Returns the task that serves the connections of a worker, which must run on its thread.
    /// `None` if there is no such worker.
    pub fn fanout(&self, worker: u32) -> Option<FanoutTask> {
        let namespace = self.streams.0.clone();
        let fanout = Fanout::new(&namespace, worker)?;
        Some(FanoutTask::new(fanout, worker, namespace, self.events.clone()))
    }
}

fn topics(config: &HubConfig, settings: TopicSettings, workers: u32, inbox: usize) -> Topics {
    let memory = Arc::new(Memory::new(config.history, config.queued));
    let inboxes: Arc<[_]> = (0..workers).map(|_| Arc::new(Inbox::new(inbox, config.queued))).collect();
    Topics(Arc::new(Namespace::new(epoch(), config.topics, settings, inboxes, memory, Arc::default())))
}

impl TopicSettings {
    /// The settings of stream keys. `idle_timeout` is `http.idleTimeout`.
    pub fn new(config: &SseConfig, idle_timeout: Duration) -> TopicSettings {
        let HistoryConfig { count, age, bytes } = config.history;
        let QueueConfig { events, bytes: waiting } = config.queue;
        TopicSettings {
            history: HistoryLimits { count: count as usize, age, bytes },
            queue: QueueLimits { events: events as usize, bytes: waiting },
            ping: config.ping_interval,
            idle_timeout,
        }
    }
}

/// Differs for each start of the host, so that no client mistakes a position of an earlier start.
fn epoch() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let random = std::hash::RandomState::new().build_hasher().finish();
    (u64::try_from(since.as_millis()).unwrap_or_default() << 16) | (random & 0xffff)
}

/// Topics of one kind. Cloning is cheap.
#[derive(Clone)]
pub struct Topics(Arc<Namespace>);

impl Topics {
    /// Publishes to one topic. Returns the number of connections that the message is queued for.
    pub fn publish(&self, topic: &str, message: Arc<dyn Message>, reach: Reach) -> u32 {
        self.0.publish(topic, message, reach)
    }

    /// Publishes to all connections. Returns their number.
    pub fn publish_all(&self, message: Arc<dyn Message>, reach: Reach) -> u32 {
        self.0.publish_all(message, reach)
    }

    /// Ends the connections of a topic once what is queued was sent. Returns how many.
    pub fn close(&self, topic: &str, reach: Reach) -> u32 {
        self.0.close(topic, reach)
    }

    /// Ends all connections once what is queued was sent. Returns how many.
    pub fn close_all(&self, reach: Reach) -> u32 {
        self.0.close_all(reach)
    }

    /// Returns the number of open connections of a topic, or of all.
    pub fn count(&self, topic: Option<&str>) -> u32 {
        self.0.count(topic)
    }

    /// Counts a connection before its client gets a response, or rejects it.
    pub fn reserve(&self, topic: &str, limits: Limits) -> Result<Place, HubError> {
        self.0.reserve(topic, limits)
    }

    /// Gives a connection to the fan-out of its worker. The place counts until the connection ends.
    pub fn attach(&self, place: Place, worker: u32, resume: Option<Resume>, client: Box<dyn Client>) {
        self.0.attach(place, worker, resume.as_ref(), client);
    }

    /// Returns the position of the last message.
    #[cfg(test)]
    pub fn position(&self) -> Position {
        self.0.position()
    }

    pub fn counters(&self) -> &Counters {
        &self.0.counters
    }

    pub fn memory(&self) -> &Memory {
        &self.0.memory
    }

    /// The number of topics.
    pub fn topics(&self) -> u32 {
        self.0.shards.topics()
    }

    /// The number of topics without connections that made room for others.
    pub fn evicted_topics(&self) -> u64 {
        self.0.shards.evicted.load(std::sync::atomic::Ordering::Relaxed)
    }

    pub fn max_topics(&self) -> u32 {
        self.0.shards.max_topics()
    }

    /// The number of messages that did not fit into an inbox.
    pub fn inbox_overflows(&self) -> u64 {
        self.0.inboxes.iter().map(|inbox| inbox.dropped.load(std::sync::atomic::Ordering::Relaxed)).sum()
    }
}
