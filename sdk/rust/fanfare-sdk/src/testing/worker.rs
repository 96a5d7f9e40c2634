//! A worker: a thread that interleaves the handlers of its calls. Each new instance runs on a new
//! thread, so that its memory is empty.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};

use super::dispatch::CallSpec;
use super::node::{CallState, Node};
use super::promise::{Resolver, promise};
use super::routes::RouteRequest;
use crate::failure::CallError;
use crate::module::LocalFuture;
use crate::types::{Call, CallId, Origin, Payload, Startup, StartupReason, Trigger};

pub(super) enum Message {
    Call(Box<Call>),
    Wake(u64),
    Save(Resolver<Option<Result<Payload, String>>>),
    Renew { reason: StartupReason, state: Option<Payload>, ready: Ready },
    Stop,
}

type Ready = Resolver<Result<(), String>>;

/// How to start an instance.
struct InstanceSpec {
    reason: StartupReason,
    state: Option<Payload>,
    ready: Option<Ready>,
}

thread_local! {
    static CURRENT: RefCell<Option<(Arc<Node>, u32)>> = const { RefCell::new(None) };
    static SPAWNED: RefCell<Vec<LocalFuture<()>>> = const { RefCell::new(Vec::new()) };
}

/// Returns the node and the index of the worker that this thread is.
///
/// # Panics
/// When the thread is no worker of a test host.
pub(super) fn current() -> (Arc<Node>, u32) {
    let current = CURRENT.with_borrow(Clone::clone);
    current.expect("this handler calls the host: run it in a `fanfare_sdk::testing::TestHost`")
}

#[cfg(feature = "spawn")]
pub(super) fn spawn(future: LocalFuture<()>) {
    SPAWNED.with_borrow_mut(|spawned| spawned.push(future));
}

/// Runs one instance after another until the host is dropped.
pub(super) fn supervise(
    node: &Arc<Node>,
    index: u32,
    mut inbox: Receiver<Message>,
    reason: StartupReason,
    ready: Ready,
) -> JoinHandle<()> {
    let node = Arc::clone(node);
    thread::spawn(move || {
        let mut spec = InstanceSpec { reason, state: None, ready: Some(ready) };
        loop {
            let (sender, host) = (node.sender(index), Arc::clone(&node));
            let instance = thread::Builder::new().name(format!("worker-{index}"));
            let run = move || Instance::new(host, index, inbox, sender).run(spec);
            let Ok(Ok((back, next))) = instance.spawn(run).map(JoinHandle::join) else { return };
            let Some(next) = next else { return };
            (inbox, spec) = (back, next);
        }
    })
}

struct Instance {
    node: Arc<Node>,
    index: u32,
    inbox: Receiver<Message>,
    sender: Sender<Message>,
    /// Messages that wait until the startups have ended.
    waiting: VecDeque<Message>,
    tasks: HashMap<u64, Task>,
    next_task: u64,
}

struct Task {
    call: Option<CallId>,
    future: LocalFuture<()>,
}

/// The instance that replaces one that has ended. `None` when the host stops.
type Next = Option<InstanceSpec>;

impl Instance {
    fn new(node: Arc<Node>, index: u32, inbox: Receiver<Message>, sender: Sender<Message>) -> Self {
        Instance { node, index, inbox, sender, waiting: VecDeque::new(), tasks: HashMap::new(), next_task: 0 }
    }

    fn run(mut self, spec: InstanceSpec) -> (Receiver<Message>, Next) {
        CURRENT.set(Some((Arc::clone(&self.node), self.index)));
        let next = self.serve(spec);
        for call in self.tasks.values().filter_map(|task| task.call) {
            self.node.end(call, Err(CallError::Crashed("the instance ended while the call ran".to_owned())));
        }
        // Calls that have not started move to the next instance.
        for message in self.waiting.drain(..) {
            let _ = self.sender.send(message);
        }
        (self.inbox, next)
    }

