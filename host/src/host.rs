//! Composition: builds the parts, owns the order of start and stop.
//!
//! [`Host::bind`] has the ports, [`Host::start`] loads the modules and serves, [`RunningHost::stop`] drains. The binary
//! and the tests use the same three.

mod inspect;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use inspect::{Inspector, Seen};

use crate::admin::{self, Admin, LostLines};
use crate::api::{Reloaded, Status};
use crate::call::IsolateId;
use crate::config::{Config, ShutdownConfig, opens_test_routes};
use crate::dispatch::{Dispatch, Places};
use crate::engine::{Cache, CacheError, Compiler, Engine};
use crate::isolate::{self, Ids, NodeFacts, Probe, Services};
use crate::net::{BindError, Descriptors, Hand, Listener, ListenerId, Sockets, accept, bind};
use crate::ports::{LateReloads, NoPeers, Peers, Ports};
use crate::registry::{Loader, Manifest, Placing, Roster};
use crate::swap::{Logged, Progress, SwapError, Swapper, Want, Watcher};
use crate::triggers::http::{Settings, Stopping};
use crate::worker::{Thread, Worker};

/// A configured host whose listeners are bound. It runs nothing yet.
pub struct Host {
    config: Arc<Config>,
    http: Listener,
    admin: Listener,
    compiler: PathBuf,
    probe: Option<Probe>,
    progress: Arc<dyn Progress>,
    lost_lines: LostLines,
    /// The brokers, and who lives in them and the master: see [`Host::with_places`].
    places: Option<(u32, Placing)>,
    peers: Arc<dyn Peers>,
}

/// A host that serves.
pub struct RunningHost {
    http: SocketAddr,
    admin: SocketAddr,
    dispatch: Arc<Dispatch>,
    roster: Arc<Roster>,
    swapper: Arc<Swapper>,
    operator: Arc<Admin>,
    workers: Vec<Worker>,
    /// Brokers and the master.
    others: Vec<Thread>,
    services: Arc<Services>,
    stopping: Stopping,
    /// Ends accepting.
    end_of_accepting: CancellationToken,
    acceptor: JoinHandle<()>,
    connections: TaskTracker,
    listeners: TaskTracker,
    admin_end: CancellationToken,
    shutdown: ShutdownConfig,
}

/// Why a host does not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// A listener cannot have its address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The folder of the modules cannot be read.
    #[error("{path}: {source}")]
    ModulesDir {
        /// `modulesDir`.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The folder of compiled components cannot be used.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// This machine lacks something that wasmtime needs.
    #[error("the engine does not start: {0:#}")]
    Engine(wasmtime::Error),
    /// A thread or its listener could not be made.
    #[error("a worker does not start: {0}")]
    Worker(std::io::Error),
}

/// How long answers to the operator may take after everything else has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How a host ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// Every call and connection had ended.
    Clean,
    /// Some were cut off at `shutdown.drain`.
    CutOff,
}

impl Host {
    /// Binds both listeners. `compiler` is the program that compiles components in child processes: `fanfare`.
    pub fn bind(config: Config, compiler: PathBuf) -> Result<Host, StartError> {
        let http = bind(ListenerId::Http, config.http.listen)?;
        let admin = bind(ListenerId::Admin, config.admin.listen)?;
        Ok(Host {
            config: Arc::new(config),
            http,
            admin,
            compiler,
            probe: None,
            progress: Arc::new(Logged),
            lost_lines: Arc::new(|| 0),
            places: None,
            peers: Arc::new(NoPeers),
        })
    }

    /// Shows every call to `probe` as it starts: see [`Services::probe`].
    #[doc(hidden)]
    #[must_use]
    pub fn with_probe(self, probe: Probe) -> Host {
        Host { probe: Some(probe), ..self }
    }

    /// Tells it what is being compiled, in place of the log.
    #[doc(hidden)]
    #[must_use]
    pub fn with_progress(self, progress: Arc<dyn Progress>) -> Host {
        Host { progress, ..self }
    }

    /// Shows how many lines of the log had no room, in `fanfare_log_lines_lost`.
    #[doc(hidden)]
    #[must_use]
    pub fn with_lost_lines(self, lost_lines: LostLines) -> Host {
        Host { lost_lines, ..self }
    }

    /// Starts brokers and the master, which no setting asks for yet, and tells which modules they hold. For tests of
    /// modules that live in them.
    #[doc(hidden)]
    #[must_use]
    pub fn with_places(self, brokers: u32, placing: Placing) -> Host {
        Host { places: Some((brokers, placing)), ..self }
    }

    /// Reaches other nodes through `peers`, which no setting asks for yet. For tests of calls between nodes.
    #[doc(hidden)]
    #[must_use]
    pub fn with_peers(self, peers: Arc<dyn Peers>) -> Host {
        Host { peers, ..self }
    }

