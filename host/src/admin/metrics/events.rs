//! Metrics of the event service, and of the connection to that of another process.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::metrics::MetricType::Counter;

use super::hub::member;
use super::writer::Writer;
use crate::triggers::events::{EventService, ServiceLink};

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

pub(super) struct Link(pub Arc<ServiceLink>);

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("link")
    }
}

impl Collector for Link {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let (link, counters) = (&self.0, &self.0.counters);
        let read = |counter: &AtomicU64| counter.load(Relaxed);
        let (waiting, bytes) = link.waiting();
        writer.gauge("fanfare_events_link_up", "Whether events.connect is connected", link.is_up().into())?;
        writer.gauge("fanfare_events_link_waiting", "Events that wait for the service", waiting as u64)?;
        writer.gauge("fanfare_events_link_waiting_bytes", "Bytes of the events that wait for the service", bytes)?;
        let help = "Events of other processes that the service has sent";
        writer.counter("fanfare_events_link_received", help, read(&counters.received))?;
        let help = "Events of this node that the service has accepted";
        writer.counter("fanfare_events_link_sent", help, read(&counters.sent))?;
        let help = "Events of this node that the service has rejected";
        writer.counter("fanfare_events_link_rejected", help, read(&counters.rejected))?;
        let help = "Events of this node that did not go out: the service was away, or the queue full";
        writer.counter("fanfare_events_link_lost", help, read(&counters.lost))?;
        let help = "Times that the service could not say what this node has missed";
        writer.counter("fanfare_events_link_gaps", help, read(&counters.gaps))
    }
}
