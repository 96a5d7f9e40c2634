//! The messages that a topic keeps for clients that return.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::frame::Frame;
use super::message::HistoryLimits;

/// The newest messages of a topic, in the order of their numbers.
#[derive(Default)]
pub struct Ring {
    entries: VecDeque<Entry>,
    bytes: u64,
    /// The highest number that the ring has dropped. A client that has received less has missed
    /// messages.
    dropped: u64,
    /// The highest number that it has dropped for other histories.
    evicted: u64,
}

struct Entry {
    frame: Arc<Frame>,
    at: Instant,
}

impl Ring {
    /// A ring of a topic that may have existed before. Its messages up to `dropped` are lost.
    pub fn new(dropped: u64) -> Ring {
        Ring { dropped, ..Ring::default() }
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Adds the newest message, and drops those that exceed the limits.
    pub fn push(&mut self, frame: Arc<Frame>, now: Instant, limits: &HistoryLimits) {
        self.bytes = self.bytes.saturating_add(frame.cost);
        self.entries.push_back(Entry { frame, at: now });
        self.trim(now, limits);
    }

    /// Drops the messages that exceed the limits.
    pub fn trim(&mut self, now: Instant, limits: &HistoryLimits) {
        while self.entries.len() > limits.count || self.bytes > limits.bytes {
            self.drop_oldest();
        }
        self.expire(now, limits);
    }

    /// Notes the number of a message that is not kept. The ring is empty.
    pub fn skip(&mut self, number: u64) {
        self.dropped = self.dropped.max(number);
    }

    /// Drops the messages that are too old.
    pub fn expire(&mut self, now: Instant, limits: &HistoryLimits) {
        let is_old = |entry: &Entry| now.saturating_duration_since(entry.at) > limits.age;
        while self.entries.front().is_some_and(is_old) {
            self.drop_oldest();
        }
    }

    /// Drops the oldest message and returns its bytes.
    pub fn drop_oldest(&mut self) -> u64 {
        let Some(Entry { frame, .. }) = self.entries.pop_front() else { return 0 };
        self.dropped = self.dropped.max(frame.number());
        self.bytes = self.bytes.saturating_sub(frame.cost);
        frame.leave_history();
        if self.entries.is_empty() {
            // A topic whose messages are gone should not keep memory.
            self.entries = VecDeque::new();
        }
        frame.cost
    }

    /// Drops the oldest message to make room for other histories.
    pub fn evict_oldest(&mut self) {
        self.drop_oldest();
        self.evicted = self.dropped;
    }

    /// Whether the last message that it has dropped made room for other histories.
    pub fn is_shrunk(&self) -> bool {
        self.evicted > 0 && self.evicted == self.dropped
    }

    /// Drops all messages.
    pub fn clear(&mut self) {
        while !self.is_empty() {
            self.drop_oldest();
        }
    }

    /// The number of the newest message, or of the last one that was dropped.
    pub fn newest(&self) -> u64 {
        self.entries.back().map_or(self.dropped, |entry| entry.frame.number())
    }

    /// The number of the oldest message.
    pub fn oldest(&self) -> Option<u64> {
        self.entries.front().map(|entry| entry.frame.number())
    }

    /// The messages after a number, in order.
    pub fn after(&self, number: u64) -> impl DoubleEndedIterator<Item = &Arc<Frame>> {
        let start = self.entries.partition_point(|entry| entry.frame.number() <= number);
        self.entries.range(start..).map(|entry| &entry.frame)
    }

    /// The number of the newest message with an id of its publisher.
    pub fn find_own_id(&self, id: &str) -> Option<u64> {
        let mut newest_first = self.entries.iter().rev().map(|entry| &entry.frame);
        newest_first.find(|frame| frame.own_id() == Some(id)).map(|frame| frame.number())
    }
}
