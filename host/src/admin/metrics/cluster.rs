//! Metrics of the cluster.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::writer::Writer;
use crate::cluster::{PeerSnapshot, Snapshot};

/// The figures of the cluster.
#[derive(Debug)]
pub(super) struct Nodes(pub Snapshot);

/// A figure of one other node.
type Figure = fn(&PeerSnapshot) -> u64;

impl Collector for Nodes {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        let all = &self.0;
        for (metric, help, value) in [
            ("fanfare_cluster_up", "Whether the node takes part in the cluster", all.up.into()),
            (
                "fanfare_cluster_sure",
                "Whether the node accepts messages of the channels that have their home here",
                all.sure.into(),
            ),
            ("fanfare_cluster_nodes", "Nodes of the cluster that are there", all.nodes),
            (
                "fanfare_cluster_queued_messages",
                "Messages that wait for being sent to other nodes",
                all.queued_messages,
            ),
            ("fanfare_cluster_queued_bytes", "Bytes of the messages that wait", all.queued_bytes),
            ("fanfare_cluster_waiting", "Calls that wait for other nodes", all.waiting),
            ("fanfare_cluster_serving", "Calls of other nodes that run", all.serving),
            (
                "fanfare_durable_queued_broadcasts",
                "Durable broadcasts that the stream does not have yet",
                all.durable.0,
            ),
            ("fanfare_durable_queued_bytes", "Bytes of the durable broadcasts that wait", all.durable.1),
        ] {
            writer.gauge(metric, help, value)?;
        }
        all.counters.iter().try_for_each(|(metric, help, value)| writer.counter(metric, help, *value))?;
        let gauge = |value: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
        };
        let count = |count: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None)
        };
        let label = |peer: &PeerSnapshot| [("node", peer.node.clone())];
        let counters: [(&str, &str, Figure); 2] = [
            ("fanfare_cluster_sent", "Calls and broadcasts sent to a node", |peer| peer.sent),
            ("fanfare_cluster_received", "Calls and broadcasts received from a node", |peer| peer.received),
        ];
        for (metric, help, figure) in counters {
            writer.family(metric, help, Counter, all.peers.iter().map(|peer| (label(peer), count(figure(peer)))))?;
        }
        let gauges: [(&str, &str, Figure); 2] = [
            ("fanfare_cluster_in_flight", "Calls that wait for a node", |peer| peer.in_flight),
            ("fanfare_cluster_round_trip_microseconds", "Average time from a call until a node's answer", |peer| {
                peer.round_trip_micros
            }),
        ];
        for (metric, help, figure) in gauges {
            writer.family(metric, help, Gauge, all.peers.iter().map(|peer| (label(peer), gauge(figure(peer)))))?;
        }
        Ok(())
    }
}
