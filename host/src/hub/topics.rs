//! The topics of one kind, as the parts above use them.

use std::sync::Arc;

use super::client::Client;
use super::counters::Counters;
use super::frame::Memory;
#[cfg(test)]
use super::message::Position;
use super::message::{HubError, Limits, Message, Reach, Resume};
use super::namespace::{Addressee, Namespace};
use super::shards::Place;

/// Topics of one kind. Cloning is cheap.
#[derive(Clone)]
pub struct Topics {
    pub(super) namespace: Arc<Namespace>,
}

impl Topics {
    pub(super) fn new(namespace: Namespace) -> Topics {
        let namespace = Arc::new(namespace);
        if namespace.settings.history.is_on() {
            namespace.memory.add_histories(Arc::downgrade(&namespace) as _);
        }
        Topics { namespace }
    }

    /// Publishes to one topic. Returns the number of connections that the message is queued for.
    pub fn publish(&self, topic: &str, message: Arc<dyn Message>, reach: Reach) -> u32 {
        self.namespace.publish(topic, message, reach)
    }

    /// Publishes to all connections. Returns their number.
    pub fn publish_all(&self, message: Arc<dyn Message>, reach: Reach) -> u32 {
        self.namespace.publish_all(message, reach)
    }

    /// Publishes one message to several topics, each with its connections in one worker. No history
    /// keeps it. Returns the number of topics that it is queued for.
    pub fn publish_each(&self, to: &[Addressee], message: Arc<dyn Message>) -> u32 {
        self.namespace.publish_each(to, message)
    }

    /// Ends the connections of a topic once what is queued was sent. Returns how many.
    pub fn close(&self, topic: &str, reach: Reach) -> u32 {
        self.namespace.close(topic, reach)
    }

    /// Ends all connections once what is queued was sent. Returns how many.
    pub fn close_all(&self, reach: Reach) -> u32 {
        self.namespace.close_all(reach)
    }

    /// Returns the number of open connections of a topic, or of all.
    pub fn count(&self, topic: Option<&str>) -> u32 {
        self.namespace.count(topic)
    }

    /// Counts a connection before its client gets a response, or rejects it.
    pub fn reserve(&self, topic: &str, limits: Limits) -> Result<Place, HubError> {
        self.namespace.reserve(topic, limits)
    }

    /// Gives a connection to the fan-out of its worker. The place counts until the connection ends.
    pub fn attach(&self, place: Place, worker: u32, resume: Option<Resume>, client: Box<dyn Client>) {
        self.namespace.attach(place, worker, resume.as_ref(), client);
    }

    /// Skips a number, and returns it: positions before it differ from those after it.
    pub fn skip(&self) -> u64 {
        self.namespace.skip()
    }

    /// Returns the position of the last message.
    #[cfg(test)]
    pub fn position(&self) -> Position {
        self.namespace.position()
    }

    pub fn counters(&self) -> &Counters {
        &self.namespace.counters
    }

    pub fn memory(&self) -> &Memory {
        &self.namespace.memory
    }

    /// The number of topics.
    pub fn topics(&self) -> u32 {
        self.namespace.shards.parts.capacity.entries()
    }

    /// The number of topics without connections that made room for others.
    pub fn evicted_topics(&self) -> u64 {
        self.namespace.shards.parts.capacity.evicted()
    }

    pub fn max_topics(&self) -> u32 {
        self.namespace.shards.parts.capacity.max()
    }

    /// The number of messages that did not fit into an inbox.
    pub fn inbox_overflows(&self) -> u64 {
        self.namespace.inboxes.own.iter().map(|inbox| inbox.dropped.load(std::sync::atomic::Ordering::Relaxed)).sum()
    }
}
