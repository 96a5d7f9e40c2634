//! The state that all workers share.

use std::collections::HashMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use super::chain::Middleware;
use super::channels::ChannelState;
use super::events::EventState;
use super::promise::Resolver;
use super::routes::Manifest;
use super::sessions::ClientState;
use super::streams::{Published, ReaderState};
use super::worker::Message;
use super::{Emitted, LogLine, OutgoingCall};
use crate::failure::{CallError, Failure};
use crate::module::{LocalFuture, SnapshotFns};
use crate::types::{Call, CallId, HeaderFields, Outcome, Payload, Reply, RequestHead};

pub(super) type Answer = Arc<dyn Fn(OutgoingCall) -> Result<Reply, CallError> + Send + Sync>;

pub(super) type OnMessage = Box<dyn Fn(Payload) -> Result<Payload, CallError> + Send + Sync>;

/// The functions of a module, without its type.
pub(super) struct ModuleFns {
    pub handlers: &'static [&'static str],
    pub handle: fn(Call) -> LocalFuture<Result<Outcome, Failure>>,
    pub snapshot: Option<SnapshotFns>,
}

impl ModuleFns {
    pub fn of<M: crate::Module + 'static>() -> Self {
        ModuleFns {
            handlers: M::HANDLERS,
            handle: |call| Box::pin(async { crate::module::run::<M>(call).await.map_err(Failure::from_wit) }),
            snapshot: M::snapshot(),
        }
    }
}

pub(super) struct Node {
    pub module: ModuleFns,
    pub name: String,
    pub manifest: Manifest,
    pub answers: Vec<(String, Answer)>,
    /// In place of the middlewares of other modules.
    pub middlewares: Vec<(String, Middleware)>,
    /// The options of the host.
    pub options: Value,
    /// The other nodes.
    pub nodes: Vec<crate::wit::nodes::Node>,
    /// Handles the messages to the master.
    pub on_message: Option<OnMessage>,
    pub senders: Mutex<Vec<Sender<Message>>>,
    pub state: Mutex<State>,
    pub idle: Condvar,
    /// Locked while a broadcast enters the mailboxes, so that all workers have the same order.
    pub sequencer: Mutex<()>,
    /// Locked while actions on channels change. Never locked under `state`.
    pub lines: Mutex<()>,
}

pub(super) struct State {
    pub next_call: CallId,
    pub next_broadcast: u64,
    /// Calls that run or are queued.
    pub calls: HashMap<CallId, CallState>,
    pub config: Value,
    pub logs: Vec<LogLine>,
    pub emitted: Vec<Emitted>,
    /// The name of a module, or `None` for all modules.
    pub reloads: Vec<Option<String>>,
    pub published: Vec<Published>,
    pub readers: Vec<ReaderState>,
    pub next_reader: u64,
    pub events: EventState,
    pub channels: ChannelState,
    pub clients: Vec<ClientState>,
    pub clients_so_far: u64,
}

/// The part of a call that the host keeps.
#[derive(Clone, Default)]
pub(super) struct CallState {
    pub worker: u32,
    pub depth: u32,
    pub subdomain: Option<String>,
    pub http: Option<(HeaderFields, RequestHead)>,
    /// The id of the session that the call belongs to.
    pub session: Option<String>,
    /// The route: the method and the path, as the manifest writes the path.
    pub route: String,
    /// The middlewares that are routes, until the call starts.
    pub chain: Vec<String>,
    pub resolver: Option<Resolver<Result<Outcome, CallError>>>,
}

impl Node {
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn workers(&self) -> u32 {
        let senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        u32::try_from(senders.len()).unwrap_or(u32::MAX)
    }

    /// Puts a message into the mailbox of a worker. Drops it when the worker has ended.
    pub fn send(&self, worker: u32, message: Message) {
        let _ = self.sender(worker).send(message);
    }

    pub fn sender(&self, worker: u32) -> Sender<Message> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)[worker as usize].clone()
    }

    /// Reports the outcome of a call that has ended.
    pub fn end(&self, call: CallId, outcome: Result<Outcome, CallError>) {
        // Before the call counts as ended, so that `settle` waits for what follows.
        self.channel_call_ended(call, &outcome);
        let mut state = self.state();
        if let Some(resolver) = state.calls.remove(&call).and_then(|running| running.resolver) {
            resolver.resolve(outcome);
        }
        if state.calls.is_empty() {
            self.idle.notify_all();
        }
    }

    /// Waits until no call runs or is queued. Returns false after `timeout`.
    pub fn settle(&self, timeout: Duration) -> bool {
        let waited = self.idle.wait_timeout_while(self.state(), timeout, |state| !state.calls.is_empty());
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}
