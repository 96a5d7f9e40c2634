//! Metrics of schedules.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Histogram};

use super::writer::Writer;
use crate::triggers::schedules::{Counts, Key};

pub(super) struct Schedules(pub Vec<(Key, Counts)>);

impl fmt::Debug for Schedules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} schedules", self.0.len())
    }
}

fn labels(key: &Key) -> [(&'static str, String); 3] {
    let subdomain = key.subdomain.as_deref().unwrap_or_default();
    [("module", key.module.to_string()), ("schedule", key.name.to_string()), ("subdomain", subdomain.to_owned())]
}

impl Collector for Schedules {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let count = |count: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        };
        let runs = self.0.iter().flat_map(|(key, counts)| {
            counts.outcomes.iter().map(move |(outcome, ended)| {
                let [module, schedule, subdomain] = labels(key);
                ([module, schedule, subdomain, ("outcome", (*outcome).to_owned())], count(*ended))
            })
        });
        writer.family("fanfare_schedule_runs", "Completed runs of schedules, by outcome", Counter, runs)?;
        let skipped = self.0.iter().map(|(key, counts)| (labels(key), count(counts.skipped)));
        let help = "Runs of schedules that were skipped because earlier ones had not ended";
        writer.family("fanfare_schedule_skipped", help, Counter, skipped)?;
        let missed = self.0.iter().map(|(key, counts)| (labels(key), count(counts.missed)));
        let help = "Due times of schedules that the host noticed too late, or that no worker had the schedule for";
        writer.family("fanfare_schedule_missed", help, Counter, missed)?;
        type Of = fn(&Counts) -> u64;
        let durable: [(&str, &str, Of); 3] = [
            ("fanfare_schedule_made_up", "Runs of schedules that made up for missed due times", |counts| {
                counts.made_up
            }),
            ("fanfare_schedule_retried", "Attempts of runs of schedules after a failure", |counts| counts.retried),
            ("fanfare_schedule_given_up", "Runs of schedules that failed too often", |counts| counts.given_up),
        ];
        for (name, help, of) in durable {
            let all = self.0.iter().map(|(key, counts)| (labels(key), count(of(counts))));
            writer.family(name, help, Counter, all)?;
        }
        let lateness = self
            .0
            .iter()
            .map(|(key, counts)| (labels(key), |encoder: MetricEncoder<'_>| counts.lateness.encode(encoder)));
        let help = "Time from the due time of a run until it was queued";
        writer.family("fanfare_schedule_lateness_seconds", help, Histogram, lateness)?;
        let run_time = self
            .0
            .iter()
            .map(|(key, counts)| (labels(key), |encoder: MetricEncoder<'_>| counts.run_time.encode(encoder)));
        let help = "Time from queueing a run until its end";
        writer.family("fanfare_schedule_run_seconds", help, Histogram, run_time)
    }
}
