//! Sends every call to a slot: resolves targets, orders broadcasts, fans out, enforces deadlines.
//!
//! Dispatch uses slots and their mailboxes, and knows neither wasm nor HTTP. A single node has
//! [`NoPeers`](crate::ports::NoPeers), so it needs no special case.

mod actor;
mod assigned;
mod broadcasts;
mod calls;
mod channels;
mod choose;
mod clients;
mod durable;
mod exchanges;
mod forward;
mod homes;
mod hooks;
mod middlewares;
mod peers;
mod places;
mod rendezvous;
mod resolve;
mod schedules;
mod streams;
mod subscriptions;
mod turns;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

pub use actor::Actor;
pub use broadcasts::Sequencer;
pub use durable::DurableRun;
pub use hooks::Message;
pub use places::Places;
pub use rendezvous::weight;

use crate::call::{
    Call, CallError, CallResult, CallSession, Context, Deadline, Envelope, Exchange, Extra, Origin, Payload,
    RequestHead, RouteName, Trace, Trigger, TriggerKind, hook,
};
use crate::config::RouterConfig;
use crate::isolate::{Ids, Isolate, Lane, NodeFacts, QueuedCall, Slot};
use crate::ports::{Peers, Sessions};
use crate::registry::{MatchedRoute, Roster, RouteLookup};
use turns::Turns;

/// The only way to call a route.
pub struct Dispatch {
    places: Places,
    roster: Arc<Roster>,
    node: Arc<NodeFacts>,
    ids: Ids,
    max_depth: u32,
    peers: Arc<dyn Peers>,
    /// Weak, because the sessions may use dispatch.
    sessions: OnceLock<Weak<dyn Sessions>>,
    sequencers: ArcSwap<HashMap<Arc<str>, Arc<Sequencer>>>,
    /// `cluster.routers`.
    routers: BTreeMap<String, RouterConfig>,
    /// The order of the messages of each session that other nodes run.
    turns: Arc<Turns>,
}

/// Everything about a call except its target.
pub struct CallSpec {
    pub trigger: Trigger,
    pub origin: Origin,
    pub deadline: Deadline,
    pub parent: Option<Arc<Context>>,
    /// See [`Context::remote`].
    pub remote: Option<Arc<Envelope>>,
    /// Whether the parent waits for the outcome.
    pub awaited: bool,
    pub subdomain: Option<Arc<str>>,
    pub trace: Option<Trace>,
    pub http: Option<Box<RequestHead>>,
    /// See [`Context::session`].
    pub session: Option<CallSession>,
    /// See [`Call::extra`].
    pub extra: Extra,
    pub query: String,
    pub payload: Payload,
    /// See [`Call::exchange`].
    pub exchange: Option<Box<Exchange>>,
}

impl CallSpec {
    /// Its own trace, or that of the parent.
    fn trace(&self) -> Option<Trace> {
        self.trace.or(self.parent.as_ref().map(|parent| parent.trace))
    }

    /// How many calls are above this one.
    fn depth(&self) -> u32 {
        match &self.remote {
            Some(envelope) => envelope.depth,
            None => self.parent.as_ref().map_or(0, |parent| parent.depth + 1),
        }
    }
}

impl Dispatch {
    pub fn new(
        places: Places,
        roster: Arc<Roster>,
        node: Arc<NodeFacts>,
        ids: Ids,
        max_depth: u32,
        peers: Arc<dyn Peers>,
    ) -> Dispatch {
        Dispatch {
            places,
            roster,
            node,
            ids,
            max_depth,
            peers,
            sessions: OnceLock::new(),
            sequencers: ArcSwap::default(),
            routers: BTreeMap::new(),
            turns: Arc::default(),
        }
    }

    /// How clients' messages find their node, by server type.
    pub fn with_routers(self, routers: BTreeMap<String, RouterConfig>) -> Dispatch {
        Dispatch { routers, ..self }
    }

    /// Sets the sessions that calls can be addressed to. Only the first call has an effect.
    pub fn set_sessions(&self, sessions: &Arc<dyn Sessions>) {
        // A second call is the caller's mistake, and changes nothing.
        _ = self.sessions.set(Arc::downgrade(sessions));
    }

