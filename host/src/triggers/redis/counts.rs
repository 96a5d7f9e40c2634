//! The counters of a connection.

use prometheus_client::metrics::counter::Counter;

#[derive(Debug, Default)]
pub struct Counts {
    /// Messages of channels and entries of streams that subscriptions got.
    pub received: Counter,
    /// Messages that were too large.
    pub oversized: Counter,
    /// Messages that the server got.
    pub published: Counter,
    /// Messages that the server may not have got: it refused them, or was away.
    pub lost: Counter,
    /// Messages that guests could not queue.
    pub refused: Counter,
    /// Entries of streams that were acknowledged.
    pub acknowledged: Counter,
    /// Entries of streams that were claimed, from this host's previous process or from others.
    pub claimed: Counter,
    /// Entries of streams that failed too often.
    pub given_up: Counter,
    /// How often the connection was lost.
    pub downs: Counter,
}

/// The counters and figures of a connection at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub up: bool,
    pub queued_messages: u64,
    pub queued_bytes: u64,
    /// Each counter with the name of its metric and its help.
    pub counters: Vec<(&'static str, &'static str, u64)>,
}

impl Counts {
    pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        vec![
            ("fanfare_redis_received", "Messages that subscriptions got from Redis", self.received.get()),
            ("fanfare_redis_oversized", "Messages of Redis that were too large", self.oversized.get()),
            ("fanfare_redis_published", "Messages that Redis got", self.published.get()),
            ("fanfare_redis_lost", "Messages that Redis may not have got", self.lost.get()),
            ("fanfare_redis_refused", "Messages that guests could not queue for Redis", self.refused.get()),
            ("fanfare_redis_acknowledged", "Entries of Redis streams that were acknowledged", self.acknowledged.get()),
            ("fanfare_redis_claimed", "Entries of Redis streams that were delivered again", self.claimed.get()),
            ("fanfare_redis_given_up", "Entries of Redis streams that failed too often", self.given_up.get()),
            ("fanfare_redis_downs", "How often the connection to Redis was lost", self.downs.get()),
        ]
    }
}
