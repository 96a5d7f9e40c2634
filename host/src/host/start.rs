//! The start of a host in three steps: [`Built::new`] builds the parts, [`Built::load`] loads the
//! modules, [`Built::open`] serves.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::FutureExt;
use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;
use tokio::runtime::Handle;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::channels::ChannelModules;
use super::hooks::MasterModules;
use super::messages::Messages;
use super::running::{RunningHost, Tasks};
use super::schedules::WorkerModules;
use super::subscriptions::Receivers;
use super::threads::{places_of, threads};
use super::{Host, StartError, clients, event_server};
use crate::admin::{self, AdminState, Triggers};
use crate::config::{ChannelAccess, Config, opens_test_routes};
use crate::dispatch::Dispatch;
use crate::engine::{Cache, Compiler, Engine};
use crate::events::{EventLog, HostEvent};
use crate::hub::{Hub, ServiceLog, SessionSettings, TopicSettings};
use crate::isolate::{self, GuestLinker, Ids, NodeFacts, Services};
use crate::net::{Descriptors, Listener, Sockets, WorkerQueue, accept};
use crate::ports::{LateReloads, Ports};
use crate::registry::{Loader, Manifest, PlacesOf, Roster};
use crate::swap::{Swapper, Watcher};
use crate::triggers::channels::{ChannelPort, ChannelService};
use crate::triggers::events::{Emitter, EventListener, ServiceLink};
use crate::triggers::hooks;
use crate::triggers::http::Settings;
use crate::triggers::redis::{Redis, RedisNode};
use crate::triggers::schedules::{Schedules, SystemClock};
use crate::triggers::sse::{Publisher, Streams};
use crate::triggers::subscriptions::{GuestEvents, Subscriptions};
use crate::triggers::websocket::{ChannelFrames, ChannelHistories, SessionPort, WebSockets};
use crate::worker::{RuntimeThread, Thread, Worker};

impl Host {
    /// Loads the modules and serves. The admin listener responds as soon as the parts are built.
    /// HTTP connections wait until the host has tried to load every module once. If the future is
    /// dropped, the host ends.
    pub async fn start(self) -> Result<RunningHost, StartError> {
        let mut host = Built::new(self)?;
        let mut guard = StartGuard { services: host.services.clone(), started: false };
        host.load().await?;
        guard.started = true;
        Ok(host.open())
    }
}

/// Ends the loads and the events of a host when its start fails, or its future is dropped. The
/// fields of [`Built`] end the rest.
struct StartGuard {
    services: Arc<Services>,
    started: bool,
}

impl Drop for StartGuard {
    fn drop(&mut self) {
        if !self.started {
            self.services.stop.cancel();
            self.services.events.close(HostEvent::worker_cluster_exit());
        }
    }
}

/// The connected parts of a host. When [`Built::new`] returns, the threads run, but no module is
/// loaded and no listener serves.
struct Built {
    config: Arc<Config>,
    http: Listener,
    addr: SocketAddr,
    /// `None` once the admin listener serves.
    admin: Option<Listener>,
    admin_addr: SocketAddr,
    /// The listener of the event service, and how its connections are served.
    events: Option<(Listener, EventListener)>,
    events_addr: Option<SocketAddr>,
    link: Option<Arc<ServiceLink>>,
    dispatch: Arc<Dispatch>,
    messages: Arc<Messages>,
    schedules: Arc<Schedules>,
    subscriptions: Arc<Subscriptions>,
    redis: Arc<Redis>,
    roster: Arc<Roster>,
    swapper: Arc<Swapper>,
    operator: Arc<AdminState>,
    workers: Vec<Worker>,
    others: Vec<Thread>,
    /// Runs the connections to other services.
    links: RuntimeThread,
    services: Arc<Services>,
    sockets: Arc<Sockets>,
    settings: Arc<Settings>,
    streams: Arc<Streams>,
    web_sockets: Arc<WebSockets>,
    publisher: Arc<Publisher>,
    channels: Arc<ChannelService>,
    /// Starts before the first load, so that it misses no change of a folder.
    watcher: Option<Watcher>,
    tasks: Tasks,
}

