//! Messages between the master, which is the embedding program or the operator, and guests.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use futures_util::FutureExt;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio_util::task::AbortOnDropHandle;

use crate::call::{Amount, CallError, Failure, IsolateId, Payload, Shares, bounds, hook};
use crate::dispatch::{Actor, Dispatch, Message};
use crate::events::{EventLog, EventQuota, HostEvent};
use crate::ports::{BoxFuture, Caller, Master};

/// The most messages of guests that the embedding program handles at once. Each module has its
/// share of them.
const MOST_MESSAGES: Amount = Amount { entries: 1_024, ..Amount::MAX };

/// A message of a guest to the embedding program.
#[derive(Debug, Clone)]
pub struct GuestMessage {
    /// The isolate of the guest.
    pub isolate: IsolateId,
    /// The guest's module.
    pub module: String,
    /// The message. At most `limits.payload` of the module.
    pub data: Payload,
    /// Whether the guest waits for the reply.
    pub wants_reply: bool,
}

type HandlerFn = dyn Fn(GuestMessage) -> BoxFuture<Result<Payload, Failure>> + Send + Sync;

/// Handles the messages of guests.
#[derive(Clone)]
pub(super) struct Handler(Arc<HandlerFn>);

impl Handler {
    pub(super) fn new<F, Fut>(handler: F) -> Handler
    where
        F: Fn(GuestMessage) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Payload, Failure>> + Send + 'static,
    {
        Handler(Arc::new(move |message| Box::pin(handler(message))))
    }
}

/// Delivers messages in both directions.
pub(super) struct Messages {
    dispatch: Arc<Dispatch>,
    events: Arc<EventLog>,
    /// The options that guests see.
    options: Value,
    handler: ArcSwapOption<Handler>,
    /// Set when the host has stopped.
    closed: AtomicBool,
    /// `master.ipcAckTimeout`.
    timeout: Duration,
    /// Runs the handler.
    runtime: Handle,
    /// The messages that the handler handles.
    handled: Arc<Mutex<Shares<Arc<str>>>>,
    /// Counts the events about messages.
    quota: EventQuota,
}

impl Messages {
    /// Must be called on the runtime that is to run the handler.
    pub(super) fn new(
        dispatch: Arc<Dispatch>,
        events: Arc<EventLog>,
        options: Map<String, Value>,
        timeout: Duration,
        handler: Option<Handler>,
    ) -> Messages {
        Messages {
            dispatch,
            events,
            options: options.into(),
            handler: ArcSwapOption::from(handler.map(Arc::new)),
            closed: AtomicBool::new(false),
            timeout,
            runtime: Handle::current(),
            handled: Arc::default(),
            quota: EventQuota::default(),
        }
    }

    pub(super) fn set_handler(&self, handler: Handler) {
        self.handler.store(Some(Arc::new(handler)));
        if self.closed.load(Ordering::SeqCst) {
            self.handler.store(None);
        }
    }

    /// Drops the handler, which may own the host. No handler can be set afterwards.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::SeqCst);
        self.handler.store(None);
    }

    pub(super) fn send(
        &self,
        to: IsolateId,
        module: Option<&str>,
        data: Payload,
    ) -> impl Future<Output = Result<crate::call::Reply, CallError>> + Send + use<> {
        let sent = self.dispatch.send(&Actor::Operator, self.message(to, module, data));
        async { sent?.await }
    }

    pub(super) fn post(&self, to: IsolateId, module: Option<&str>, data: Payload) -> Result<(), CallError> {
        self.dispatch.post(&Actor::Operator, self.message(to, module, data)).map(drop)
    }

    fn message<'a>(&self, to: IsolateId, module: Option<&'a str>, data: Payload) -> Message<'a> {
        Message::of_master(to, module, data, self.timeout)
    }

    /// The message of a guest to the hook of a module in the master isolate.
    fn to_hook(from: &Caller, data: Payload, timeout: Duration) -> Result<Message<'static>, CallError> {
        let hook = match from.isolate {
            IsolateId::Worker(_) => hook::WORKER_MESSAGE,
            IsolateId::Broker(_) => hook::BROKER_MESSAGE,
            IsolateId::Master => {
                let why =
                    "nobody listens: only an embedding program receives the messages of a guest in the master isolate";
                return Err(CallError::Unavailable(why.to_owned()));
            }
        };
        Ok(Message { to: IsolateId::Master, hook, module: None, data, timeout })
    }

    /// Starts the handler of the embedding program.
    fn handle(
        &self,
        handler: Arc<Handler>,
        message: GuestMessage,
        timeout: Duration,
    ) -> Result<tokio::task::JoinHandle<Result<Payload, CallError>>, CallError> {
        let module: Arc<str> = message.module.as_str().into();
        if !self.handled.lock().try_add(&module, 0, &MOST_MESSAGES) {
            bounds::MESSAGES.count();
            let most = MOST_MESSAGES.entries;
            return Err(CallError::Overloaded(format!(
                "the embedding program handles at most {most} messages at once, and the share of {module} is used: try \
                 again later"
            )));
        }
        let place = HandlerPlace { handled: self.handled.clone(), module };
        Ok(self.runtime.spawn(run_handler(handler, message, timeout, place)))
    }

    /// Raises the event of a guest's message, unless there were too many in this second.
    fn raise(&self, from: &Caller, size: usize) {
        if !self.quota.allows_one() {
            return bounds::MESSAGE_EVENTS.count();
        }
        let (module, size) = (from.module.as_ref().to_owned(), size as u64);
        match from.isolate {
            IsolateId::Worker(id) => self.events.raise(HostEvent::WorkerMessage { id, module, size }),
            IsolateId::Broker(id) => self.events.raise(HostEvent::BrokerMessage { id, module, size }),
            IsolateId::Master => {}
        }
    }
}