    fn serve(&mut self, spec: InstanceSpec) -> Next {
        let ready = spec.ready.clone();
        match self.start_up(spec) {
            Ok(Ok(())) => {
                if let Some(ready) = ready {
                    ready.resolve(Ok(()));
                }
            }
            Ok(Err(error)) => {
                if let Some(ready) = ready {
                    ready.resolve(Err(error));
                }
                return None;
            }
            Err(next) => return next,
        }
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => self.inbox.recv().ok()?,
            };
            if let Err(next) = self.handle(message) {
                return next;
            }
        }
    }

    /// Runs the startups, then loads the state of the previous instance.
    fn start_up(&mut self, spec: InstanceSpec) -> Result<Result<(), String>, Next> {
        let node = Arc::clone(&self.node);
        for (name, target) in &node.manifest.startups {
            let route = node.manifest.find(&RouteRequest { method: None, path: &target.path, query: "" });
            let route = match route {
                Ok(route) => route,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let startup = Startup { name: name.clone(), reason: spec.reason.clone() };
            let pending = node.start(CallSpec {
                route,
                query: "",
                trigger: Trigger::Startup(startup),
                payload: Payload::None,
                timeout: None,
                state: CallState { worker: self.index, ..CallState::default() },
                origin: Origin::Host,
                extra: Vec::new(),
            });
            let (outcome, ended) = promise();
            self.spawn(None, Box::pin(async move { outcome.resolve(pending.await) }));
            self.run_tasks(|call| matches!(&call.trigger, Trigger::Startup(_)))?;
            match ended.wait(super::TIMEOUT) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(Err(format!("the startup `{name}` failed: {error}"))),
                None => return Ok(Err(format!("the startup `{name}` did not end within {:?}", super::TIMEOUT))),
            }
        }
        let (Some(snapshot), Some(state)) = (node.module.snapshot, spec.state) else { return Ok(Ok(())) };
        let (loaded, ended) = promise();
        let load = (snapshot.load)("previous".to_owned(), state);
        self.spawn(None, Box::pin(async move { loaded.resolve(load.await) }));
        self.run_tasks(|_| false)?;
        let timeout = || Err(format!("`load` did not end within {:?}", super::TIMEOUT));
        Ok(ended.wait(super::TIMEOUT).unwrap_or_else(timeout))
    }

    /// Runs until no task is left. Calls that do not match `wanted` wait.
    fn run_tasks(&mut self, wanted: impl Fn(&Call) -> bool) -> Result<(), Next> {
        self.start_spawned();
        while !self.tasks.is_empty() {
            match self.inbox.recv().map_err(|_| None)? {
                Message::Call(call) if !wanted(&call) => self.waiting.push_back(Message::Call(call)),
                message => self.handle(message)?,
            }
        }
        Ok(())
    }

    fn handle(&mut self, message: Message) -> Result<(), Next> {
        match message {
            Message::Call(call) => {
                let id = call.id;
                let node = Arc::clone(&self.node);
                let future = Box::pin(async move {
                    let outcome = node.run(*call).await;
                    node.end(id, outcome);
                });
                self.spawn(Some(id), future);
            }
            Message::Wake(task) => self.poll(task)?,
            Message::Save(saved) => match self.node.module.snapshot {
                Some(snapshot) => {
                    let save = (snapshot.save)();
                    self.spawn(None, Box::pin(async move { saved.resolve(Some(save.await)) }));
                }
                None => saved.resolve(None),
            },
            Message::Renew { reason, state, ready } => {
                return Err(Some(InstanceSpec { reason, state, ready: Some(ready) }));
            }
            Message::Stop => return Err(None),
        }
        self.start_spawned();
        Ok(())
    }

    fn spawn(&mut self, call: Option<CallId>, future: LocalFuture<()>) {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(id, Task { call, future });
        let _ = self.sender.send(Message::Wake(id));
    }

    /// Starts the futures that handlers have spawned.
    fn start_spawned(&mut self) {
        for future in SPAWNED.take() {
            self.spawn(None, future);
        }
    }

    fn poll(&mut self, id: u64) -> Result<(), Next> {
        let Some(task) = self.tasks.get_mut(&id) else { return Ok(()) };
        let waker = Waker::from(Arc::new(WakeTask { id, sender: self.sender.clone() }));
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut Context::from_waker(&waker))));
        match polled {
            Ok(Poll::Pending) => Ok(()),
            Ok(Poll::Ready(())) => {
                self.tasks.remove(&id);
                Ok(())
            }
            // In a component, a panic is a trap: it ends the instance and every call in it.
            Err(_) => Err(Some(InstanceSpec { reason: StartupReason::Restart, state: None, ready: None })),
        }
    }
}

struct WakeTask {
    id: u64,
    sender: Sender<Message>,
}

impl Wake for WakeTask {
    fn wake(self: Arc<Self>) {
        let _ = self.sender.send(Message::Wake(self.id));
    }
}