impl Built {
    /// Builds the parts, connects them, and starts the threads.
    fn new(host: Host) -> Result<Built, StartError> {
        let Host { addr, admin_addr, config, http, admin, compiler, modules, probe, progress, lost_log_lines, .. } =
            host;
        let (event_listener, events_addr) = (host.events, host.events_addr);
        let (token_text, token) = host.token.unzip();
        let client_auth = host.client_auth;
        let (places, peers, handler) = (host.places, host.peers, host.handler);
        let (brokers, placement) = places.unzip();
        let brokers = brokers.unwrap_or(config.brokers);
        let (loader, linker) = loader(&config, compiler, placement.unwrap_or(Manifest::places))?;
        let events = Arc::new(EventLog::new(config.master.propagate_errors, config.master.propagate_warnings));
        let (workers, others) = threads(config.workers, brokers, &events)?;
        let links = RuntimeThread::start("links").map_err(StartError::Worker)?;
        let node = Arc::new(NodeFacts {
            id: config.node.id.clone(),
            server: config.node.server.clone(),
            workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
            brokers,
        });

        let (ids, roster, tasks) = (Ids::default(), Arc::new(Roster::default()), Tasks::default());
        let (places, max_depth) = (places_of(&workers, &others), config.calls.max_depth);
        let dispatch = Dispatch::new(places, roster.clone(), node.clone(), ids.clone(), max_depth, peers);
        let dispatch = Arc::new(dispatch);
        let reloads = Arc::new(LateReloads::default());
        let (options, timeout) = (config.guest_options(brokers, addr), config.master.ipc_ack_timeout);
        let messages = Arc::new(Messages::new(dispatch.clone(), events.clone(), options, timeout, handler));
        let topics = TopicSettings::new(&config.sse, config.http.idle_timeout);
        let sessions = SessionSettings {
            // While the rest of `shutdown.linger` passes, clients receive what is left.
            topics: TopicSettings::of_sessions(&config.websocket, config.http.idle_timeout, config.shutdown.linger / 2),
            node: config.node.id.clone(),
            max_values: config.websocket.session_size,
            max_channels: config.websocket.socket_channel_limit,
            encoder: Arc::new(ChannelFrames),
        };
        let hub = Hub::new(&config.hub, topics, sessions, node.workers, events.clone());
        let log = Arc::new(ServiceLog::of(&config.events.history));
        let (token_text, max_payload) = (token_text.as_deref(), config.limits.max.payload);
        let link = ServiceLink::new(&config.events, token_text, max_payload, log.clone(), events.clone()).map(Arc::new);
        let publisher = Arc::new(Publisher::new(hub.clone(), config.limits.max.payload));
        let max_buffered = config.http.max_buffered.max(config.http.max_body);
        let sockets = Arc::new(Sockets::new(Descriptors::read(), config.http.max_connections, max_buffered));
        let streams = Arc::new(Streams::new(&config.sse, hub.clone(), sockets.clone()));
        let channels = ChannelService::new(
            hub.clone(),
            Arc::new(ChannelModules(dispatch.clone())),
            config.websocket.channels == ChannelAccess::Declared,
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
            events.clone(),
            node.workers,
            tasks.stopping.announced.clone(),
        );
        let empty = BTreeMap::new();
        let facts = RedisNode {
            id: &config.node.id,
            root: &config.root,
            variables: config.sources.as_ref().map_or(&empty, |sources| &sources.variables),
            max_payload: config.limits.max.payload,
        };
        let announced = tasks.stopping.announced.clone();
        let redis = Arc::new(Redis::new(&config.redis, facts, events.clone(), announced));
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
            events: Arc::new(GuestEvents::new(Emitter::new(log.clone(), link.clone()), subscriptions.clone())),
            messages: redis.clone(),
            sessions: Arc::new(SessionPort::new(hub.clone(), web_sockets.clone())),
            channels: Arc::new(ChannelPort::new(channels.clone(), subscriptions.clone())),
        }
        .changed(host.change_ports);
        dispatch.set_sessions(&ports.sessions);
        let services = Arc::new(Services {
            engine: loader.engine.clone(),
            node,
            ports,
            restart: config.isolate.clone(),
            stop_hook: config.shutdown.hook,
            master: config.master.clone(),
            events,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids,
            probe,
        });
        let swapper = Swapper::new(config.clone(), loader, linker, dispatch.clone(), services.clone(), progress);
        reloads.set(&swapper);
        swapper.embed(modules);

