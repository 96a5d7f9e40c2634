//! Collects the status document.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use super::state::AdminState;
use crate::api::{
    Buffered, ChannelStatus, ChannelsStatus, ClientsStatus, ClusterStatus, Connections, Descriptors, DurableStatus,
    EventLinkStatus, EventListenStatus, EventsStatus, IsolateLoad, IsolateStatus, ModuleStatus, SocketListenerStatus,
    State, Status, Usage,
};
use crate::cluster;
use crate::dispatch::Dispatch;
use crate::isolate::{Isolate, Slot, SlotState};
use crate::registry::{ModuleState, Roster};

pub fn status(admin: &AdminState) -> Status {
    let (config, dispatch, roster, sockets) = (&admin.config, &admin.dispatch, &admin.roster, &admin.sockets);
    let space = admin.swapper.services.engine.space();
    let blocked = dispatch.places().all().filter(|isolate| isolate.heartbeat.is_blocked());
    let modules = roster.states().into_iter().map(|(name, state)| module(name, &state, dispatch, roster));
    Status {
        node: config.node.id.clone(),
        server: config.node.server.clone(),
        environment: config.environment.clone(),
        root: config.root.to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        workers: dispatch.workers().len(),
        ready: roster.is_ready(),
        blocked: blocked.map(|isolate| isolate.id.to_string()).collect(),
        isolates: dispatch.places().all().map(|isolate| load(admin, isolate)).collect(),
        connections: Connections {
            open: admin.open_http_connections(),
            max: sockets.max_connections(),
            configured: config.http.max_connections,
        },
        buffered: Buffered { bytes: sockets.buffered.in_use(), max: sockets.buffered.max() },
        descriptors: Descriptors { max: sockets.descriptors.limit, reserved: sockets.descriptors.reserved },
        address_space: Usage { used: space.bytes().used, limit: space.bytes().limit },
        mappings: Usage { used: space.mappings().used, limit: space.mappings().limit },
        notes: roster.notices(),
        redis: admin.redis.status(),
        events: events(admin),
        clients: clients(admin),
        channels: channels(admin),
        schedules: admin.schedules.status(),
        subscriptions: admin.subscriptions.status(),
        modules: modules.collect(),
    }
}

/// The nodes of the cluster: this one alone, if there is no cluster.
pub fn nodes(admin: &AdminState) -> ClusterStatus {
    match &admin.cluster {
        Some(cluster) => cluster.status(),
        None => cluster::alone(&admin.swapper.services.node, &admin.roster),
    }
}

/// The durable broadcasts of this node. The list is empty without a cluster.
pub fn durable(admin: &AdminState) -> DurableStatus {
    admin.cluster.as_ref().map(|cluster| cluster.durable_status()).unwrap_or_default()
}

fn events(admin: &AdminState) -> EventsStatus {
    let read = |counter: &AtomicU64| counter.load(Relaxed);
    let listen = admin.event_service.as_ref().map(|(service, address)| EventListenStatus {
        address: address.to_string(),
        connections: service.connections().into(),
        subscribers: service.subscribers().into(),
        emitted: read(&service.counters.emitted),
    });
    let connect = admin.event_link.as_ref().map(|link| {
        let (queued, bytes) = link.waiting();
        EventLinkStatus {
            service: link.service().to_owned(),
            up: link.is_up(),
            reason: link.reason(),
            queued: queued as u64,
            queued_bytes: bytes,
            received: read(&link.counters.received),
            sent: read(&link.counters.sent),
            rejected: read(&link.counters.rejected),
            lost: read(&link.counters.lost),
            gaps: read(&link.counters.gaps),
        }
    });
    EventsStatus { listen, connect }
}

fn clients(admin: &AdminState) -> ClientsStatus {
    let (open, bound) = admin.hub.sessions.count();
    let listeners = admin.config.websocket.listeners.iter().map(|listener| SocketListenerStatus {
        path: listener.path.clone(),
        protocol: listener.protocol,
        module: listener.module.clone(),
    });
    ClientsStatus {
        open,
        max: admin.web_sockets.max_clients(),
        bound,
        groups: admin.hub.sessions.groups(),
        listeners: listeners.collect(),
    }
}

