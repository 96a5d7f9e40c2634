//! The counters of WebSockets, for metrics.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The codes with which the host closes WebSockets, as metrics name them. Others count as `other`.
const CODES: [(u16, &str); 12] = [
    (1000, "1000"),
    (1001, "1001"),
    (1002, "1002"),
    (1007, "1007"),
    (1008, "1008"),
    (1009, "1009"),
    (1013, "1013"),
    (4001, "4001"),
    (4005, "4005"),
    (4008, "4008"),
    (4009, "4009"),
    (4010, "4010"),
];

#[derive(Debug, Default)]
pub struct Counters {
    /// WebSockets that were opened.
    pub opened: AtomicU64,
    /// Requests for a WebSocket from an origin that is not in `websocket.origins`.
    pub refused_origins: AtomicU64,
    /// Requests for a WebSocket that a hook refused.
    pub refused_hooks: AtomicU64,
    /// Tokens of clients that were not accepted.
    pub refused_tokens: AtomicU64,
    /// Messages of clients.
    pub messages: AtomicU64,
    /// Messages of clients whose call failed.
    pub failed: AtomicU64,
    /// How often reading stopped because of `websocket.inFlight`.
    pub paused: AtomicU64,
    closed: [AtomicU64; CODES.len()],
    closed_otherwise: AtomicU64,
}

impl Counters {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Relaxed);
    }

    /// Counts a WebSocket that the host has closed with a code.
    pub(super) fn count_closed(&self, code: u16) {
        let index = CODES.iter().position(|(known, _)| *known == code);
        Counters::count(index.and_then(|index| self.closed.get(index)).unwrap_or(&self.closed_otherwise));
    }

    /// Returns how many WebSockets the host has closed with each code.
    pub fn closed(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let known = CODES.iter().zip(&self.closed).map(|((_, name), count)| (*name, count.load(Relaxed)));
        known.chain([("other", self.closed_otherwise.load(Relaxed))])
    }
}
