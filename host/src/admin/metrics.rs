//! Metrics, read from every slot's own counters when they are asked for.

use std::sync::Arc;

use http::StatusCode;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{Admin, Answer};
use crate::call::{Problem, TriggerKind, bounds};
use crate::isolate::{Isolate, Slot};
use crate::swap::Swapper;

pub fn answer(admin: &Admin) -> Answer {
    let dispatch = &admin.dispatch;
    let slots = dispatch.workers().iter().flat_map(|isolate| isolate.slots()).collect();
    let mut registry = Registry::default();
    registry.register(
        "fanfare_admin_connections_refused",
        "Connections beyond those that the admin listener serves",
        admin.refused.clone(),
    );
    let help = "Connections without a request that the admin listener closed to make room";
    registry.register("fanfare_admin_connections_evicted", help, admin.evicted.clone());
    let lost = Counter::<u64>::default();
    lost.inc_by((admin.lost_lines)() as u64);
    registry.register("fanfare_log_lines_lost", "Lines of the log that had no room", lost);
    sockets(admin, &mut registry);
    registry.register_collector(Box::new(Slots { slots, isolates: dispatch.workers().to_vec() }));
    registry.register(
        "fanfare_components_too_heavy",
        "Components refused beyond engine.maxInstances, maxMemories or maxInstanceSize",
        admin.swapper.loader.refused.clone(),
    );
    registry.register_collector(Box::new(Bounds));
    registry.register_collector(Box::new(Room(admin.swapper.clone())));
    registry.register_collector(Box::new(Reloads(admin.swapper.clone())));
    let mut body = String::new();
    match text::encode(&mut body, &registry) {
        Ok(()) => super::answer(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
        Err(error) => {
            let title = "the metrics cannot be written";
            super::problem(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", title, error.to_string()))
        }
    }
}

fn sockets(admin: &Admin, registry: &mut Registry) {
    let sockets = &admin.sockets;
    let mut gauge = |name: &str, help: &str, value: u64| {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    gauge("fanfare_http_connections", "Open HTTP connections", admin.connections() as u64);
    let max = sockets.max_connections() as u64;
    gauge("fanfare_http_connections_max", "http.maxConnections, or fewer where descriptors do not suffice", max);
    gauge("fanfare_descriptors_max", "The limit of file descriptors of the process", sockets.descriptors.limit);
    gauge("fanfare_http_buffered_bytes", "Bytes that connections hold of http.maxBuffered", sockets.buffered.taken());
    gauge("fanfare_http_buffered_bytes_max", "http.maxBuffered", sockets.buffered.max());
    let (refused, failures) = (sockets.refused.clone(), sockets.accept_failures.clone());
    let help = "Connections closed at once because they would have used reserved file descriptors";
    registry.register("fanfare_http_connections_refused", help, refused);
    let help = "Requests refused because connections hold http.maxBuffered";
    registry.register("fanfare_http_buffered_refused", help, sockets.buffered.refused.clone());
    registry.register("fanfare_accept_failures", "Attempts to accept a connection that failed", failures);
}

struct Slots {
    slots: Vec<Arc<Slot>>,
    isolates: Vec<Arc<Isolate>>,
}

impl std::fmt::Debug for Slots {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} slots", self.slots.len())
    }
}

impl Collector for Slots {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut calls = encoder.encode_descriptor(
            "fanfare_calls",
            "Calls that have ended for their caller, by how they ended",
            None,
            MetricType::Counter,
        )?;
        for (slot, trigger) in self.triggers() {
            for (outcome, counter) in slot.stats.trigger(trigger).outcomes() {
                let isolate = slot.isolate.to_string();
                let mut labels = base(slot, &isolate, trigger);
                labels.push(("outcome", outcome));
                counter.encode(calls.encode_family(&labels)?)?;
            }
        }
        let mut duration = encoder.encode_descriptor(
            "fanfare_call_duration_seconds",
            "From when a call is made until it has ended for its caller",
            None,
            MetricType::Histogram,
        )?;
        for (slot, trigger) in self.triggers() {
            if let Some(histogram) = slot.stats.trigger(trigger).duration() {
                let isolate = slot.isolate.to_string();
                let labels = base(slot, &isolate, trigger);
                histogram.encode(duration.encode_family(&labels)?)?;
            }
        }
        let mut faults = encoder.encode_descriptor(
            "fanfare_call_faults",
            "Calls that brought no reply, by whose fault it was",
            None,
            MetricType::Counter,
        )?;
        for slot in &self.slots {
            let isolate = slot.isolate.to_string();
            for (fault, counter) in slot.stats.faults() {
                let labels = [("module", &*slot.module), ("isolate", isolate.as_str()), ("fault", fault)];
                counter.encode(faults.encode_family(&labels)?)?;
            }
        }
        self.each(&mut encoder, "fanfare_restarts", "Instances made anew", MetricType::Counter, |slot, encoder| {
            slot.stats.restarts.encode(encoder)
        })?;
        self.each(
            &mut encoder,
            "fanfare_log_lines_dropped",
            "Lines over limits.logRate",
            MetricType::Counter,
            |slot, encoder| slot.stats.dropped_lines.encode(encoder),
        )?;
        self.each(
            &mut encoder,
            "fanfare_turns_full",
            "Turns of an instance that ended because isolate.turnCalls calls had started in them",
            MetricType::Counter,
            |slot, encoder| slot.stats.full_turns.encode(encoder),
        )?;
        self.each(&mut encoder, "fanfare_calls_in_flight", "Calls that run", MetricType::Gauge, |slot, encoder| {
            slot.stats.in_flight.encode(encoder)
        })?;
        self.each(
            &mut encoder,
            "fanfare_calls_leaked",
            "Calls that run on past their deadline",
            MetricType::Gauge,
            |slot, encoder| slot.stats.leaked.encode(encoder),
        )?;
        self.each(&mut encoder, "fanfare_mailbox_calls", "Calls that wait", MetricType::Gauge, |slot, mut encoder| {
            encoder.encode_gauge(&(slot.mailbox.waiting().0 as i64))
        })?;
        self.each(
            &mut encoder,
            "fanfare_mailbox_broadcasts",
            "Broadcasts that wait",
            MetricType::Gauge,
            |slot, mut encoder| encoder.encode_gauge(&(slot.mailbox.waiting().1 as i64)),
        )?;
        self.each(
            &mut encoder,
            "fanfare_slot_ready",
            "Whether the module can take calls in the isolate",
            MetricType::Gauge,
            |slot, mut encoder| encoder.encode_gauge(&i64::from(slot.is_ready())),
        )?;
        let mut blocked = encoder.encode_descriptor(
            "fanfare_isolate_blocked",
            "Whether the isolate's thread has done nothing for isolate.blockedAfter",
            None,
            MetricType::Gauge,
        )?;
        for isolate in &self.isolates {
            let labels = [("isolate", isolate.id.to_string())];
            blocked.encode_family(&labels)?.encode_gauge(&i64::from(isolate.heartbeat.is_blocked()))?;
        }
        Ok(())
    }
}

