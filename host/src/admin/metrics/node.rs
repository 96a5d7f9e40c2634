//! The node: its sockets, its address space, its reloads, its log.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::Counter;

use super::writer::Writer;
use crate::admin::state::Admin;
use crate::call::bounds;
use crate::net::Sockets;
use crate::swap::Swapper;

pub(super) struct Node {
    swapper: Arc<Swapper>,
    sockets: Arc<Sockets>,
    connections: usize,
    admin_refused: u64,
    admin_evicted: u64,
    lost_lines: usize,
}

impl Node {
    pub(super) fn of(admin: &Admin) -> Node {
        Node {
            swapper: admin.swapper.clone(),
            sockets: admin.sockets.clone(),
            connections: admin.connections(),
            admin_refused: admin.refused.get(),
            admin_evicted: admin.evicted.get(),
            lost_lines: (admin.lost_lines)(),
        }
    }

    fn sockets(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let sockets = &self.sockets;
        let max = sockets.max_connections() as u64;
        writer.gauge("fanfare_http_connections", "Open HTTP connections", self.connections as u64)?;
        let help = "http.maxConnections, or fewer where descriptors do not suffice";
        writer.gauge("fanfare_http_connections_max", help, max)?;
        let help = "The limit of file descriptors of the process";
        writer.gauge("fanfare_descriptors_max", help, sockets.descriptors.limit)?;
        let help = "Bytes that connections hold of http.maxBuffered";
        writer.gauge("fanfare_http_buffered_bytes", help, sockets.buffered.in_use())?;
        writer.gauge("fanfare_http_buffered_bytes_max", "http.maxBuffered", sockets.buffered.max())?;
        let help = "Connections closed at once because they would have used reserved file descriptors";
        writer.counter("fanfare_http_connections_refused", help, sockets.refused.get())?;
        let help = "Requests refused because connections hold http.maxBuffered";
        writer.counter("fanfare_http_buffered_refused", help, sockets.buffered.refused.get())?;
        let help = "Attempts to accept a connection that failed";
        writer.counter("fanfare_accept_failures", help, sockets.accept_failures.get())?;
        let help = "Connections beyond those that the admin listener serves";
        writer.counter("fanfare_admin_connections_refused", help, self.admin_refused)?;
        let help = "Connections without a request that the admin listener closed to make room";
        writer.counter("fanfare_admin_connections_evicted", help, self.admin_evicted)
    }

    fn space(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let space = self.swapper.services.engine.space();
        let (bytes, mappings) = (space.bytes(), space.mappings());
        writer.gauge("fanfare_address_space_used_bytes", "Address space that memories reserve", bytes.used)?;
        writer.gauge("fanfare_address_space_limit_bytes", "Address space that memories may reserve", bytes.limit)?;
        writer.gauge("fanfare_mappings_used", "Mappings of the kernel that memories may use", mappings.used)?;
        writer.gauge("fanfare_mappings_limit", "Half of vm.max_map_count, for memories", mappings.limit)?;
        let help = "Instances and loads refused because no address space or mappings were left";
        writer.counter("fanfare_space_refused", help, space.refused())?;
        let help = "Components refused beyond engine.maxInstances, maxMemories or maxInstanceSize";
        writer.counter("fanfare_components_too_heavy", help, self.swapper.loader.refused.get())
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("node")
    }
}

impl Collector for Node {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer(encoder);
        self.sockets(&mut writer)?;
        self.space(&mut writer)?;
        writer.counter("fanfare_log_lines_lost", "Lines of the log that had no room", self.lost_lines as u64)?;
        let reached = bounds::ALL.into_iter().map(|bound| {
            let labels = [("bound", bound.name.to_owned())];
            let count = bound.reached();
            (labels, move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None))
        });
        writer.family(
            "fanfare_bound_reached",
            "How often a bound was reached that no setting changes",
            Counter,
            reached,
        )?;
        let ended = self.swapper.ends.all().map(|(outcome, counter)| {
            ([("outcome", outcome.to_owned())], |encoder: MetricEncoder<'_>| counter.encode(encoder))
        });
        writer.family("fanfare_reloads", "Reloads that ended, by their outcome", Counter, ended)
    }
}