        let settings = Arc::new(Settings::new(&config.http, &config.environment, sockets.buffered.clone()));
        let event_listener = event_listener
            .map(|listener| (listener, event_server::serving(&config, token, log.clone(), sockets.buffered.clone())));
        let http_connections = workers.iter().map(|worker| worker.queue.open.clone()).collect();
        let announced = tasks.stopping.announced.clone();
        let schedules = Schedules::new(
            &config.node.id,
            Arc::new(WorkerModules(dispatch.clone())),
            Arc::new(SystemClock),
            services.events.clone(),
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
                web_sockets: web_sockets.clone(),
                channels: channels.clone(),
            },
        );
        let service = event_listener.as_ref().map(|(_, serving)| serving.service.clone()).zip(events_addr);
        let operator = Arc::new(operator.with_events(service, link.clone()));
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
            messages,
            schedules,
            subscriptions,
            redis,
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
            watcher: None,
            tasks,
        })
    }

    /// Serves the admin listener, and loads every module. A module that fails to load is reported
    /// by the status and does not stop the start.
    async fn load(&mut self) -> Result<(), StartError> {
        let tasks = &self.tasks;
        if let Some(admin) = self.admin.take() {
            tasks.listeners.spawn(admin::serve(admin, self.operator.clone(), tasks.end_of_admin.clone()));
        }
        for isolate in self.dispatch.places().all() {
            let events = self.services.events.clone();
            let watch = isolate::watch(isolate.clone(), self.config.isolate.blocked_after, events);
            tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(watch));
        }
        let (isolates, interval) = (self.dispatch.clone(), self.config.master.worker_status_interval);
        let sample = async move {
            loop {
                tokio::time::sleep(interval).await;
                isolates.places().all().for_each(|isolate| isolate.sample_requests());
            }
        };
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(sample));
        if self.config.swap.watch {
            self.watcher = Some(Watcher::start(&self.swapper).await);
        }
        let modules_dir = |source| StartError::ModulesDir { path: self.config.modules_dir.clone(), source };
        self.swapper.load_all().await.map_err(modules_dir)?;
        clients::warn_of_missing_modules(&self.config, &self.roster);
        self.services.events.raise(HostEvent::WorkerClusterReady { pid: std::process::id(), child_process: None });
        Ok(())
    }

    /// Accepts HTTP connections, and starts to react to changed folders.
    fn open(mut self) -> RunningHost {
        let (event_listener, events) = self.events.unzip();
        let histories = Arc::new(ChannelHistories::new(&self.config.websocket, self.channels.clone()));
        for worker in &mut self.workers {
            let (streams, sockets) = (&self.streams, &self.web_sockets);
            let modules = worker.modules(&self.dispatch, &self.services.events, streams, sockets, &histories);
            worker.serve(Some((self.settings.clone(), modules)), events.clone(), &self.tasks.stopping);
        }
        self.sockets.limit_to_descriptors();
        let tasks = self.tasks;
        let queues: Vec<WorkerQueue> = self.workers.iter().map(|worker| worker.queue.clone()).collect();
        let (connections, end) = (tasks.connections.clone(), tasks.end_of_accepting.clone());
        let accept =
            accept([self.http].into_iter().chain(event_listener).collect(), queues, self.sockets, connections, end);
        let acceptor = tasks.listeners.spawn(async move {
            if let Err(error) = accept.await {
                tracing::error!(%error, "the host stopped accepting connections");
            }
        });
        // The only error is a panic, and then the acceptor has ended, too.
        let acceptor = acceptor.map(drop).boxed().shared();
        if let Some(link) = &self.link {
            self.links.handle.spawn(link.clone().run(tasks.end_of_admin.clone()));
        }
        self.redis.start(&self.links.handle, self.subscriptions.clone(), tasks.end_of_links.clone());
        let isolates = self.workers.into_iter().map(|worker| worker.thread).chain(self.others);
        let threads = isolates.map(|thread| thread.runtime).chain([self.links]).collect();
        self.roster.set_ready();
        let NodeFacts { workers, brokers, .. } = *self.services.node;
        let events = &self.services.events;
        events.raise(HostEvent::HostReady { pid: std::process::id(), workers, brokers });
        // From the first event, which was raised before any module was loaded.
        let hooks = hooks::run(Arc::new(MasterModules(self.dispatch.clone())), events.clone(), events.read_after(0));
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(hooks));
        let removed = clients::end_removed(self.dispatch.clone(), self.web_sockets, events.read_after(0));
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(removed));
        self.schedules.open();
        tasks.listeners.spawn(self.schedules.clone().run());
        let memory = self.swapper.clone().watch_memory();
        tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(memory));
        if let Some(watcher) = self.watcher {
            tasks.listeners.spawn(tasks.end_of_admin.clone().run_until_cancelled_owned(watcher.run()));
        }
        RunningHost {
            addr: self.addr,
            admin_addr: self.admin_addr,
            events_addr: self.events_addr,
            dispatch: self.dispatch,
            messages: self.messages,
            schedules: self.schedules,
            subscriptions: self.subscriptions,
            redis: self.redis,
            link: self.link,
            roster: self.roster,
            swapper: self.swapper,
            operator: self.operator,
            publisher: self.publisher,
            channels: self.channels,
            threads: Mutex::new(threads),
            services: self.services,
            acceptor,
            tasks,
            shutdown: self.config.shutdown.clone(),
            stopped: OnceCell::new(),
            ended: Mutex::default(),
            destroyed: CancellationToken::new(),
        }
    }
}

/// Builds the parts that load modules: the engine with its linker, the cache and the compiler.
pub(super) fn loader(
    config: &Config,
    compiler: PathBuf,
    places_of: PlacesOf,
) -> Result<(Loader, GuestLinker), StartError> {
    let engine_error = |error| StartError::Engine(format!("{error:#}"));
    let loader = Loader {
        engine: Engine::start(config.engine.tick, config.engine.address_space).map_err(engine_error)?,
        cache: Cache::open(&config.state_dir.join("cache"), config.engine.cache_size)?,
        compiler: Compiler {
            program: compiler,
            memory: config.engine.compile_memory,
            timeout: config.engine.compile_timeout,
            max_component: config.engine.max_component,
        },
        settings: config.engine.clone(),
        test_routes: opens_test_routes(&config.environment),
        places_of,
        refused: Counter::default(),
    };
    let linker = isolate::linker(&loader.engine).map_err(engine_error)?;
    Ok((loader, linker))
}
