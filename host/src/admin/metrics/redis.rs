//! Metrics of the connections to Redis.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::writer::Writer;
use crate::triggers::redis::Snapshot;

/// The connections, by name.
#[derive(Debug)]
pub(super) struct Redis(pub Vec<(String, Snapshot)>);

impl Collector for Redis {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let labels = |name: &String| [("connection", name.clone())];
        let gauge = |value: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
        };
        let count = |count: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        };
        let up = self.0.iter().map(|(name, snapshot)| (labels(name), gauge(snapshot.up.into())));
        writer.family("fanfare_redis_up", "Whether the host is connected to Redis", Gauge, up)?;
        let queued = self.0.iter().map(|(name, snapshot)| (labels(name), gauge(snapshot.queued_messages)));
        let help = "Messages that wait until they are published to Redis";
        writer.family("fanfare_redis_queued_messages", help, Gauge, queued)?;
        let bytes = self.0.iter().map(|(name, snapshot)| (labels(name), gauge(snapshot.queued_bytes)));
        let help = "Bytes of the messages that wait until they are published to Redis";
        writer.family("fanfare_redis_queued_bytes", help, Gauge, bytes)?;
        let Some((_, first)) = self.0.first() else { return Ok(()) };
        for (at, (metric, help, _)) in first.counters.iter().enumerate() {
            let members = self.0.iter().filter_map(|(name, snapshot)| {
                let (.., value) = snapshot.counters.get(at)?;
                Some((labels(name), count(*value)))
            });
            writer.family(metric, help, Counter, members)?;
        }
        Ok(())
    }
}
