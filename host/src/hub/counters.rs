//! The counters of the hub, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::message::SlowReason;

#[derive(Debug, Default)]
pub struct Counters {
    /// Messages that were published.
    pub published: AtomicU64,
    /// Messages that were added to the queue of a connection, once for each connection.
    pub delivered: AtomicU64,
    /// Connections that were cut because they are too slow, in the order of [`SlowReason::ALL`].
    slow: [AtomicU64; SlowReason::ALL.len()],
    /// Connections and topics beyond a maximum.
    pub refused_connections: AtomicU64,
    pub refused_per_topic: AtomicU64,
    pub refused_topics: AtomicU64,
    /// Messages that histories dropped because of `hub.history`.
    pub evicted: AtomicU64,
    /// Messages that the homes of channels have sent again, and how often some could not be had.
    pub mended: AtomicU64,
    pub gaps: AtomicU64,
}

impl Counters {
    pub fn add(counter: &AtomicU64, count: u64) {
        counter.fetch_add(count, Relaxed);
    }

    pub fn count_slow(&self, reason: SlowReason) {
        if let Some(counter) = self.slow.get(reason as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub fn slow(&self, reason: SlowReason) -> u64 {
        self.slow.get(reason as usize).map_or(0, |counter| counter.load(Relaxed))
    }
}
