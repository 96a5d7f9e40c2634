//! What passes through the service, and how often each bound was reached.

use std::sync::atomic::AtomicU64;

/// The counters of an event service.
#[derive(Debug, Default)]
pub struct Counters {
    /// Events that clients have emitted.
    pub emitted: AtomicU64,
    /// Events that were sent to subscribers, once for each subscriber.
    pub sent: AtomicU64,
    /// Requests that repeated an earlier one, so that they emitted nothing.
    pub repeated: AtomicU64,
    /// Subscribers that could not resume, or were too slow, and were told so.
    pub resets: AtomicU64,
    /// Requests of web pages, and requests without the token.
    pub denied: AtomicU64,
    /// Requests with events that are invalid.
    pub invalid: AtomicU64,
    /// Requests beyond `events.rate`.
    pub refused_rate: AtomicU64,
    /// Requests on connections beyond `events.maxConnections`.
    pub refused_connections: AtomicU64,
    /// Subscribers beyond `events.maxSubscribers`.
    pub refused_subscribers: AtomicU64,
}
