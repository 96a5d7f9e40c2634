//! The counters of the cluster.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;

use crate::call::time;

/// The counters of one other node, since this node knows it.
#[derive(Debug, Default)]
pub(super) struct PeerCounts {
    pub(super) sent: AtomicU64,
    pub(super) received: AtomicU64,
    pub(super) in_flight: AtomicU64,
    answers: AtomicU64,
    micros: AtomicU64,
}

impl PeerCounts {
    /// An answer has arrived after this time.
    pub(super) fn answered(&self, after: Duration) {
        self.answers.fetch_add(1, Relaxed);
        self.micros.fetch_add(u64::try_from(after.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    /// The average time until an answer, in microseconds.
    pub(super) fn round_trip(&self) -> u64 {
        self.micros.load(Relaxed).checked_div(self.answers.load(Relaxed)).unwrap_or(0)
    }
}

/// The counters of the connection.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// How often the connection was lost.
    pub(super) downs: Counter,
    /// How often the queue of a subscription was full, so that a message was dropped.
    pub(super) slow: Counter,
    /// Broadcasts of other nodes that did not arrive.
    pub(super) missed: Counter,
    /// Messages of this node that were accepted and could not be sent.
    pub(super) unsent: Counter,
    /// Messages that `cluster.queue` had no room for.
    pub(super) refused: Counter,
    /// Nodes that did not answer a push.
    pub(super) silent: Counter,
    /// Calls beyond `cluster.maxWaiting`.
    pub(super) waiting_refused: Counter,
    /// Calls of other nodes beyond `cluster.maxServing`.
    pub(super) serving_refused: Counter,
    /// Requests to the bucket that failed.
    pub(super) bucket_failed: Counter,
    /// Messages that cannot be read.
    pub(super) malformed: Counter,
    /// Messages of clients that were sent to other nodes.
    pub(super) forwarded: Counter,
    /// Messages of clients for which no node was found.
    pub(super) unrouted: Counter,
    /// The second in which such a message was logged, since 1970.
    unrouted_logged: AtomicU64,
    /// Messages about topics that were sent to other nodes, and that could not be sent.
    pub(super) posts_sent: Counter,
    pub(super) posts_unsent: Counter,
    /// Messages about topics from other nodes, and those that did not arrive.
    pub(super) posts_received: Counter,
    pub(super) posts_missed: Counter,
    /// How often readers were told that they may have missed something.
    pub(super) posts_gaps: Counter,
}

/// The figures of the cluster at one time.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    pub up: bool,
    pub nodes: u64,
    /// Whether it accepts messages of channels that have their home here.
    pub sure: bool,
    pub queued_messages: u64,
    pub queued_bytes: u64,
    pub waiting: u64,
    pub serving: u64,
    /// The durable broadcasts that the stream does not have yet, and their bytes.
    pub durable: (u64, u64),
    /// Each counter with the name of its metric and its help.
    pub counters: Vec<(&'static str, &'static str, u64)>,
    pub peers: Vec<PeerSnapshot>,
}

/// The figures of one other node.
#[derive(Debug, Clone, Default)]
pub struct PeerSnapshot {
    pub node: String,
    pub sent: u64,
    pub received: u64,
    pub in_flight: u64,
    pub round_trip_micros: u64,
}

impl Counts {
    /// Whether no message without a node was logged in this second.
    pub(super) fn may_log_unrouted(&self) -> bool {
        let second = time::now() / 1_000;
        self.unrouted_logged.swap(second, Relaxed) != second
    }

    pub(super) fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        vec![
            ("fanfare_cluster_downs", "How often the connection to NATS was lost", self.downs.get()),
            (
                "fanfare_cluster_slow_consumers",
                "Messages that NATS delivered faster than the host read",
                self.slow.get(),
            ),
            ("fanfare_cluster_missed", "Broadcasts of other nodes that did not arrive", self.missed.get()),
            ("fanfare_cluster_unsent", "Messages for other nodes that could not be sent", self.unsent.get()),
            ("fanfare_cluster_refused", "Messages that cluster.queue had no room for", self.refused.get()),
            ("fanfare_cluster_silent", "Nodes that did not answer a push to clients", self.silent.get()),
            ("fanfare_cluster_waiting_refused", "Calls beyond cluster.maxWaiting", self.waiting_refused.get()),
            ("fanfare_cluster_serving_refused", "Calls beyond cluster.maxServing", self.serving_refused.get()),
            (
                "fanfare_cluster_bucket_failed",
                "Requests to the bucket in JetStream that failed",
                self.bucket_failed.get(),
            ),
            ("fanfare_cluster_malformed", "Messages of other nodes that cannot be read", self.malformed.get()),
            ("fanfare_cluster_forwarded", "Messages of clients that were sent to other nodes", self.forwarded.get()),
            ("fanfare_cluster_unrouted", "Messages of clients for which no node was found", self.unrouted.get()),
            ("fanfare_cluster_topics_sent", "Messages of topics sent for other nodes", self.posts_sent.get()),
            ("fanfare_cluster_topics_unsent", "Messages of topics that could not be sent", self.posts_unsent.get()),
            ("fanfare_cluster_topics_received", "Messages of topics from other nodes", self.posts_received.get()),
            (
                "fanfare_cluster_topics_missed",
                "Messages of topics from other nodes that did not arrive",
                self.posts_missed.get(),
            ),
            (
                "fanfare_cluster_topics_gaps",
                "How often readers were told that they may have missed messages of other nodes",
                self.posts_gaps.get(),
            ),
        ]
    }
}
