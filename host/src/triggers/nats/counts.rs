//! The counters of NATS.

use prometheus_client::metrics::counter::Counter;

#[derive(Debug, Default)]
pub struct Counts {
    /// Messages that subscriptions got.
    pub received: Counter,
    /// Messages that were too large.
    pub oversized: Counter,
    /// Messages that the connection has accepted.
    pub published: Counter,
    /// Messages that guests could not publish.
    pub refused: Counter,
    /// Messages of JetStream that were acknowledged.
    pub acknowledged: Counter,
    /// Messages of JetStream that came again.
    pub redelivered: Counter,
    /// Messages of JetStream that failed too often.
    pub given_up: Counter,
}

impl Counts {
    pub fn snapshot(&self) -> Vec<(&'static str, &'static str, u64)> {
        vec![
            ("fanfare_nats_received", "Messages that subscriptions got from NATS", self.received.get()),
            ("fanfare_nats_oversized", "Messages of NATS that were too large", self.oversized.get()),
            ("fanfare_nats_published", "Messages of modules for NATS", self.published.get()),
            ("fanfare_nats_refused", "Messages that modules could not publish to NATS", self.refused.get()),
            ("fanfare_nats_acknowledged", "Messages of JetStream that were acknowledged", self.acknowledged.get()),
            ("fanfare_nats_redelivered", "Messages of JetStream that came again", self.redelivered.get()),
            ("fanfare_nats_given_up", "Messages of JetStream that failed too often", self.given_up.get()),
        ]
    }
}
