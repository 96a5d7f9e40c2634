//! Builds the parts of a host, and connects them.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::super::channels::ChannelModules;
use super::super::due_times::DueTimes;
use super::super::loader::loader;
use super::super::messages::Messages;
use super::super::running::Tasks;
use super::super::schedules::WorkerModules;
use super::super::subscriptions::Receivers;
use super::super::threads::{places_of, threads};
use super::super::topics;
use super::super::{Host, StartError, event_server};
use super::Built;
use crate::admin::{AdminState, Triggers};
use crate::blocking;
use crate::call::time::now;
use crate::cluster::{self, Cluster, ClusterSessions};
use crate::config::{ChannelAccess, Config, is_development};
use crate::dispatch::Dispatch;
use crate::events::EventLog;
use crate::hub::{Hub, ServiceLog, SessionSettings, TopicSettings};
use crate::isolate::{Ids, NodeFacts, Services};
use crate::net::{Descriptors, Sockets};
use crate::ports::{
    LateReloads, NatsConnection, NoPeers, NoRollouts, NoTopics, Nodes, OneNode, Peers, Ports, Rollouts, Sessions,
    Ticks, Topics,
};
use crate::registry::{Manifest, Roster};
use crate::swap::Swapper;
use crate::triggers::brokers::Brokers;
use crate::triggers::channels::{Census, ChannelPort, ChannelService, Keeping, KeepingLimits};
use crate::triggers::events::{Emitter, ServiceLink};
use crate::triggers::http::Settings;
use crate::triggers::nats::{Nats, Settings as NatsSettings};
use crate::triggers::redis::{Redis, RedisNode};
use crate::triggers::schedules::{AllTicks, Schedules, SystemClock};
use crate::triggers::sse::{Publisher, Streams};
use crate::triggers::subscriptions::{GuestEvents, Subscriptions};
use crate::triggers::websocket::{ChannelFrames, SessionPort, WebSockets};
use crate::worker::RuntimeThread;

