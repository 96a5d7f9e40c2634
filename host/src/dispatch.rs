//! Addresses, sequencing, fan-out and deadlines: every call goes through here.
//!
//! Knows slots and their mailboxes; neither wasm nor HTTP. A single node has no peers, and nothing here treats that as special.

mod actor;
mod broadcasts;
mod calls;
mod choose;
mod peers;
mod places;
mod resolve;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::oneshot;

pub use actor::Actor;
pub use broadcasts::Sequencer;
pub use places::Places;

use crate::call::{
    Call, CallError, CallResult, Context, Deadline, Envelope, Origin, Payload, RequestHead, RouteName, Trace, Trigger,
    TriggerKind,
};
use crate::isolate::{Ids, Isolate, Lane, NodeFacts, Queued, Slot};
use crate::ports::Peers;
use crate::registry::{Found, Matched, Roster};

/// The one way to a route.
pub struct Dispatch {
    places: Places,
    roster: Arc<Roster>,
    node: Arc<NodeFacts>,
    ids: Ids,
    max_depth: u32,
    peers: Arc<dyn Peers>,
    sequencers: ArcSwap<HashMap<Arc<str>, Arc<Sequencer>>>,
}

/// A call to be made, but for where it goes.
pub struct CallSpec {
    pub trigger: Trigger,
    pub origin: Origin,
    pub deadline: Deadline,
    pub parent: Option<Arc<Context>>,
    /// See [`Context::remote`].
    pub remote: Option<Arc<Envelope>>,
    /// Whether the parent waits for it.
    pub awaited: bool,
    pub subdomain: Option<Arc<str>>,
    pub trace: Option<Trace>,
    pub http: Option<Box<RequestHead>>,
    pub query: String,
    pub payload: Payload,
}

impl CallSpec {
    /// Its own, else that of the call above it.
    fn trace(&self) -> Option<Trace> {
        self.trace.or(self.parent.as_ref().map(|parent| parent.trace))
    }

