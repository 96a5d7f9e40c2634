//! Counts the requests of guests to other servers, on the whole node.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::error::RequestError;

/// The counts of the node.
#[derive(Debug, Default)]
pub struct Stats {
    requests: AtomicU64,
    failed: AtomicU64,
    denied: AtomicU64,
    overloaded: AtomicU64,
    too_large: AtomicU64,
    timeouts: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) connections: AtomicU64,
}

/// The counts at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Snapshot {
    /// The responses that are not read to their end.
    pub open: u64,
    pub connections: u64,
    /// The requests by their end: `ok`, `denied`, `overloaded`, `too-large`, `timeout`, `failed`.
    pub requests: [(&'static str, u64); 6],
}

impl Stats {
    pub(super) fn count<T>(&self, sent: &Result<T, RequestError>) {
        let counter = match sent {
            Ok(_) => &self.requests,
            Err(RequestError::Denied(_) | RequestError::Private { .. }) => &self.denied,
            Err(RequestError::TooManyRequests | RequestError::TooManyConnections) => &self.overloaded,
            Err(RequestError::RequestTooLarge(_) | RequestError::ResponseTooLarge(_)) => &self.too_large,
            Err(RequestError::ConnectTimeout | RequestError::HeadTimeout | RequestError::BodyTimeout) => &self.timeouts,
            Err(_) => &self.failed,
        };
        counter.fetch_add(1, Relaxed);
    }

    pub fn snapshot(&self) -> Snapshot {
        let of = |counter: &AtomicU64| counter.load(Relaxed);
        Snapshot {
            open: of(&self.open),
            connections: of(&self.connections),
            requests: [
                ("ok", of(&self.requests)),
                ("denied", of(&self.denied)),
                ("overloaded", of(&self.overloaded)),
                ("too-large", of(&self.too_large)),
                ("timeout", of(&self.timeouts)),
                ("failed", of(&self.failed)),
            ],
        }
    }
}
