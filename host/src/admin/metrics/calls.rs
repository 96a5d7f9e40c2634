//! Metrics of calls: outcomes, durations, and whose fault failures were.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType::{Counter, Histogram};

use super::writer::Writer;
use crate::call::TriggerKind;
use crate::isolate::Slot;

pub(super) struct Calls(pub Vec<Arc<Slot>>);

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calls of {} slots", self.0.len())
    }
}

impl Collector for Calls {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let triggers = || self.0.iter().flat_map(|slot| TriggerKind::ALL.map(|trigger| (slot, trigger)));
        let labels = |slot: &Slot, trigger: TriggerKind| {
            [
                ("module", slot.module.to_string()),
                ("isolate", slot.isolate.to_string()),
                ("trigger", trigger.as_str().to_owned()),
            ]
        };
        let ended = triggers().flat_map(|(slot, trigger)| {
            slot.stats.trigger(trigger).outcomes().map(move |(outcome, counter)| {
                let [module, isolate, trigger] = labels(slot, trigger);
                let labels = [module, isolate, trigger, ("outcome", outcome.to_owned())];
                (labels, |encoder: MetricEncoder<'_>| counter.encode(encoder))
            })
        });
        writer.family("fanfare_calls", "Completed calls, by outcome", Counter, ended)?;
        let durations = triggers().filter_map(|(slot, trigger)| {
            let histogram = slot.stats.trigger(trigger).duration()?;
            Some((labels(slot, trigger), |encoder: MetricEncoder<'_>| histogram.encode(encoder)))
        });
        let help = "Time from creating a call until its caller gets the outcome";
        writer.family("fanfare_call_duration_seconds", help, Histogram, durations)?;
        let faults = self.0.iter().flat_map(|slot| {
            slot.stats.faults().map(move |(fault, counter)| {
                let labels = [
                    ("module", slot.module.to_string()),
                    ("isolate", slot.isolate.to_string()),
                    ("fault", fault.to_owned()),
                ];
                (labels, |encoder: MetricEncoder<'_>| counter.encode(encoder))
            })
        });
        writer.family("fanfare_call_faults", "Failed calls, by whose fault it was", Counter, faults)
    }
}
