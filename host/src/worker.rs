//! A worker: a thread that has an isolate and serves sockets.

mod developer;
mod runtime_thread;
mod thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use tokio::sync::mpsc;

pub use runtime_thread::RuntimeThread;
pub use thread::Thread;

use crate::call::{
    Admission, CallError, CallResult, ClientHook, ClientMessage, ExchangeRequest, HttpRequest, IsolateId,
    StreamRequest, StreamedBody,
};
use crate::dispatch::Dispatch;
use crate::events::{EventLog, HostEvent, Origin};
use crate::hub::SocketName;
use crate::isolate::{Isolate, Slot, SlotState};
use crate::net::{AcceptedConnection, ListenerId, WorkerQueue};
use crate::registry::{MatchedRoute, MatchedSocket, RouteLookup};
use crate::triggers::developer::Developer;
use crate::triggers::events::EventListener;
use crate::triggers::http::{self as http_trigger, Backend, HostRoute, RestartNotice, Settings, Stopping};
use crate::triggers::sse::{StreamBackend, Streams};
use crate::triggers::websocket::{ChannelHistories, ClientBackend, SocketTarget, WebSockets};

/// Connections that may wait between the acceptor and one worker.
const HANDOVERS: usize = 1_024;

/// A thread with an isolate that serves sockets.
pub struct Worker {
    pub thread: Thread,
    pub queue: WorkerQueue,
    accepted: Option<mpsc::Receiver<AcceptedConnection>>,
}

impl Worker {
    /// Starts the thread, without modules or connections.
    pub fn start(index: u32) -> io::Result<Worker> {
        let thread = Thread::start(IsolateId::Worker(index))?;
        let (send, accepted) = mpsc::channel(HANDOVERS);
        let queue = WorkerQueue { open: Arc::new(AtomicUsize::new(0)), send };
        Ok(Worker { thread, queue, accepted: Some(accepted) })
    }

    /// The modules of this worker, for its HTTP connections.
    pub fn modules(
        &self,
        dispatch: &Arc<Dispatch>,
        events: &Arc<EventLog>,
        streams: &Arc<Streams>,
        sockets: &Arc<WebSockets>,
        histories: &Arc<ChannelHistories>,
        developer: Option<&Arc<Developer>>,
    ) -> WorkerModules {
        let (dispatch, isolate, events) = (dispatch.clone(), self.thread.isolate.clone(), events.clone());
        let (streams, sockets, histories) = (streams.clone(), sockets.clone(), histories.clone());
        WorkerModules { dispatch, isolate, events, streams, sockets, histories, developer: developer.cloned() }
    }

    /// Serves the connections from the acceptor until `stopping` ends them: those of the HTTP
    /// listener with `http`, those of the event service with `events`.
    pub fn serve(
        &mut self,
        http: Option<(Arc<Settings>, WorkerModules)>,
        events: Option<EventListener>,
        stopping: &Stopping,
    ) {
        let Some(mut accepted) = self.accepted.take() else { return };
        let stopping = stopping.clone();
        for fanout in http.iter().flat_map(|(_, modules)| modules.streams.hub().fanouts(modules.own_index())) {
            let (announced, closing) = (stopping.announced.clone(), stopping.closing.clone());
            self.thread.isolate.runtime().spawn(fanout.run(announced, closing));
        }
        self.thread.isolate.runtime().spawn(async move {
            while let Some(AcceptedConnection { listener, socket, peer, guard }) = accepted.recv().await {
                let stream = match socket.open() {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "could not take over an accepted connection");
                        continue;
                    }
                };
                match listener {
                    ListenerId::Http => {
                        let Some((settings, modules)) = http.clone() else { continue };
                        tokio::spawn(http_trigger::serve(stream, peer, guard, settings, modules, stopping.clone()));
                    }
                    ListenerId::Events => {
                        let Some(events) = events.clone() else { continue };
                        tokio::spawn(events.serve(stream, peer, guard, stopping.clone()));
                    }
                    // The admin listener serves its own connections.
                    ListenerId::Admin => {}
                }
            }
        });
    }
}

/// The modules of one worker, as the backend of the HTTP trigger.
#[derive(Clone)]
pub struct WorkerModules {
    dispatch: Arc<Dispatch>,
    isolate: Arc<Isolate>,
    events: Arc<EventLog>,
    streams: Arc<Streams>,
    sockets: Arc<WebSockets>,
    histories: Arc<ChannelHistories>,
    /// `None` outside development.
    developer: Option<Arc<Developer>>,
}