/// The status lists this number of channels, and looks for those with the most members among this
/// number.
const LISTED: usize = 32;
const LOOKED_AT: usize = 100_000;

fn channels(admin: &AdminState) -> ChannelsStatus {
    let totals = admin.hub.channels.totals();
    let mut all = admin.hub.channels.list(LOOKED_AT);
    all.sort_by(|one, other| other.members.cmp(&one.members).then_with(|| one.name.cmp(&other.name)));
    let largest = all.into_iter().take(LISTED).map(|one| ChannelStatus {
        name: one.name.to_string(),
        members: one.members,
        kept: one.kept,
    });
    ChannelsStatus {
        open: totals.channels,
        max: admin.config.hub.topics,
        subscriptions: totals.subscriptions,
        waiting: admin.channels.waiting() as u64,
        largest: largest.collect(),
    }
}

fn load(admin: &AdminState, isolate: &Isolate) -> IsolateLoad {
    IsolateLoad {
        isolate: isolate.id.to_string(),
        clients: isolate.id.worker().map_or(0, |worker| admin.http_connections_of(worker)),
        requests_per_minute: isolate.requests_per_minute(),
        memory: isolate.memory(),
    }
}

fn module(name: String, state: &ModuleState, dispatch: &Dispatch, roster: &Roster) -> ModuleStatus {
    let not_installed = |state: State, reason: Option<&str>| ModuleStatus {
        name: name.clone(),
        state,
        reason: reason.map(str::to_owned),
        note: roster.remarks(&name),
        ..ModuleStatus::default()
    };
    let generation = match state {
        ModuleState::Loading => return not_installed(State::Loading, None),
        ModuleState::Waiting(why) => return not_installed(State::Waiting, Some(why)),
        ModuleState::Refused(why) => return not_installed(State::Refused, Some(why)),
        ModuleState::Installed(generation) => generation,
    };
    let slots = dispatch.places().slots(&name);
    ModuleStatus {
        state: slots.iter().map(|slot| state_of(&slot.state())).max().unwrap_or(State::Ready),
        generation: Some(generation.digest.clone()),
        serial: generation.is_serial(),
        routes: generation.manifest.routes.len(),
        wasi_http: generation.exports.http.as_ref().map(|http| http.export.clone()),
        mounted: generation.manifest.mount.is_some(),
        sockets: generation.manifest.socket_statuses(),
        channels: generation.manifest.channel_statuses(),
        filters: generation.manifest.filters_status(),
        reason: None,
        note: roster.remarks(&name),
        isolates: slots.iter().map(|slot| isolate(slot)).collect(),
        name,
    }
}

fn state_of(state: &SlotState) -> State {
    match state {
        SlotState::Starting => State::Starting,
        SlotState::Ready => State::Ready,
        SlotState::Restarting { .. } => State::Restarting,
        SlotState::Failed { .. } => State::Failed,
    }
}

fn isolate(slot: &Slot) -> IsolateStatus {
    let slot_state = slot.state();
    let (calls, broadcasts) = slot.mailbox.waiting();
    let end = slot.last_end();
    let reason = slot_state.report(&slot.module).or_else(|| Some(end.as_ref()?.why.clone()));
    IsolateStatus {
        isolate: slot.isolate.to_string(),
        state: state_of(&slot_state),
        generation: Some(slot.deployment().generation.short_digest().to_owned()),
        reason,
        ended_at: end.map(|end| end.at),
        restarts_in: slot_state.restarts_in().map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        restarts: slot.stats.restarts.get(),
        crashes: slot.stats.crashes.get(),
        replaced: slot.stats.replaced_memory.get(),
        in_flight: counted(slot.stats.in_flight.get()),
        held: slot.mailbox.is_held(),
        waiting: calls as u64,
        waiting_broadcasts: broadcasts as u64,
        leaked: counted(slot.stats.leaked.get()),
    }
}

fn counted(gauge: i64) -> u64 {
    u64::try_from(gauge).unwrap_or(0)
}
