//! Metrics of subscriptions.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::writer::Writer;
use crate::triggers::subscriptions::{Counts, Key, Subscription};

pub(super) struct Subscriptions(Vec<(Labels, Counts, (usize, u64), u64)>);

type Labels = [(&'static str, String); 3];

impl Subscriptions {
    pub fn of(all: Vec<(Key, Arc<Subscription>)>) -> Subscriptions {
        let read = |(key, one): (Key, Arc<Subscription>)| (labels(&key), one.counts(), one.waiting(), one.max_bytes());
        Subscriptions(all.into_iter().map(read).collect())
    }
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} subscriptions", self.0.len())
    }
}

/// `isolate` is empty for a subscription of the manifest.
fn labels(key: &Key) -> Labels {
    let isolate = key.isolate.map(|isolate| isolate.to_string()).unwrap_or_default();
    [("module", key.module.to_string()), ("subscription", key.name.to_string()), ("isolate", isolate)]
}

impl Collector for Subscriptions {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let count = |count: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        };
        let gauge = |value: i64| move |mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&value);
        let handled = self.0.iter().flat_map(|(labels, counts, ..)| {
            counts.outcomes.iter().map(move |(outcome, handled)| {
                let [module, subscription, isolate] = labels.clone();
                ([module, subscription, isolate, ("outcome", (*outcome).to_owned())], count(*handled))
            })
        });
        let help = "Messages of subscriptions that were handled, by outcome";
        writer.family("fanfare_subscription_messages", help, Counter, handled)?;
        let dropped = self.0.iter().map(|(labels, counts, ..)| (labels.clone(), count(counts.dropped)));
        let help = "Messages of subscriptions that were dropped because a queue was full or the subscription changed";
        writer.family("fanfare_subscription_dropped", help, Counter, dropped)?;
        let gaps = self.0.iter().map(|(labels, counts, ..)| (labels.clone(), count(counts.gaps)));
        let help = "Times that the source of a subscription has lost messages";
        writer.family("fanfare_subscription_gaps", help, Counter, gaps)?;
        let missed = self.0.iter().map(|(labels, counts, ..)| (labels.clone(), count(counts.missed)));
        let help = "Messages that the source of a subscription has lost, as far as it knows";
        writer.family("fanfare_subscription_missed", help, Counter, missed)?;
        let waiting = self
            .0
            .iter()
            .map(|(labels, _, (messages, _), _)| (labels.clone(), gauge(i64::try_from(*messages).unwrap_or(i64::MAX))));
        writer.family("fanfare_subscription_waiting", "Messages of subscriptions that wait", Gauge, waiting)?;
        let bytes = self
            .0
            .iter()
            .map(|(labels, _, (_, bytes), _)| (labels.clone(), gauge(i64::try_from(*bytes).unwrap_or(i64::MAX))));
        let help = "Bytes of the messages of subscriptions that wait";
        writer.family("fanfare_subscription_queued_bytes", help, Gauge, bytes)?;
        let most =
            self.0.iter().map(|(labels, .., most)| (labels.clone(), gauge(i64::try_from(*most).unwrap_or(i64::MAX))));
        let help = "The most bytes of the messages of subscriptions that wait (queue.bytes of all queues)";
        writer.family("fanfare_subscription_queued_bytes_max", help, Gauge, most)
    }
}
