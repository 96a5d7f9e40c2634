//! A thread with sockets and an isolate.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::call::{CallError, Ended, IsolateId};
use crate::dispatch::{Dispatch, Request};
use crate::isolate::{Isolate, Slot};
use crate::net::{Accepted, Hand, ListenerId};
use crate::registry::{Found, Matched};
use crate::triggers::http::{self as http_trigger, Asked, ListedModule, ListedRoute, Serve, Settings, Stopping};

/// How long a thread may take to end before it is left behind.
const LAST_TURN: Duration = Duration::from_secs(2);

/// Connections on their way from the acceptor to one worker.
const HANDED: usize = 1_024;

/// A worker's thread. Ends when `end` is cancelled, and not before.
pub struct Worker {
    pub isolate: Arc<Isolate>,
    pub hand: Hand,
    accepted: Option<mpsc::Receiver<Accepted>>,
    runtime: Handle,
    end: CancellationToken,
    /// Closed by the thread when it ends.
    ended: std::sync::mpsc::Receiver<()>,
}

impl Worker {
    /// Starts the thread, which then waits for modules and connections.
    pub fn start(index: u32) -> io::Result<Worker> {
        let id = IsolateId::Worker(index);
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let end = CancellationToken::new();
        let ending = end.clone();
        let (alive, ended) = std::sync::mpsc::channel();
        thread::Builder::new().name(id.to_string()).spawn(move || {
            runtime.block_on(ending.cancelled());
            drop(runtime);
            drop(alive);
        })?;
        let (send, accepted) = mpsc::channel(HANDED);
        Ok(Worker {
            isolate: Arc::new(Isolate::new(id, handle.clone())),
            hand: Hand { open: Arc::new(AtomicUsize::new(0)), send },
            accepted: Some(accepted),
            runtime: handle,
            end,
            ended,
        })
    }

    /// Serves the connections it is handed, until `stopping` ends them.
    pub fn serve(&mut self, dispatch: &Arc<Dispatch>, settings: &Arc<Settings>, stopping: &Stopping) {
        let Some(mut accepted) = self.accepted.take() else { return };
        let local = Local { dispatch: dispatch.clone(), isolate: self.isolate.clone() };
        let (settings, stopping) = (settings.clone(), stopping.clone());
        self.runtime.spawn(async move {
            while let Some(Accepted { listener, socket, peer, open }) = accepted.recv().await {
                let stream = match socket.open() {
                    Ok(stream) => stream,
                    Err(error) => {
                        tracing::warn!(%error, "a connection was lost");
                        continue;
                    }
                };
                match listener {
                    ListenerId::Http => {
                        let (settings, stopping) = (settings.clone(), stopping.clone());
                        tokio::spawn(http_trigger::serve(stream, peer, open, settings, local.clone(), stopping));
                    }
                    // It accepts its own connections and hands none over.
                    ListenerId::Admin => {}
                }
            }
        });
    }

    /// Tells the thread to end.
    pub fn cancel(&self) {
        self.end.cancel();
    }

    /// Ends the thread, with whatever is still on it. One that host code blocks is left behind.
    pub fn end(&mut self) {
        self.cancel();
        if self.ended.recv_timeout(LAST_TURN) == Err(RecvTimeoutError::Timeout) {
            tracing::error!(isolate = %self.isolate.id, "the thread does not end: host code blocks it");
        }
    }
}

/// The HTTP trigger's way to the modules of its own worker.
#[derive(Clone)]
pub struct Local {
    dispatch: Arc<Dispatch>,
    isolate: Arc<Isolate>,
}

impl Serve for Local {
    type Module = Arc<Slot>;

    fn module(&self, name: &str) -> Result<Arc<Slot>, CallError> {
        self.isolate.slot(name).ok_or_else(|| self.dispatch.missing(name))
    }

    fn find(&self, module: &Arc<Slot>, method: &http::Method, path: &str) -> Found {
        module.version().router.find(method, path)
    }

    fn max_payload(&self, module: &Arc<Slot>) -> u64 {
        module.version().generation.limits.payload
    }

    async fn call(&self, module: &Arc<Slot>, matched: Matched, asked: Asked) -> Ended {
        let request = Request {
            method: asked.method,
            query: asked.query,
            payload: asked.payload,
            head: asked.head,
            trace: asked.trace,
            subdomain: asked.subdomain,
            spill: asked.spill,
        };
        self.dispatch.serve(module, matched, request).await
    }

    fn modules(&self) -> Vec<ListedModule> {
        let listed = |slot: Arc<Slot>| {
            let state = slot.state();
            let why = state.why().and_then(|why| why.lines().next());
            ListedModule {
                name: slot.module.as_ref().to_owned(),
                state: why.map_or_else(|| state.as_str().to_owned(), |why| format!("{}: {why}", state.as_str())),
                routes: slot
                    .version()
                    .generation
                    .manifest
                    .routes
                    .iter()
                    .map(|route| ListedRoute {
                        method: route.method.clone(),
                        path: route.text.clone(),
                        inner: route.middlewares.contains(&crate::registry::Middleware::Inner),
                    })
                    .collect(),
            }
        };
        let absent = self.dispatch.absent().into_iter();
        let absent = absent.map(|(name, state)| ListedModule { name, state, routes: Vec::new() });
        self.isolate.slots().into_iter().map(listed).chain(absent).collect()
    }
}
