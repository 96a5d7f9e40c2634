//! Metrics of the event service.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::Counter;

use super::hub::member;
use super::writer::Writer;
use crate::triggers::events::EventService;

pub(super) struct Events(pub Arc<EventService>);

impl fmt::Debug for Events {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("events")
    }
}

impl Collector for Events {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let (service, counters) = (&self.0, &self.0.counters);
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let (kept, bytes) = service.log.kept();
        writer.gauge("fanfare_events_kept", "Events that the node keeps", kept as u64)?;
        writer.gauge("fanfare_events_kept_bytes", "Memory of the events that the node keeps", bytes)?;
        writer.gauge("fanfare_events_connections", "Connections of the event service", service.connections().into())?;
        writer.gauge("fanfare_events_subscribers", "Subscribers of the event service", service.subscribers().into())?;
        let help = "Events that the node has logged, of all emitters";
        writer.counter("fanfare_events_logged", help, service.log.position().number)?;
        writer.counter("fanfare_events_emitted", "Events that clients emitted", read(&counters.emitted))?;
        let help = "Events sent to subscribers, once for each subscriber";
        writer.counter("fanfare_events_sent", help, read(&counters.sent))?;
        let help = "Requests that repeated an earlier one and emitted nothing";
        writer.counter("fanfare_events_repeated", help, read(&counters.repeated))?;
        let help = "Subscribers that were told that they missed events";
        writer.counter("fanfare_events_resets", help, read(&counters.resets))?;
        let refused = [
            ("access", &counters.denied),
            ("invalid", &counters.invalid),
            ("rate", &counters.refused_rate),
            ("connections", &counters.refused_connections),
            ("subscribers", &counters.refused_subscribers),
        ];
        let refused = refused.into_iter().map(|(reason, counter)| member("reason", reason, read(counter)));
        writer.family("fanfare_events_refused", "Requests that the event service rejected", Counter, refused)
    }
}
