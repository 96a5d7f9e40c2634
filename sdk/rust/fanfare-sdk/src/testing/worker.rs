//! A worker: a thread that runs the handlers of its calls, interleaved. A new instance is a new thread, so that its
//! memory is empty.

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, JoinHandle};

use super::dispatch::Start;
use super::node::{Node, Running};
use super::promise::{Resolver, promise};
use super::routes::Wanted;
use crate::failure::CallError;
use crate::module::LocalFuture;
use crate::types::{Call, CallId, Origin, Outcome, Payload, Startup, StartupReason, Trigger};

pub(super) enum Message {
    Call(Box<Call>),
    Wake(u64),
    Save(Resolver<Option<Result<Payload, String>>>),
    Renew { reason: StartupReason, state: Option<Payload>, ready: Ready },
    Stop,
}

type Ready = Resolver<Result<(), String>>;

struct Birth {
    reason: StartupReason,
    state: Option<Payload>,
    ready: Option<Ready>,
}

thread_local! {
    static HERE: RefCell<Option<(Arc<Node>, u32)>> = const { RefCell::new(None) };
    static SPAWNED: RefCell<Vec<LocalFuture<()>>> = const { RefCell::new(Vec::new()) };
}

/// The host that this thread is a worker of.
///
/// # Panics
/// Outside of one.
pub(super) fn here() -> (Arc<Node>, u32) {
    let here = HERE.with_borrow(Clone::clone);
    here.expect("no host here: run the handler in a `fanfare_sdk::testing::TestHost`")
}

#[cfg(feature = "spawn")]
pub(super) fn spawn(future: LocalFuture<()>) {
    SPAWNED.with_borrow_mut(|spawned| spawned.push(future));
}

/// Runs one instance after the other until the host is dropped.
pub(super) fn supervise(
    node: &Arc<Node>,
    index: u32,
    mut inbox: Receiver<Message>,
    reason: StartupReason,
    ready: Ready,
) -> JoinHandle<()> {
    let node = Arc::clone(node);
    thread::spawn(move || {
        let mut birth = Birth { reason, state: None, ready: Some(ready) };
        loop {
            let (sender, host) = (node.sender(index), Arc::clone(&node));
            let instance = thread::Builder::new().name(format!("worker-{index}"));
            let run = move || Instance::new(host, index, inbox, sender).run(birth);
            let Ok(Ok((back, next))) = instance.spawn(run).map(JoinHandle::join) else { return };
            let Some(next) = next else { return };
            (inbox, birth) = (back, next);
        }
    })
}

struct Instance {
    node: Arc<Node>,
    index: u32,
    inbox: Receiver<Message>,
    sender: Sender<Message>,
    /// Messages that wait until the startups are done.
    waiting: VecDeque<Message>,
    tasks: HashMap<u64, Task>,
    next_task: u64,
}

struct Task {
    call: Option<CallId>,
    future: LocalFuture<()>,
}

/// Why an instance ends; `None` when the host does.
type End = Option<Birth>;

impl Instance {
    fn new(node: Arc<Node>, index: u32, inbox: Receiver<Message>, sender: Sender<Message>) -> Self {
        Instance { node, index, inbox, sender, waiting: VecDeque::new(), tasks: HashMap::new(), next_task: 0 }
    }

    fn run(mut self, birth: Birth) -> (Receiver<Message>, End) {
        HERE.set(Some((Arc::clone(&self.node), self.index)));
        let end = self.live(birth);
        for call in self.tasks.values().filter_map(|task| task.call) {
            self.node.end(call, Err(CallError::Crashed("the instance ended while the call ran".to_owned())));
        }
        // What was not yet started moves to the next instance.
        for message in self.waiting.drain(..) {
            let _ = self.sender.send(message);
        }
        (self.inbox, end)
    }

    fn live(&mut self, birth: Birth) -> End {
        let ready = birth.ready.clone();
        match self.begin(birth) {
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
            Err(end) => return end,
        }
        loop {
            let message = match self.waiting.pop_front() {
                Some(message) => message,
                None => self.inbox.recv().ok()?,
            };
            if let Err(end) = self.take(message) {
                return end;
            }
        }
    }

    /// Startups, then the state of the instance before.
    fn begin(&mut self, birth: Birth) -> Result<Result<(), String>, End> {
        let node = Arc::clone(&self.node);
        for (name, target) in &node.manifest.startups {
            let found = node.manifest.find(&Wanted { method: None, path: &target.path, query: "" });
            let found = match found {
                Ok(found) => found,
                Err(error) => return Ok(Err(error.to_string())),
            };
            let startup = Startup { name: name.clone(), reason: birth.reason.clone() };
            let pending = node.start(Start {
                found,
                query: "",
                trigger: Trigger::Startup(startup),
                payload: Payload::None,
                timeout: None,
                running: Running { worker: self.index, ..Running::default() },
                origin: Origin::Host,
            });
            let (outcome, ended) = promise();
            self.spawn(None, Box::pin(async move { outcome.resolve(pending.await) }));
            self.drive(|call| matches!(&call.trigger, Trigger::Startup(_)))?;
            match ended.wait(super::PATIENCE) {
                Some(Ok(_)) => {}
                Some(Err(error)) => return Ok(Err(format!("the startup `{name}` failed: {error}"))),
                None => return Ok(Err(format!("the startup `{name}` does not end"))),
            }
        }
        let (Some(snapshot), Some(state)) = (node.module.snapshot, birth.state) else { return Ok(Ok(())) };
        let (loaded, ended) = promise();
        let load = (snapshot.load)("the generation before".to_owned(), state);
        self.spawn(None, Box::pin(async move { loaded.resolve(load.await) }));
        self.drive(|_| false)?;
        Ok(ended.wait(super::PATIENCE).unwrap_or(Err("`load` does not end".to_owned())))
    }

    /// Until all that was begun is done; calls other than the wanted ones wait.
    fn drive(&mut self, wanted: impl Fn(&Call) -> bool) -> Result<(), End> {
        self.drain();
        while !self.tasks.is_empty() {
            match self.inbox.recv().map_err(|_| None)? {
                Message::Call(call) if !wanted(&call) => self.waiting.push_back(Message::Call(call)),
                message => self.take(message)?,
            }
        }
        Ok(())
    }

    fn take(&mut self, message: Message) -> Result<(), End> {
        match message {
            Message::Call(call) => {
                let id = call.id;
                let node = Arc::clone(&self.node);
                let run = (node.module.handle)(*call);
                let future = Box::pin(async move {
                    let outcome: Result<Outcome, _> = run.await;
                    node.end(id, outcome.map_err(CallError::Failure));
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
            Message::Renew { reason, state, ready } => return Err(Some(Birth { reason, state, ready: Some(ready) })),
            Message::Stop => return Err(None),
        }
        self.drain();
        Ok(())
    }

    fn spawn(&mut self, call: Option<CallId>, future: LocalFuture<()>) {
        let id = self.next_task;
        self.next_task += 1;
        self.tasks.insert(id, Task { call, future });
        let _ = self.sender.send(Message::Wake(id));
    }

    /// Takes up what handlers have spawned.
    fn drain(&mut self) {
        for future in SPAWNED.take() {
            self.spawn(None, future);
        }
    }

    fn poll(&mut self, id: u64) -> Result<(), End> {
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
            Err(_) => Err(Some(Birth { reason: StartupReason::Restart, state: None, ready: None })),
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