    /// The address of the HTTP listener.
    pub fn http_address(&self) -> Option<SocketAddr> {
        self.http.address().ok()
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.address().ok()
    }

    /// Loads the modules and serves. The admin listener answers from the beginning; HTTP connections wait until
    /// every module has had its first try.
    pub async fn start(self) -> Result<RunningHost, StartError> {
        let config = self.config;
        let address = |listener: &Listener| listener.address().map_err(StartError::Worker);
        let (http_address, admin_address) = (address(&self.http)?, address(&self.admin)?);
        let placing = self.places.map_or(Manifest::places as Placing, |(_, placing)| placing);
        let loader = loader(&config, self.compiler, placing)?;
        let mut workers = Vec::with_capacity(config.workers);
        for index in 0..u32::try_from(config.workers).unwrap_or(u32::MAX) {
            workers.push(Worker::start(index).map_err(StartError::Worker)?);
        }
        let brokers = self.places.map_or(0, |(brokers, _)| brokers);
        let apart = (0..brokers).map(IsolateId::Broker).chain(self.places.map(|_| IsolateId::Master));
        let others: Vec<Thread> = apart.map(Thread::start).collect::<Result<_, _>>().map_err(StartError::Worker)?;
        let node = Arc::new(NodeFacts {
            id: config.node.id.clone(),
            server: config.node.server.clone(),
            workers: u32::try_from(workers.len()).unwrap_or(u32::MAX),
            brokers,
        });
        let ids = Ids::default();
        let places = places(&workers, &others);
        let (http, descriptors) = (&config.http, Descriptors::read());
        let sockets = Arc::new(Sockets::new(descriptors, http.max_connections, http.max_buffered.max(http.max_body)));
        let settings = Arc::new(Settings::new(http, &config.environment, sockets.buffered.clone()));
        let roster = Arc::new(Roster::default());
        let max_depth = config.calls.max_depth;
        let dispatch =
            Arc::new(Dispatch::new(places, roster.clone(), node.clone(), ids.clone(), max_depth, self.peers));
        let reloads = Arc::new(LateReloads::default());
        let services = Arc::new(Services {
            engine: loader.engine.clone(),
            node,
            ports: Ports { calls: dispatch.clone(), reloads: reloads.clone() },
            restart: config.isolate.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids,
            probe: self.probe,
        });
        let linker = isolate::linker(&loader.engine).map_err(StartError::Engine)?;
        let swapper = Swapper::new(config.clone(), loader, linker, dispatch.clone(), services.clone(), self.progress);
        reloads.set(&swapper);
        let (stopping, end_of_accepting, admin_end) =
            (Stopping::default(), CancellationToken::new(), CancellationToken::new());
        let (connections, listeners) = (TaskTracker::new(), TaskTracker::new());

        let open = workers.iter().map(|worker| worker.hand.open.clone()).collect();
        let admin = Admin::new(swapper.clone(), stopping.announced.clone(), self.lost_lines, sockets.clone(), open);
        let admin = Arc::new(admin);
        listeners.spawn(admin::serve(self.admin, admin.clone(), admin_end.clone()));

        for isolate in dispatch.places().all() {
            let watch = isolate::watch(isolate.clone(), config.isolate.blocked_after);
            listeners.spawn(admin_end.clone().run_until_cancelled_owned(watch));
        }

        let watcher = match config.swap.watch {
            true => Some(Watcher::start(&swapper).await),
            false => None,
        };
        let modules_dir = |source| StartError::ModulesDir { path: config.modules_dir.clone(), source };
        swapper.load_all().await.map_err(modules_dir)?;

        let hands: Vec<Hand> = workers.iter().map(|worker| worker.hand.clone()).collect();
        for worker in &mut workers {
            worker.serve(&dispatch, &settings, &stopping);
        }
        sockets.settle();
        let accept = accept(vec![self.http], hands, sockets, connections.clone(), end_of_accepting.clone());
        let acceptor = listeners.spawn(async move {
            if let Err(error) = accept.await {
                tracing::error!(%error, "accepting connections ended");
            }
        });
        roster.set_ready();
        if let Some(watcher) = watcher {
            listeners.spawn(admin_end.clone().run_until_cancelled_owned(watcher.run()));
        }
        Ok(RunningHost {
            http: http_address,
            admin: admin_address,
            dispatch,
            roster,
            swapper,
            operator: admin,
            workers,
            others,
            services,
            stopping,
            end_of_accepting,
            acceptor,
            connections,
            listeners,
            admin_end,
            shutdown: config.shutdown.clone(),
        })
    }
}