impl Built {
    /// Builds the parts, connects them, and starts the threads.
    pub(super) fn new(host: Host) -> Result<Built, StartError> {
        let Host { addr, admin_addr, config, http, admin, compiler, modules, probe, progress, lost_log_lines, .. } =
            host;
        let (event_listener, events_addr) = (host.events, host.events_addr);
        let (token_text, token) = host.token.unzip();
        let (client_auth, state_lock) = (host.client_auth, host.state_lock);
        let (places, peers, handler) = (host.places, host.peers, host.handler);
        let (brokers, placement) = places.unzip();
        let brokers = brokers.unwrap_or(config.brokers);
        blocking::start().map_err(StartError::Worker)?;
        let (loader, linker) = loader(&config, compiler, placement.unwrap_or(Manifest::places))?;
        let events = Arc::new(EventLog::new(config.master.propagate_errors, config.master.propagate_warnings));
        let (workers, others) = threads(config.workers, brokers, &events)?;
        let links = RuntimeThread::start("links").map_err(StartError::Worker)?;
        let node = Arc::new(NodeFacts {
            id: config.node.id.clone(),
            server: config.node.server.clone(),
            workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
            brokers,
            since: now(),
            frontend: http.is_some(),
            settings: config.server.as_ref().map(|server| server.settings.clone()).unwrap_or_default(),
        });

        let (ids, roster, tasks) = (Ids::default(), Arc::new(Roster::default()), Tasks::default());
        let (places, max_depth) = (places_of(&workers, &others), config.calls.max_depth);
        let cluster = cluster(&config, &node, &events);
        let peers = peers.or_else(|| cluster.clone().map(|cluster| cluster as Arc<dyn Peers>));
        let peers = peers.unwrap_or_else(|| Arc::new(NoPeers));
        let dispatch = Dispatch::new(places, roster.clone(), node.clone(), ids.clone(), max_depth, peers);
        let dispatch = Arc::new(dispatch.with_routers(config.cluster.routers.clone()));
        let reloads = Arc::new(LateReloads::default());
        let (options, timeout) = (config.guest_options(brokers, addr), config.master.ipc_ack_timeout);
        let messages = Arc::new(Messages::new(dispatch.clone(), events.clone(), options, timeout, handler));
        let hub = hub(&config, node.workers, &events);
        let log = Arc::new(ServiceLog::of(&config.events.history));
        let (token_text, max_payload) = (token_text.as_deref(), config.limits.max.payload);
        let link = ServiceLink::new(&config.events, token_text, max_payload, log.clone(), events.clone()).map(Arc::new);
        let topics = other_topics(cluster.as_ref());
        let publisher = Arc::new(Publisher::new(hub.clone(), config.limits.max.payload, topics.clone()));
        // The service of another process brings the events of the others.
        let events_of_others = if link.is_some() { Arc::new(NoTopics) } else { topics.clone() };
        let sockets = sockets(&config);
        let streams = Arc::new(Streams::new(&config.sse, hub.clone(), sockets.clone(), topics.clone()));
        let census = cluster.as_ref().map(|cluster| Census::new(hub.channels.clone(), cluster.clone()));
        if let Some((cluster, census)) = cluster.as_ref().zip(census.as_ref()) {
            cluster.set_census(census);
        }
        let channels = ChannelService::new(
            hub.clone(),
            Arc::new(ChannelModules(dispatch.clone())),
            config.websocket.channels == ChannelAccess::Declared,
            topics.clone(),
            census.clone(),
            keeping(cluster.as_ref(), &config),
            Handle::current(),
        );
        let web_sockets = WebSockets::new(&config.websocket, channels.clone(), sockets.clone(), client_auth);
        let web_sockets = Arc::new(web_sockets);
        let receivers = Receivers {
            dispatch: dispatch.clone(),
            publisher: publisher.clone(),
            environment: config.environment.clone(),
        };
        let subscriptions = Subscriptions::new(
            Arc::new(receivers),
            log.clone(),
            hub.channels.clone(),
            events_of_others.clone(),
            events.clone(),
            node.workers,
            tasks.stopping.announced.clone(),
        );
        let end = &tasks.stopping.announced;
        topics::connect(cluster.as_ref(), (&dispatch, end), &config, &publisher, &log, &channels, &subscriptions);
        let redis = redis(&config, &events, &tasks);
        redis.stores().for_each(|(name, store)| loader.stores.add(name, store));
        redis.start_stores(&links.handle, &tasks.end_of_links);
        let connection = cluster.clone().map(|cluster| cluster as Arc<dyn NatsConnection>);
        let from_nats = NatsSettings { max_payload: config.limits.max.payload };
        let nats = Arc::new(Nats::new(connection, from_nats, events.clone()));
        let synced = Arc::downgrade(&subscriptions);
        roster.on_change(move || {
            if let Some(subscriptions) = synced.upgrade() {
                subscriptions.sync();
            }
        });
        let ports = Ports {
            calls: dispatch.clone(),
            reloads: reloads.clone(),
            master: messages.clone(),
            streams: publisher.clone(),
            events: Arc::new(GuestEvents::new(
                Emitter::new(log.clone(), link.clone(), events_of_others.clone()),
                subscriptions.clone(),
            )),
            messages: Arc::new(Brokers { redis: redis.clone(), nats: nats.clone() }),
            nodes: nodes(cluster.as_ref(), &node),
            sessions: sessions(cluster.as_ref(), SessionPort::new(hub.clone(), web_sockets.clone()), &config),
            channels: Arc::new(ChannelPort::new(channels.clone(), subscriptions.clone())),
        }
        .changed(host.change_ports);
        dispatch.set_sessions(&ports.sessions);
        let services = Arc::new(Services {
            engine: loader.engine.clone(),
            node,
            ports,
            restart: config.isolate.clone(),
            development: host.explained || is_development(&config.environment),
            stop_hook: config.shutdown.hook,
            linger: config.swap.linger,
            master: config.master.clone(),
            events,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids,
            probe,
        });
        let rollouts: Arc<dyn Rollouts> = match &cluster {
            Some(cluster) => cluster.clone(),
            None => Arc::new(NoRollouts),
        };
        let swapper =
            Swapper::new(config.clone(), loader, linker, dispatch.clone(), services.clone(), progress, rollouts);
        reloads.set(&swapper);
        swapper.embed(modules);

        let settings = Arc::new(Settings::new(&config.http, sockets.buffered.clone()));
        let event_listener = event_listener.map(|listener| {
            (listener, event_server::serving(&config, token, log.clone(), sockets.buffered.clone(), events_of_others))
        });
        let http_connections = workers.iter().map(|worker| worker.queue.open.clone()).collect();
        let announced = tasks.stopping.announced.clone();
        let schedules = Schedules::new(
            &config.node.id,
            Arc::new(WorkerModules(dispatch.clone())),
            Arc::new(SystemClock),
            AllTicks {
                nodes: cluster.clone().map(|cluster| cluster as Arc<dyn Ticks>),
                memory: Arc::new(DueTimes::new(&config.state_dir)),
            },
            services.events.clone(),
            services.tasks.clone(),
            announced.clone(),
        );
        let operator = AdminState::new(
            swapper.clone(),
            hub,
            announced,
            lost_log_lines,
            sockets.clone(),
            http_connections,
            Triggers {
                schedules: schedules.clone(),
                subscriptions: subscriptions.clone(),
                redis: redis.clone(),
                nats: nats.clone(),
                web_sockets: web_sockets.clone(),
                channels: channels.clone(),
            },
        );
        let service = event_listener.as_ref().map(|(_, serving)| serving.service.clone()).zip(events_addr);
        let operator = operator.with_events(service, link.clone());
        let operator = Arc::new(operator.with_cluster(cluster.clone(), tasks.asked_to_stop.clone()));
        Ok(Built {
            config,
            http,
            addr,
            admin: Some(admin),
            admin_addr,
            events: event_listener,
            link,
            events_addr,
            dispatch,
            cluster,
            messages,
            schedules,
            subscriptions,
            redis,
            nats,
            roster,
            swapper,
            operator,
            workers,
            others,
            links,
            services,
            sockets,
            settings,
            streams,
            web_sockets,
            publisher,
            channels,
            census,
            watcher: None,
            tasks,
            state_lock,
        })
    }
}

