//! Metrics of the node: sockets, address space, requests of guests, reloads and log.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType::{Counter, Gauge};

use super::writer::Writer;
use crate::admin::state::AdminState;
use crate::call::bounds;
use crate::net::Sockets;
use crate::swap::Swapper;

pub(super) struct Node {
    swapper: Arc<Swapper>,
    sockets: Arc<Sockets>,
    connections: usize,
    admin_refused: u64,
    admin_evicted: u64,
    events: u64,
    event_streams: usize,
    event_streams_refused: u64,
    lost_lines: usize,
}

impl Node {
    pub(super) fn of(admin: &AdminState) -> Node {
        Node {
            swapper: admin.swapper.clone(),
            sockets: admin.sockets.clone(),
            connections: admin.open_http_connections(),
            admin_refused: admin.refused.get(),
            admin_evicted: admin.evicted.get(),
            events: admin.swapper.services.events.count(),
            event_streams: admin.event_streams.load(Relaxed),
            event_streams_refused: admin.event_streams_refused.get(),
            lost_lines: (admin.lost_lines)(),
        }
    }

    fn sockets(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let sockets = &self.sockets;
        let max = sockets.max_connections() as u64;
        writer.gauge("fanfare_http_connections", "Open HTTP connections", self.connections as u64)?;
        let help = "http.maxConnections, or less if there are too few file descriptors";
        writer.gauge("fanfare_http_connections_max", help, max)?;
        let help = "Limit of file descriptors of the process";
        writer.gauge("fanfare_descriptors_max", help, sockets.descriptors.limit)?;
        let help = "Bytes that connections use of http.maxBuffered";
        writer.gauge("fanfare_http_buffered_bytes", help, sockets.buffered.in_use())?;
        writer.gauge("fanfare_http_buffered_bytes_max", "http.maxBuffered", sockets.buffered.max())?;
        let help = "Connections closed at once because only reserved file descriptors were left";
        writer.counter("fanfare_http_connections_refused", help, sockets.refused.get())?;
        let help = "Requests rejected because connections use all of http.maxBuffered";
        writer.counter("fanfare_http_buffered_refused", help, sockets.buffered.refused.get())?;
        let help = "Failed attempts to accept a connection";
        writer.counter("fanfare_accept_failures", help, sockets.accept_failures.get())?;
        let help = "Connections beyond the limit of the admin listener";
        writer.counter("fanfare_admin_connections_refused", help, self.admin_refused)?;
        let help = "Connections without a request that the admin listener closed to make room for others";
        writer.counter("fanfare_admin_connections_evicted", help, self.admin_evicted)
    }

    fn events(&self, writer: &mut Writer<'_>) -> fmt::Result {
        writer.counter("fanfare_host_events", "Host events raised", self.events)?;
        let help = "Clients of the admin listener that follow the host events";
        writer.gauge("fanfare_event_streams", help, self.event_streams as u64)?;
        let help = "Requests to follow the host events that were rejected, because too many clients follow them";
        writer.counter("fanfare_event_streams_refused", help, self.event_streams_refused)
    }

    fn space(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let space = self.swapper.services.engine.space();
        let (bytes, mappings) = (space.bytes(), space.mappings());
        writer.gauge("fanfare_address_space_used_bytes", "Address space reserved by linear memories", bytes.used)?;
        writer.gauge(
            "fanfare_address_space_limit_bytes",
            "Address space that linear memories may reserve",
            bytes.limit,
        )?;
        writer.gauge("fanfare_mappings_used", "Kernel mappings reserved by linear memories", mappings.used)?;
        writer.gauge(
            "fanfare_mappings_limit",
            "Kernel mappings that linear memories may reserve: half of vm.max_map_count",
            mappings.limit,
        )?;
        let help = "Instances and loads rejected because address space or mappings were used up";
        writer.counter("fanfare_space_refused", help, space.refused())?;
        let help = "Components rejected by engine.maxInstances, engine.maxMemories or engine.maxInstanceSize";
        writer.counter("fanfare_components_too_heavy", help, self.swapper.loader.refused.get())
    }

    fn outgoing(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counts = self.swapper.loader.outgoing.stats.snapshot();
        let help = "Responses to requests of guests that are not read to their end";
        writer.gauge("fanfare_outgoing_open", help, counts.open)?;
        writer.gauge("fanfare_outgoing_connections", "Connections that requests of guests use", counts.connections)?;
        let requests = counts.requests.into_iter().map(|(outcome, count)| {
            let labels = [("outcome", outcome.to_owned())];
            (labels, move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None))
        });
        writer.family("fanfare_outgoing_requests", "Requests of guests to other servers, by outcome", Counter, requests)
    }

    fn stores(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let usage = self.swapper.loader.stores.usage();
        let gauge = |value: u64| {
            move |mut encoder: MetricEncoder<'_>| encoder.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))
        };
        let used = usage.iter().map(|(name, used, _)| ([("store", name.clone())], gauge(*used)));
        writer.family("fanfare_store_bytes", "Bytes that the entries of a store use", Gauge, used)?;
        let most = usage.iter().map(|(name, _, most)| ([("store", name.clone())], gauge(*most)));
        writer.family("fanfare_store_bytes_max", "keyvalue.<name>.size", Gauge, most)
    }

    fn functions(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counters = &self.swapper.loader.cache.counters;
        let help = "Functions of large components that were compiled";
        writer.counter("fanfare_functions_compiled", help, counters.compiled.load(Relaxed))?;
        let help = "Functions of large components that were taken from stateDir instead of being compiled";
        writer.counter("fanfare_functions_reused", help, counters.reused.load(Relaxed))?;
        let help = "Files of compiled functions removed because of engine.functionCacheSize, or of their number";
        writer.counter("fanfare_function_files_removed", help, counters.removed.load(Relaxed))
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
        self.functions(&mut writer)?;
        self.outgoing(&mut writer)?;
        self.stores(&mut writer)?;
        self.events(&mut writer)?;
        writer.counter(
            "fanfare_log_lines_lost",
            "Log lines lost because the log's queue was full",
            self.lost_lines as u64,
        )?;
        let reached = bounds::ALL.into_iter().map(|bound| {
            let labels = [("bound", bound.name.to_owned())];
            let count = bound.reached();
            (labels, move |mut encoder: MetricEncoder<'_>| encoder.encode_counter::<NoLabelSet, _, u64>(&count, None))
        });
        writer.family("fanfare_bound_reached", "How often a fixed bound was reached", Counter, reached)?;
        let reloads = self.swapper.counters.by_label().map(|(outcome, counter)| {
            ([("outcome", outcome.to_owned())], |encoder: MetricEncoder<'_>| counter.encode(encoder))
        });
        writer.family("fanfare_reloads", "Completed reloads and rollbacks, by outcome", Counter, reloads)
    }
}