struct Room(Arc<Swapper>);

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("room")
    }
}

impl Collector for Room {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let space = self.0.environment.engine.space();
        for (name, help, value) in [
            ("fanfare_address_space_used_bytes", "Address space that memories reserve", space.bytes().used),
            ("fanfare_address_space_limit_bytes", "Address space that memories may reserve", space.bytes().limit),
            ("fanfare_mappings_used", "Mappings of the kernel that memories may use", space.mappings().used),
            ("fanfare_mappings_limit", "Half of vm.max_map_count, for memories", space.mappings().limit),
        ] {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            metric.encode_gauge(&i64::try_from(value).unwrap_or(i64::MAX))?;
        }
        let help = "Instances and loads refused because no address space or mappings were left";
        let mut refused = encoder.encode_descriptor("fanfare_space_refused", help, None, MetricType::Counter)?;
        refused.encode_counter::<NoLabelSet, _, u64>(&space.refused(), None)
    }
}

#[derive(Debug)]
struct Bounds;

impl Collector for Bounds {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "How often a bound was reached that no setting changes";
        let mut reached = encoder.encode_descriptor("fanfare_bound_reached", help, None, MetricType::Counter)?;
        for bound in bounds::ALL {
            reached
                .encode_family(&[("bound", bound.name)])?
                .encode_counter::<NoLabelSet, _, u64>(&bound.reached(), None)?;
        }
        Ok(())
    }
}

struct Reloads(Arc<Swapper>);

impl std::fmt::Debug for Reloads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("reloads")
    }
}

impl Collector for Reloads {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Reloads that have ended, by what they came to";
        let mut reloads = encoder.encode_descriptor("fanfare_reloads", help, None, MetricType::Counter)?;
        for (outcome, counter) in self.0.ends.all() {
            counter.encode(reloads.encode_family(&[("outcome", outcome)])?)?;
        }
        Ok(())
    }
}

type Labels<'a> = Vec<(&'a str, &'a str)>;

fn base<'a>(slot: &'a Slot, isolate: &'a str, trigger: TriggerKind) -> Labels<'a> {
    vec![("module", &*slot.module), ("isolate", isolate), ("trigger", trigger.as_str())]
}

impl Slots {
    fn triggers(&self) -> impl Iterator<Item = (&Arc<Slot>, TriggerKind)> {
        self.slots.iter().flat_map(|slot| TriggerKind::ALL.map(|trigger| (slot, trigger)))
    }

    fn each(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        kind: MetricType,
        encode: impl Fn(&Slot, prometheus_client::encoding::MetricEncoder<'_>) -> Result<(), std::fmt::Error>,
    ) -> Result<(), std::fmt::Error> {
        let mut metric = encoder.encode_descriptor(name, help, None, kind)?;
        for slot in &self.slots {
            let isolate = slot.isolate.to_string();
            let labels = [("module", &*slot.module), ("isolate", isolate.as_str())];
            encode(slot, metric.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