/// The hub, with the settings of its topics.
fn hub(config: &Config, workers: u32, events: &Arc<EventLog>) -> Arc<Hub> {
    let streams = TopicSettings::new(&config.sse, config.http.idle_timeout);
    let sessions = SessionSettings {
        // While the rest of `shutdown.linger` passes, clients receive what is left.
        topics: TopicSettings::of_sessions(&config.websocket, config.http.idle_timeout, config.shutdown.linger / 2),
        node: config.node.id.clone(),
        max_values: config.websocket.session_size,
        max_channels: config.websocket.socket_channel_limit,
        encoder: Arc::new(ChannelFrames),
    };
    Hub::new(&config.hub, streams, sessions, workers, events.clone())
}

fn sockets(config: &Config) -> Arc<Sockets> {
    let max_buffered = config.http.max_buffered.max(config.http.max_body);
    Arc::new(Sockets::new(Descriptors::read(), config.http.max_connections, max_buffered))
}

fn redis(config: &Config, events: &Arc<EventLog>, tasks: &Tasks) -> Arc<Redis> {
    let empty = BTreeMap::new();
    let node = RedisNode {
        id: &config.node.id,
        root: &config.root,
        variables: config.sources.as_ref().map_or(&empty, |sources| &sources.variables),
        max_payload: config.limits.max.payload,
    };
    Arc::new(Redis::new(&config.redis, &config.keyvalue, node, events.clone(), tasks.stopping.announced.clone()))
}

/// The nodes that guests see.
fn nodes(cluster: Option<&Arc<Cluster>>, own: &NodeFacts) -> Arc<dyn Nodes> {
    match cluster {
        Some(cluster) => cluster.clone(),
        None => Arc::new(OneNode(Arc::new(cluster::own_node(own)))),
    }
}

/// The sessions of this node, and of the other ones of its cluster.
fn sessions(cluster: Option<&Arc<Cluster>>, own: SessionPort, config: &Config) -> Arc<dyn Sessions> {
    let own = Arc::new(own);
    match cluster {
        Some(cluster) => Arc::new(ClusterSessions::new(own, cluster, config.websocket.ack_timeout)),
        None => own,
    }
}

/// The topics of other nodes.
fn other_topics(cluster: Option<&Arc<Cluster>>) -> Arc<dyn Topics> {
    match cluster {
        Some(cluster) => cluster.clone(),
        None => Arc::new(NoTopics),
    }
}

/// The stream with the histories of channels, and its limits.
fn keeping(cluster: Option<&Arc<Cluster>>, config: &Config) -> Keeping {
    let Some(cluster) = cluster else { return Keeping::none() };
    let queue = config.cluster.histories.queue;
    let limits = KeepingLimits {
        messages: queue.messages.into(),
        bytes: queue.bytes,
        timeout: config.cluster.timeout,
        gone_after: config.cluster.gone_after,
    };
    Keeping::new(cluster.clone(), limits)
}

/// The cluster of the settings.
fn cluster(config: &Config, node: &NodeFacts, events: &Arc<EventLog>) -> Option<Arc<Cluster>> {
    let empty = BTreeMap::new();
    let variables = config.sources.as_ref().map_or(&empty, |sources| &sources.variables);
    Cluster::new(&config.cluster, &config.servers, &config.root, variables, node, events.clone())
}
