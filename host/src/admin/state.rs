//! The state that all connections of the admin listener share.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::hub::Hub;
use crate::net::Sockets;
use crate::registry::Roster;
use crate::swap::Swapper;
use crate::triggers::channels::ChannelService;
use crate::triggers::events::{EventService, ServiceLink};
use crate::triggers::nats::Nats;
use crate::triggers::redis::Redis;
use crate::triggers::schedules::Schedules;
use crate::triggers::subscriptions::Subscriptions;
use crate::triggers::websocket::WebSockets;

/// The parts of the host that the admin listener uses, and the listener's own counters.
pub struct AdminState {
    pub(super) config: Arc<Config>,
    pub(super) dispatch: Arc<Dispatch>,
    pub(super) roster: Arc<Roster>,
    pub(super) swapper: Arc<Swapper>,
    pub(super) hub: Arc<Hub>,
    /// Cancelled when the host begins to stop. `/readyz` then answers `draining`.
    pub(super) stopping: CancellationToken,
    /// Counts the connections that the admin listener did not serve, because it had too many.
    pub(super) refused: Counter,
    /// Counts the admin connections that lost their place to another one, because they had sent no
    /// request yet.
    pub(super) evicted: Counter,
    /// The number of clients that follow the events.
    pub(super) event_streams: Arc<AtomicUsize>,
    /// Counts the clients that were to follow the events, when too many did so already.
    pub(super) event_streams_refused: Counter,
    pub(super) lost_lines: LostLineCount,
    /// The limits and counters of the connections of both listeners.
    pub(super) sockets: Arc<Sockets>,
    /// The number of open connections of the HTTP listener, one count for each worker.
    pub(super) http_connections: Vec<Arc<AtomicUsize>>,
    pub(super) schedules: Arc<Schedules>,
    /// The event service and its address. `None` without `events.listen`.
    pub(super) event_service: Option<(Arc<EventService>, SocketAddr)>,
    /// `None` without `events.connect`.
    pub(super) event_link: Option<Arc<ServiceLink>>,
    pub(super) subscriptions: Arc<Subscriptions>,
    pub(super) redis: Arc<Redis>,
    pub(super) nats: Arc<Nats>,
    pub(super) web_sockets: Arc<WebSockets>,
    pub(super) channels: Arc<ChannelService>,
    /// `None` if the node is alone.
    pub(super) cluster: Option<Arc<Cluster>>,
    /// Cancelled when the operator asks this node to stop.
    pub(super) asked_to_stop: CancellationToken,
}

/// The triggers that the admin listener shows.
pub struct Triggers {
    pub schedules: Arc<Schedules>,
    pub subscriptions: Arc<Subscriptions>,
    pub redis: Arc<Redis>,
    pub nats: Arc<Nats>,
    pub web_sockets: Arc<WebSockets>,
    pub channels: Arc<ChannelService>,
}

/// A function that returns how many log lines the host has lost since it started, because the log's
/// queue was full.
pub type LostLineCount = Arc<dyn Fn() -> usize + Send + Sync>;

impl AdminState {
    pub fn new(
        swapper: Arc<Swapper>,
        hub: Arc<Hub>,
        stopping: CancellationToken,
        lost_lines: LostLineCount,
        sockets: Arc<Sockets>,
        http_connections: Vec<Arc<AtomicUsize>>,
        triggers: Triggers,
    ) -> AdminState {
        let Triggers { schedules, subscriptions, redis, nats, web_sockets, channels } = triggers;
        AdminState {
            config: swapper.config.clone(),
            dispatch: swapper.dispatch.clone(),
            roster: swapper.roster.clone(),
            swapper,
            hub,
            stopping,
            refused: Counter::default(),
            evicted: Counter::default(),
            event_streams: Arc::default(),
            event_streams_refused: Counter::default(),
            lost_lines,
            sockets,
            http_connections,
            schedules,
            event_service: None,
            event_link: None,
            subscriptions,
            redis,
            nats,
            web_sockets,
            channels,
            cluster: None,
            asked_to_stop: CancellationToken::new(),
        }
    }

    /// Shows the event service, and the connection to that of another process, in the status and in
    /// the metrics.
    pub fn with_events(
        self,
        service: Option<(Arc<EventService>, SocketAddr)>,
        link: Option<Arc<ServiceLink>>,
    ) -> AdminState {
        AdminState { event_service: service, event_link: link, ..self }
    }

    /// Shows the cluster. `asked_to_stop` is cancelled when the operator asks this node to stop.
    pub fn with_cluster(self, cluster: Option<Arc<Cluster>>, asked_to_stop: CancellationToken) -> AdminState {
        AdminState { cluster, asked_to_stop, ..self }
    }

    /// Returns the number of open connections of the HTTP listener in one worker.
    pub(super) fn http_connections_of(&self, worker: u32) -> usize {
        self.http_connections.get(worker as usize).map_or(0, |count| count.load(Relaxed))
    }

    /// Returns the number of open connections of the HTTP listener, in all workers.
    pub(super) fn open_http_connections(&self) -> usize {
        self.http_connections.iter().map(|count| count.load(Relaxed)).sum()
    }
}