    fn sessions(&self) -> Option<Arc<dyn Sessions>> {
        self.sessions.get().and_then(Weak::upgrade)
    }

    pub fn places(&self) -> &Places {
        &self.places
    }

    /// The isolates of the workers, in index order.
    pub fn workers(&self) -> &[Arc<Isolate>] {
        &self.places.workers
    }

    /// The load state of every module folder.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Why a module that is not installed cannot be called.
    pub fn missing(&self, module: &str) -> CallError {
        self.roster.missing(module)
    }

    /// Finds a route in a slot for a caller inside the node, and checks its access rule.
    fn find_route(slot: &Slot, name: &RouteName, trigger: TriggerKind) -> Result<MatchedRoute, CallError> {
        let route = || format!("{}/{}", slot.module, name.path);
        match slot.deployment().router.find_inside(name.method.as_ref(), &name.path) {
            RouteLookup::Route(matched) => {
                let closed = |why| CallError::Forbidden(format!("{}: {why}", route()));
                matched.access.admits(trigger).map_err(closed)?;
                Ok(matched)
            }
            RouteLookup::NotFound if slot.deployment().generation.exports.http.is_some() => {
                let why = "its module answers HTTP requests through wasi:http, which only requests reach";
                Err(CallError::NotFound(format!("there is no route {}: {why}", route())))
            }
            RouteLookup::NotFound => Err(CallError::NotFound(format!("there is no route {}", route()))),
            RouteLookup::BadPath => Err(CallError::Invalid(format!("{} contains a malformed percent escape", route()))),
            RouteLookup::MethodNotAllowed(methods) => {
                let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
                let methods = methods.join(", ");
                Err(CallError::NotFound(format!("{} has the methods {methods}; name one of them", route())))
            }
        }
    }

    /// Builds the call for a slot. Fails if it would be too deep or too large.
    fn build_call(&self, slot: &Slot, matched: MatchedRoute, spec: CallSpec) -> Result<Call, CallError> {
        let depth = spec.depth();
        self.check_depth(&slot.module, depth)?;
        let from_client = spec.http.is_some();
        let trace = spec.trace();
        let mut context = Context::root(self.ids.next(), slot.module.clone(), slot.isolate, spec.origin, spec.deadline);
        if let Some(trace) = trace {
            context.trace = trace;
        }
        context.in_startup = spec.awaited
            && (spec.parent.as_ref().is_some_and(|parent| parent.in_startup)
                || spec.remote.as_ref().is_some_and(|envelope| envelope.in_startup));
        context.in_quiet_hook = matches!(spec.trigger, Trigger::Hook(name) if hook::is_quiet(name))
            || spec.parent.as_ref().is_some_and(|parent| parent.in_quiet_hook);
        context.subdomain = spec.subdomain;
        context.parent = spec.parent.filter(|_| spec.awaited);
        context.remote = spec.remote;
        context.depth = depth;
        context.http = spec.http;
        context.session = spec.session;
        if let Trigger::Channel(event) = &spec.trigger {
            context.channel = Some(event.channel.clone());
        }
        let call = Call {
            context: Arc::new(context),
            route: matched.route,
            trigger: spec.trigger,
            params: matched.params,
            query: spec.query,
            payload: spec.payload,
            extra: spec.extra,
            exchange: spec.exchange,
        };
        // In a client's request, `http.maxHeaderBytes` already bounds the text besides the payload.
        let names = if from_client { 0 } else { call.text_len() };
        let limit = slot.deployment().generation.limits.payload;
        check_size(limit, &slot.module, call.payload.len(), names).map(|()| call)
    }

    fn check_depth(&self, module: &str, depth: u32) -> Result<(), CallError> {
        if depth <= self.max_depth {
            return Ok(());
        }
        Err(CallError::TooDeep(format!(
            "a call of {module} would be {depth} calls deep, but calls.maxDepth allows {}",
            self.max_depth
        )))
    }

