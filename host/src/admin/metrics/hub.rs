//! Metrics of the hub: each bound, and what passes through.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::Counter;

use super::writer::Writer;
use crate::hub::{Hub, SlowReason};

pub(super) struct Streams(pub Arc<Hub>);

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("hub")
    }
}

/// Returns a member of a family of counters.
pub(super) fn member(
    label: &'static str,
    value: &str,
    count: u64,
) -> ([(&'static str, String); 1], impl FnOnce(MetricEncoder<'_>) -> fmt::Result) {
    let encode = move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None);
    ([(label, value.to_owned())], encode)
}

impl Collector for Streams {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let streams = &self.0.streams;
        let (counters, memory) = (streams.counters(), streams.memory());
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        writer.gauge("fanfare_hub_connections", "Open live streams", streams.count(None).into())?;
        writer.gauge("fanfare_hub_topics", "Keys that have a history or readers", streams.topics().into())?;
        writer.gauge("fanfare_hub_topics_max", "hub.topics", streams.max_topics().into())?;
        writer.gauge("fanfare_hub_history_bytes", "Memory of the messages in histories", memory.history())?;
        writer.gauge("fanfare_hub_history_bytes_max", "hub.history", memory.max_history)?;
        let help = "Memory of the messages that wait for clients and are in no history";
        writer.gauge("fanfare_hub_queued_bytes", help, memory.queued())?;
        writer.gauge("fanfare_hub_queued_bytes_max", "hub.queued", memory.max_queued)?;
        writer.counter("fanfare_hub_published", "Messages published to live streams", read(&counters.published))?;
        let help = "Messages queued for a stream, once for each stream";
        writer.counter("fanfare_hub_delivered", help, read(&counters.delivered))?;
        let help = "Messages that histories dropped because of hub.history";
        writer.counter("fanfare_hub_evicted", help, read(&counters.evicted))?;
        let help = "Keys without readers whose history was dropped for new readers because of hub.topics";
        writer.counter("fanfare_hub_evicted_topics", help, streams.evicted_topics())?;
        let help = "Messages that the full inbox of a worker did not accept";
        writer.counter("fanfare_hub_inbox_overflow", help, streams.inbox_overflows())?;
        let slow = SlowReason::ALL.into_iter();
        let slow = slow.map(|reason| member("reason", reason.as_str(), counters.slow(reason)));
        writer.family("fanfare_hub_slow_clients", "Streams cut because their client is too slow", Counter, slow)?;
        let refused = [
            ("connections", &counters.refused_connections),
            ("connectionsPerKey", &counters.refused_per_topic),
            ("topics", &counters.refused_topics),
        ];
        let refused = refused.into_iter().map(|(bound, counter)| member("bound", bound, read(counter)));
        let help = "Streams, and keys of published messages, beyond a maximum";
        writer.family("fanfare_hub_refused", help, Counter, refused)
    }
}