/// A message that the handler handles, until this is dropped.
struct HandlerPlace {
    handled: Arc<Mutex<Shares<Arc<str>>>>,
    module: Arc<str>,
}

impl Drop for HandlerPlace {
    fn drop(&mut self) {
        self.handled.lock().remove(&self.module, 0);
    }
}

/// Runs the handler for one message. `_place` is occupied meanwhile.
async fn run_handler(
    handler: Arc<Handler>,
    message: GuestMessage,
    timeout: Duration,
    _place: HandlerPlace,
) -> Result<Payload, CallError> {
    let handled = AssertUnwindSafe(async move { (handler.0)(message).await }).catch_unwind();
    match tokio::time::timeout(timeout, handled).await {
        Ok(Ok(Ok(reply))) => Ok(reply),
        Ok(Ok(Err(failure))) => Err(CallError::Failure(failure.shortened())),
        Ok(Err(panic)) => {
            let why = format!("the embedding program panicked: {}", crate::call::panic_text(&*panic));
            tracing::error!("a message of a guest was lost: {why}");
            Err(CallError::Crashed(why))
        }
        Err(_) => Err(CallError::Timeout(None)),
    }
}

/// The port through which guests reach the master.
impl Master for Messages {
    fn option(&self, pointer: &str) -> Option<String> {
        self.options.pointer(pointer).map(Value::to_string)
    }

    fn post(&self, from: Caller, data: Payload) -> Result<(), CallError> {
        from.check_size("the message", data.len())?;
        let size = data.len();
        match self.handler.load_full() {
            Some(handler) => {
                let message = guest_message(&from, data, false);
                self.handle(handler, message, self.timeout).map(drop)?;
            }
            None => {
                let message = Messages::to_hook(&from, data, self.timeout)?;
                self.dispatch.post(&Actor::Guest(from.clone()), message)?;
            }
        }
        self.raise(&from, size);
        Ok(())
    }

    fn send(&self, from: Caller, data: Payload, timeout: Option<Duration>) -> BoxFuture<Result<Payload, CallError>> {
        let failed = |error| -> BoxFuture<_> { Box::pin(std::future::ready(Err(error))) };
        if let Err(error) = from.check_size("the message", data.len()) {
            return failed(error);
        }
        let size = data.len();
        let timeout = timeout.map_or(self.timeout, |timeout| timeout.min(self.timeout));
        let Some(handler) = self.handler.load_full() else {
            let sent = Messages::to_hook(&from, data, timeout)
                .and_then(|message| self.dispatch.send(&Actor::Guest(from.clone()), message));
            return match sent {
                Ok(reply) => {
                    self.raise(&from, size);
                    Box::pin(async move { reply.await.map(|reply| reply.payload) })
                }
                Err(error) => failed(error),
            };
        };
        let left = from.context.as_ref().and_then(|context| context.until());
        let left = left.map_or(timeout, |until| until.saturating_duration_since(Instant::now()).min(timeout));
        let message = guest_message(&from, data, true);
        match self.handle(handler, message, left) {
            Ok(task) => {
                self.raise(&from, size);
                // The handler ends when the guest no longer waits.
                let task = AbortOnDropHandle::new(task);
                Box::pin(async move {
                    let ended = task.await;
                    let reply = ended.map_err(|_| CallError::stopping())??;
                    from.check_size("the reply", reply.len()).map(|()| reply)
                })
            }
            Err(error) => failed(error),
        }
    }
}

fn guest_message(from: &Caller, data: Payload, wants_reply: bool) -> GuestMessage {
    GuestMessage { isolate: from.isolate, module: from.module.as_ref().to_owned(), data, wants_reply }
}