    /// How many calls are above it.
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
        Dispatch { places, roster, node, ids, max_depth, peers, sequencers: ArcSwap::default() }
    }

    pub fn places(&self) -> &Places {
        &self.places
    }

    /// Every worker's isolate, in index order.
    pub fn workers(&self) -> &[Arc<Isolate>] {
        &self.places.workers
    }

    /// What became of every folder.
    pub fn roster(&self) -> &Arc<Roster> {
        &self.roster
    }

    /// Why a module that no worker holds cannot be called.
    pub fn missing(&self, module: &str) -> CallError {
        self.roster.missing(module)
    }

    /// The modules that no worker holds, and what became of each.
    pub fn absent(&self) -> Vec<(String, String)> {
        let states = self.roster.states().into_iter();
        states.filter_map(|(name, state)| state.absent().map(|state| (name, state))).collect()
    }

    /// A route in a slot, as callers inside name it.
    fn find(slot: &Slot, name: &RouteName, trigger: TriggerKind) -> Result<Matched, CallError> {
        let what = || format!("{}/{}", slot.module, name.path);
        match slot.deployment().router.find_inside(name.method.as_ref(), &name.path) {
            Found::Route(matched) => {
                let closed = |why| CallError::Forbidden(format!("{}: {why}", what()));
                matched.access.admits(trigger).map_err(closed)?;
                Ok(matched)
            }
            Found::NotFound => Err(CallError::NotFound(format!("there is no route {}", what()))),
            Found::BadPath => Err(CallError::Invalid(format!("{} has a percent escape that is none", what()))),
            Found::MethodNotAllowed(methods) => {
                let methods: Vec<&str> = methods.iter().map(http::Method::as_str).collect();
                Err(CallError::NotFound(format!("{} can be called as {}: name one", what(), methods.join(", "))))
            }
        }
    }

    /// A call for one slot, or why its chain may not go on.
    fn make(&self, slot: &Slot, matched: Matched, spec: CallSpec) -> Result<Call, CallError> {
        let depth = spec.depth();
        self.not_too_deep(&slot.module, depth)?;
        let from_client = spec.http.is_some();
        let trace = spec.trace();
        let mut context = Context::root(self.ids.next(), slot.module.clone(), slot.isolate, spec.origin, spec.deadline);
        if let Some(trace) = trace {
            context.trace = trace;
        }
        context.in_startup = spec.awaited
            && (spec.parent.as_ref().is_some_and(|parent| parent.in_startup)
                || spec.remote.as_ref().is_some_and(|envelope| envelope.in_startup));
        context.subdomain = spec.subdomain;
        context.parent = spec.parent.filter(|_| spec.awaited);
        context.remote = spec.remote;
        context.depth = depth;
        context.http = spec.http;
        let call = Call {
            context: Arc::new(context),
            route: matched.route,
            trigger: spec.trigger,
            params: matched.params,
            query: spec.query,
            payload: spec.payload,
            extra: Vec::new(),
        };
        // `http.maxHeaderBytes` bounds what a request has besides its payload.
        let beside = if from_client { 0 } else { call.text_len() };
        let limit = slot.deployment().generation.limits.payload;
        within(limit, &slot.module, call.payload.len(), beside).map(|()| call)
    }

    fn not_too_deep(&self, module: &str, depth: u32) -> Result<(), CallError> {
        if depth <= self.max_depth {
            return Ok(());
        }
        Err(CallError::TooDeep(format!(
            "a call of {module} would be {depth} calls deep: calls.maxDepth allows {}",
            self.max_depth
        )))
    }

    /// Makes a call in one slot and brings its end home, which is at its deadline at the latest.
    fn ask(
        &self,
        slot: Arc<Slot>,
        matched: Matched,
        spec: CallSpec,
    ) -> impl Future<Output = CallResult> + Send + use<> {
        let (kind, trace) = (spec.trigger.kind(), spec.trace());
        let placed = self.place(&slot, matched, spec);
        async move {
            let placed = placed.inspect_err(|error| slot.refused(kind, error, trace))?;
            placed.wait(&slot).await
        }
    }

    fn place(&self, slot: &Slot, matched: Matched, spec: CallSpec) -> Result<Placed, CallError> {
        let kind = spec.trigger.kind();
        let call = self.make(slot, matched, spec)?;
        let context = call.context.clone();
        let lane = if context.is_nested() { Lane::Nested } else { Lane::Calls };
        let (reply, ended) = oneshot::channel();
        slot.offer(lane, Queued::new(call, Some(reply))).map_err(|(error, _)| error)?;
        Ok(Placed { context, kind, ended })
    }

    /// Why the call may not wait for a slot, if so: the slot takes no other call before the chain has ended.
    fn deadlock(slot: &Slot, parent: Option<&Arc<Context>>) -> Option<CallError> {
        let exclusive = |context: &Arc<Context>| {
            context.module == slot.module
                && context.isolate == slot.isolate
                && context.exclusive.load(std::sync::atomic::Ordering::Acquire)
        };
        let parent = parent?;
        let holder = std::iter::once(parent).chain(parent.waiters()).find(|context| exclusive(context))?;
        Some(CallError::WouldDeadlock(format!(
            "{} in {} runs call {} alone, which waits for this one",
            slot.module, slot.isolate, holder.id
        )))
    }

    /// When a call ends at the latest that says nothing else: what its caller has left, and no more than the target allows.
    fn deadline(
        &self,
        slot: &Slot,
        parent: Option<&Arc<Context>>,
        given: Option<Duration>,
        fallback: Duration,
    ) -> Instant {
        let now = Instant::now();
        let left = parent.and_then(|parent| parent.until()).unwrap_or(now + fallback);
        let asked = given.map_or(left, |given| left.min(now + given));
        asked.min(now + slot.deployment().generation.limits.timeout)
    }
}

/// Checks that a payload, and the text that goes with it, are each within the `limits.payload` of a
/// module.
fn within(limit: u64, module: &str, payload: usize, beside: usize) -> Result<(), CallError> {
    for (what, size) in [("payload has", payload), ("names beside the payload have", beside)] {
        if size as u64 > limit {
            return Err(CallError::Invalid(format!(
                "the {what} {size} bytes: more than limits.payload of {module}, {limit}"
            )));
        }
    }
    Ok(())
}

/// A call that lies in a mailbox.
struct Placed {
    context: Arc<Context>,
    kind: TriggerKind,
    ended: oneshot::Receiver<CallResult>,
}

impl Placed {
    async fn wait(self, slot: &Slot) -> CallResult {
        let ended = match self.context.deadline {
            Deadline::At(at) => tokio::time::timeout_at(at.into(), self.ended).await,
            Deadline::AfterStart(_) => Ok(self.ended.await),
        };
        match ended {
            Ok(Ok(ended)) => ended,
            Ok(Err(_)) => {
                Err(CallError::Crashed(format!("the host lost a call of {} in {}", slot.module, slot.isolate)))
            }
            Err(_) => {
                if self.context.end() {
                    slot.stats.ended(self.kind, &self.context, Some(&CallError::Timeout));
                }
                Err(CallError::Timeout)
            }
        }
    }
}