impl WorkerModules {
    fn own_index(&self) -> u32 {
        match self.isolate.id {
            IsolateId::Worker(index) => index,
            // Only workers have connections.
            IsolateId::Broker(_) | IsolateId::Master => 0,
        }
    }
}

/// Whether a module of an isolate has a socket.
pub fn has_socket(isolate: &Isolate, socket: &SocketName) -> bool {
    let slot = isolate.slot(&socket.module);
    slot.is_some_and(|slot| slot.deployment().generation.manifest.sockets.get(&socket.pattern).is_some())
}

impl ClientBackend for WorkerModules {
    fn worker(&self) -> u32 {
        self.own_index()
    }

    fn has_socket(&self, socket: &SocketName) -> bool {
        has_socket(&self.isolate, socket)
    }

    fn message(&self, message: ClientMessage) -> Result<impl Future<Output = CallResult> + Send + 'static, CallError> {
        self.dispatch.client_message(&self.isolate, message)
    }

    fn hook(&self, hook: ClientHook) -> Option<impl Future<Output = CallResult> + Send + 'static> {
        self.dispatch.session_hook(&self.isolate, hook)
    }
}

impl StreamBackend for WorkerModules {
    fn worker(&self) -> u32 {
        self.own_index()
    }

    fn uses_streams(&self) -> bool {
        self.dispatch.uses_streams()
    }

    async fn admit(&self, request: StreamRequest) -> Admission {
        self.dispatch.admit(&self.isolate, request).await
    }
}

impl Backend for WorkerModules {
    type Module = Arc<Slot>;

    fn module(&self, name: &str) -> Result<Arc<Slot>, CallError> {
        self.isolate.slot(name).ok_or_else(|| self.dispatch.missing(name))
    }

    fn find(&self, module: &Arc<Slot>, method: &http::Method, path: &str) -> RouteLookup {
        module.deployment().router.find(method, path)
    }

    fn max_payload(&self, module: &Arc<Slot>) -> u64 {
        module.deployment().generation.limits.payload
    }

    async fn call(&self, module: &Arc<Slot>, matched: MatchedRoute, request: HttpRequest) -> CallResult {
        self.dispatch.serve(module, matched, request).await
    }

    fn restart(&self, module: &Arc<Slot>) -> Option<RestartNotice> {
        let slots = self.dispatch.places().slots(&module.module).into_iter();
        let states: Vec<_> = slots.filter(|slot| slot.isolate.worker().is_some()).map(|slot| slot.state()).collect();
        if states.contains(&SlotState::Ready) {
            return None;
        }
        let restarting = states.iter().filter_map(|state| state.restart(|| module.module.to_string()));
        let (detail, wait) = restarting.min_by_key(|(_, wait)| *wait)?;
        Some(RestartNotice { detail, wait })
    }

    fn has_exchange(&self, module: &Arc<Slot>) -> bool {
        module.deployment().generation.exports.http.is_some()
    }

    fn is_mounted(&self, module: &Arc<Slot>) -> bool {
        self.has_exchange(module) && module.deployment().generation.manifest.mount.is_some()
    }

    async fn exchange(
        &self,
        module: &Arc<Slot>,
        request: ExchangeRequest,
    ) -> Result<http::Response<StreamedBody>, CallError> {
        self.dispatch.exchange(module, request).await
    }

    fn host_route(&self, path: &str) -> Option<HostRoute> {
        let socket = || self.sockets.listener(path, self);
        let developer = || self.developer.as_ref()?.route(path, self);
        self.streams.route(path, self).or_else(socket).or_else(|| self.histories.route(path)).or_else(developer)
    }

    fn socket(&self, module: &Arc<Slot>, path: &str) -> Option<HostRoute> {
        let deployment = module.deployment();
        let MatchedSocket { pattern, socket, params } = deployment.generation.manifest.sockets.find(path)?;
        let target = SocketTarget {
            name: SocketName { module: module.module.clone(), pattern: pattern.into() },
            params: params.into(),
            protocols: socket.protocols.clone(),
            max_message: socket.max_message,
        };
        Some(self.sockets.route(target, self))
    }

    fn panicked(&self, panic: &str) {
        let message = format!("the host panicked while it answered a request: {panic}");
        self.events.raise(HostEvent::Fail { origin: Origin::isolate(self.isolate.id), message });
    }
}