    /// Calls a route in a slot. Resolves with the outcome, at the latest when the deadline passes.
    fn call_in(
        &self,
        slot: Arc<Slot>,
        matched: MatchedRoute,
        spec: CallSpec,
    ) -> impl Future<Output = CallResult> + Send + use<> {
        let pending = self.send_to(&slot, matched, spec);
        async move { pending?.outcome(&slot).await }
    }

    /// Queues a call in a slot. The slot counts a call that it rejects.
    fn send_to(&self, slot: &Slot, matched: MatchedRoute, spec: CallSpec) -> Result<PendingCall, CallError> {
        let (kind, trace) = (spec.trigger.kind(), spec.trace());
        self.enqueue(slot, matched, spec).inspect_err(|error| slot.refused(kind, error, trace))
    }

    fn enqueue(&self, slot: &Slot, matched: MatchedRoute, spec: CallSpec) -> Result<PendingCall, CallError> {
        let kind = spec.trigger.kind();
        let call = self.build_call(slot, matched, spec)?;
        let (context, handler) = (call.context.clone(), call.route.handler.clone());
        let lane = if context.is_nested() { Lane::Nested } else { Lane::Calls };
        let (reply, outcome) = oneshot::channel();
        slot.offer(lane, QueuedCall::new(call, Some(reply))).map_err(|(error, _)| error)?;
        Ok(PendingCall { context, kind, handler, outcome })
    }

    /// Returns an error if `parent` must not wait for this slot, because the slot starts no call
    /// before a call in the parent's own chain has ended.
    fn deadlock(slot: &Slot, parent: Option<&Arc<Context>>) -> Option<CallError> {
        let exclusive = |context: &Arc<Context>| {
            context.module == slot.module
                && context.isolate == slot.isolate
                && context.exclusive.load(std::sync::atomic::Ordering::Acquire)
        };
        let parent = parent?;
        let running = std::iter::once(parent).chain(parent.waiters()).find(|context| exclusive(context))?;
        Some(CallError::WouldDeadlock(format!(
            "{} in {} runs call {} exclusively, and that call waits for this one",
            slot.module, slot.isolate, running.id
        )))
    }

    /// The deadline of a call: the time that its parent has left, or `fallback` without a parent,
    /// but at most `timeout` and `limits.timeout` of the target.
    fn call_deadline(
        &self,
        slot: &Slot,
        parent: Option<&Arc<Context>>,
        timeout: Option<Duration>,
        fallback: Duration,
    ) -> Instant {
        let now = Instant::now();
        let inherited = parent.and_then(|parent| parent.until()).unwrap_or(now + fallback);
        let requested = timeout.map_or(inherited, |timeout| inherited.min(now + timeout));
        requested.min(now + slot.deployment().generation.limits.timeout)
    }
}

/// Checks the size of the payload, and that of the text besides it (parameters, query, names).
/// Each may be at most `limits.payload` of the module.
fn check_size(limit: u64, module: &str, payload: usize, names: usize) -> Result<(), CallError> {
    for (what, size) in [("payload has", payload), ("names sent with the payload have", names)] {
        if size as u64 > limit {
            return Err(CallError::Invalid(format!(
                "the {what} {size} bytes, but limits.payload of {module} allows {limit}"
            )));
        }
    }
    Ok(())
}

/// A call in a mailbox, whose outcome the caller waits for.
struct PendingCall {
    context: Arc<Context>,
    kind: TriggerKind,
    handler: Arc<str>,
    outcome: oneshot::Receiver<CallResult>,
}

impl PendingCall {
    async fn outcome_in(self, slot: Arc<Slot>) -> CallResult {
        self.outcome(&slot).await
    }

    async fn outcome(self, slot: &Slot) -> CallResult {
        let outcome = match self.context.deadline {
            Deadline::At(at) => tokio::time::timeout_at(at.into(), self.outcome).await,
            Deadline::AfterStart(_) => Ok(self.outcome.await),
        };
        match outcome {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                Err(CallError::Crashed(format!("the host lost a call of {} in {}", slot.module, slot.isolate)))
            }
            Err(_) => {
                let error = slot.timeout();
                if self.context.end() {
                    slot.stats.ended(self.kind, &self.handler, &self.context, Some(&error));
                }
                Err(error)
            }
        }
    }
}