fn places(workers: &[Worker], others: &[Thread]) -> Places {
    let isolates = others.iter().map(|thread| thread.isolate.clone());
    let (master, brokers): (Vec<_>, Vec<_>) = isolates.partition(|isolate| isolate.id == IsolateId::Master);
    Places {
        workers: workers.iter().map(|worker| worker.thread.isolate.clone()).collect(),
        brokers,
        master: master.into_iter().next(),
    }
}

/// What loads modules: the engine, the cache and the compiler.
fn loader(config: &Config, compiler: PathBuf, placing: Placing) -> Result<Loader, StartError> {
    Ok(Loader {
        engine: Engine::start(config.engine.tick, config.engine.address_space).map_err(StartError::Engine)?,
        cache: Cache::open(&config.state_dir.join("cache"), config.engine.cache_size)?,
        compiler: Compiler {
            program: compiler,
            memory: config.engine.compile_memory,
            timeout: config.engine.compile_timeout,
            max_component: config.engine.max_component,
        },
        settings: config.engine.clone(),
        test_routes: opens_test_routes(&config.environment),
        placing,
        refused: Counter::default(),
    })
}

impl RunningHost {
    /// The address of the HTTP listener.
    pub fn http_address(&self) -> SocketAddr {
        self.http
    }

    /// The address of the admin listener.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin
    }

    /// The node and its modules, as `fanfare status` shows them.
    pub fn status(&self) -> Status {
        admin::status(&self.operator)
    }

    /// Reads `fanfare.json` and a module's folder again. The generation that is there replaces the running one in every
    /// worker, or in none, and then the error says why. Every worker gets a new instance even when nothing has changed.
    ///
    /// The reload continues when the future is dropped.
    pub async fn reload(&self, module: &str) -> Result<Reloaded, SwapError> {
        self.swapper.reload_as_operator(module, Want::RENEW).await
    }

    /// Replaces a module's running generation with a previous one and pins that: the last that served, or the one whose
    /// digest begins with `to`. The pin ends when the module's folder changes.
    ///
    /// The rollback continues when the future is dropped.
    pub async fn rollback(&self, module: &str, to: Option<&str>) -> Result<Reloaded, SwapError> {
        self.swapper.rollback(module, to).await
    }

    #[doc(hidden)]
    pub fn dispatch(&self) -> &Arc<Dispatch> {
        &self.dispatch
    }

    #[doc(hidden)]
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    #[doc(hidden)]
    pub fn swapper(&self) -> &Arc<Swapper> {
        &self.swapper
    }

    /// Lets what runs end, within `shutdown.drain`, then ends the rest.
    ///
    /// Clients learn of it first: for `shutdown.linger`, or until all have left, the host still
    /// accepts, and each answer says that its connection ends. Closing at once would lose the
    /// requests that are on their way.
    pub async fn stop(mut self) -> Stopped {
        self.stopping.announced.cancel();
        self.connections.close();
        self.services.tasks.close();
        let drained = tokio::time::timeout(self.shutdown.drain, async {
            _ = tokio::time::timeout(self.shutdown.linger, self.connections.wait()).await;
            self.end_of_accepting.cancel();
            // It can only have panicked, and then accepts no more either.
            _ = (&mut self.acceptor).await;
            self.stopping.last.cancel();
            self.connections.wait().await;
            self.services.stop.cancel();
            self.services.tasks.wait().await;
        })
        .await;
        self.end_of_accepting.cancel();
        self.stopping.last.cancel();
        self.services.stop.cancel();
        self.tell_what_is_left();
        self.admin_end.cancel();
        self.listeners.close();
        // What the operator has asked is answered.
        let _ = tokio::time::timeout(LAST_WORDS, self.listeners.wait()).await;
        if drained.is_ok() { Stopped::Clean } else { Stopped::CutOff }
    }

    /// Names the modules whose calls end with the host.
    fn tell_what_is_left(&self) {
        for slot in self.dispatch.places().all().flat_map(|isolate| isolate.slots()) {
            let (calls, broadcasts) = slot.mailbox.waiting();
            let running = slot.stats.in_flight.get();
            if calls + broadcasts > 0 || running > 0 {
                tracing::warn!(
                    module = %slot.module, isolate = %slot.isolate, running, calls, broadcasts,
                    "cut off: calls that run, and calls and broadcasts that have not started, are lost"
                );
            }
        }
    }
}

/// Ends everything at once; [`RunningHost::stop`] is the gentle way.
impl Drop for RunningHost {
    fn drop(&mut self) {
        self.stopping.announced.cancel();
        self.end_of_accepting.cancel();
        self.stopping.last.cancel();
        self.services.stop.cancel();
        self.admin_end.cancel();
        let mut threads: Vec<&mut Thread> = self.workers.iter_mut().map(|worker| &mut worker.thread).collect();
        threads.extend(&mut self.others);
        threads.iter().for_each(|thread| thread.cancel());
        threads.into_iter().for_each(Thread::end);
    }
}
