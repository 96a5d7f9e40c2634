//! Metrics of slots and their instances, and of the threads of isolates.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::writer::Writer;
use crate::isolate::{Isolate, Slot};

pub(super) struct Instances {
    pub slots: Vec<Arc<Slot>>,
    pub isolates: Vec<Arc<Isolate>>,
}

impl fmt::Debug for Instances {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} slots", self.slots.len())
    }
}

/// Encodes a metric of one slot.
type SlotMetric = fn(&Slot, MetricEncoder<'_>) -> fmt::Result;

impl Collector for Instances {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let metrics: [(&str, &str, _, SlotMetric); 12] = [
            ("fanfare_restarts", "Restarts of the instance", Counter, |slot, encoder| {
                slot.stats.restarts.encode(encoder)
            }),
            ("fanfare_kills", "Instances that a kill replaced", Counter, |slot, encoder| {
                slot.stats.kills.encode(encoder)
            }),
            (
                "fanfare_instance_memory_bytes",
                "Linear memory of the instances, those that drain too",
                Gauge,
                |slot, encoder| slot.stats.memory.encode(encoder),
            ),
            (
                "fanfare_log_lines_dropped",
                "Log lines dropped because the module logs faster than limits.logRate",
                Counter,
                |slot, encoder| slot.stats.dropped_lines.encode(encoder),
            ),
            (
                "fanfare_turns_full",
                "Turns of the instance that ended because isolate.turnCalls calls had started",
                Counter,
                |slot, encoder| slot.stats.full_turns.encode(encoder),
            ),
            (
                "fanfare_hook_events_dropped",
                "Host events dropped because limits.mailbox of them waited for the module's hooks",
                Counter,
                |slot, encoder| slot.stats.dropped_events.encode(encoder),
            ),
            ("fanfare_calls_in_flight", "Running calls", Gauge, |slot, encoder| slot.stats.in_flight.encode(encoder)),
            (
                "fanfare_responses_streaming",
                "Responses of wasi:http components whose bodies have not ended",
                Gauge,
                |slot, encoder| slot.stats.streaming.encode(encoder),
            ),
            (
                "fanfare_calls_leaked",
                "Calls that still run after their deadline and limits.abandonAfter",
                Gauge,
                |slot, encoder| slot.stats.leaked.encode(encoder),
            ),
            ("fanfare_mailbox_calls", "Calls that wait in the mailbox", Gauge, |slot, mut encoder| {
                encoder.encode_gauge(&(slot.mailbox.waiting().0 as i64))
            }),
            ("fanfare_mailbox_broadcasts", "Broadcasts that wait in the mailbox", Gauge, |slot, mut encoder| {
                encoder.encode_gauge(&(slot.mailbox.waiting().1 as i64))
            }),
            (
                "fanfare_slot_ready",
                "Whether the module is ready for calls in this isolate",
                Gauge,
                |slot, mut encoder| encoder.encode_gauge(&i64::from(slot.is_ready())),
            ),
        ];
        for (name, help, kind, metric) in metrics {
            let members = self.slots.iter().map(|slot| {
                let labels = [("module", slot.module.to_string()), ("isolate", slot.isolate.to_string())];
                (labels, move |encoder: MetricEncoder<'_>| metric(slot, encoder))
            });
            writer.family(name, help, kind, members)?;
        }
        let replaced = self.slots.iter().flat_map(|slot| {
            let counters = [("leaked", &slot.stats.replaced_leaked), ("memory", &slot.stats.replaced_memory)];
            counters.map(|(reason, counter)| {
                let labels = [
                    ("module", slot.module.to_string()),
                    ("isolate", slot.isolate.to_string()),
                    ("reason", reason.to_owned()),
                ];
                (labels, |encoder: MetricEncoder<'_>| counter.encode(encoder))
            })
        });
        let help = "Instances replaced because of leaked calls, or because their memory almost reached limits.memory";
        writer.family("fanfare_replacements", help, Counter, replaced)?;
        let blocked = self.isolates.iter().map(|isolate| {
            let is_blocked = i64::from(isolate.heartbeat.is_blocked());
            let labels = [("isolate", isolate.id.to_string())];
            (labels, move |mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&is_blocked))
        });
        let help = "Whether the isolate's thread has been blocked for isolate.blockedAfter";
        writer.family("fanfare_isolate_blocked", help, Gauge, blocked)
    }
}
