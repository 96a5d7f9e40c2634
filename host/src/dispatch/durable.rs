//! Durable broadcasts. A stream of the cluster keeps them, and the cluster reads it and runs each
//! broadcast in every worker of this node, one after another.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::actor::Actor;
use super::assigned::AssignedEnd;
use super::broadcasts::Resolved;
use super::peers::RemoteEmission;
use super::{CallSpec, Dispatch, PendingCall, check_size};
use crate::call::text::{NAME, line};
use crate::call::{
    Broadcast, CallEnd, CallError, Deadline, Emission, IsolateId, Outcome, Payload, PeerBroadcast, Receipt, Trigger,
    TriggerKind,
};
use crate::isolate::{Lane, QueuedCall, Slot};
use crate::ports::BoxFuture;
use crate::registry::{Access, Durable, Manifest, MatchedRoute};

/// A broadcast of the stream that a worker runs.
#[derive(Debug, Clone)]
pub struct DurableRun {
    pub broadcast: PeerBroadcast,
    /// Its place in the stream.
    pub position: u64,
    /// Whether this process has emitted it.
    pub is_own: bool,
    /// How often it was tried in this worker, with this run.
    pub delivery: u32,
}

impl Dispatch {
    /// Whether a broadcast that this node emits goes through the stream.
    pub(super) fn is_durable(&self, actor: &Actor, broadcast: &Resolved) -> bool {
        // The node that has sent it decided.
        if matches!(actor, Actor::Peer(_)) {
            return false;
        }
        if broadcast.slots.is_empty() {
            return self.peers.is_durable(&broadcast.module, &broadcast.name);
        }
        let declares = |slot: &Arc<Slot>| slot.deployment().generation.manifest.durable.contains_key(&*broadcast.name);
        broadcast.slots.iter().any(declares)
    }

    /// Whether a broadcast that names its module is durable.
    pub fn emits_durably(&self, emission: &Emission) -> bool {
        let resolved = self.resolve_broadcast(&Actor::Operator, emission.clone(), &Payload::None, false);
        resolved.is_ok_and(|broadcast| self.is_durable(&Actor::Operator, &broadcast))
    }

    /// Queues a durable broadcast for the stream.
    pub(super) fn queue_durable(
        &self,
        actor: &Actor,
        broadcast: &Resolved,
        payload: Payload,
    ) -> Result<Receipt, CallError> {
        let (broadcast, receipt) = self.durable(actor, broadcast, payload, Duration::ZERO)?;
        self.peers.queue_durable(broadcast)?;
        Ok(receipt)
    }

    /// Emits a durable broadcast. Resolves when the stream has it, at the latest at the caller's
    /// deadline.
    pub fn emit_durable(
        &self,
        actor: &Actor,
        emission: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> BoxFuture<Result<Receipt, CallError>> {
        match self.kept(actor, emission, payload, timeout) {
            Ok(kept) => kept,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn kept(
        &self,
        actor: &Actor,
        emission: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> Result<BoxFuture<Result<Receipt, CallError>>, CallError> {
        let broadcast = self.resolve_broadcast(actor, emission, &payload, false)?;
        broadcast.check_access()?;
        if !self.is_durable(actor, &broadcast) {
            return Err(CallError::Invalid(format!(
                "the broadcast `{}` of {} is not durable: add `\"delivery\": \"durable\"` to it in module.json, or \
                 emit it with `broadcast.emit`",
                line(&broadcast.name, NAME),
                broadcast.module
            )));
        }
        let left = self.caller_deadline(actor, timeout).saturating_duration_since(Instant::now());
        let (broadcast, mut receipt) = self.durable(actor, &broadcast, payload, left)?;
        let kept = self.peers.keep(broadcast);
        Ok(Box::pin(async move {
            receipt.seq = kept.await?;
            receipt.extra.push(("position".to_owned(), receipt.seq.to_string()));
            Ok(receipt)
        }))
    }

    /// Checks a durable broadcast, and returns it as the stream keeps it.
    fn durable(
        &self,
        actor: &Actor,
        broadcast: &Resolved,
        payload: Payload,
        left: Duration,
    ) -> Result<(PeerBroadcast, Receipt), CallError> {
        broadcast.check_access()?;
        let subdomain = broadcast.subdomain.as_deref().map(str::to_owned);
        let envelope = self.envelope(actor, subdomain.clone(), left, false);
        self.check_depth(&broadcast.module, envelope.depth)?;
        if let Some(slot) = broadcast.slots.first() {
            let names = broadcast.name.len() + subdomain.as_ref().map_or(0, String::len);
            check_size(slot.deployment().generation.limits.payload, &slot.module, payload.len(), names)?;
        }
        let id = self.ids.next();
        let holders = self.peers.holders(&broadcast.module).len();
        let extra = if broadcast.has_others { vec![("nodes".to_owned(), holders.to_string())] } else { Vec::new() };
        let accepted = u32::try_from(broadcast.slots.len()).unwrap_or(u32::MAX);
        let receipt = Receipt { id, seq: 0, accepted, skipped: Vec::new(), extra };
        let (module, name) = (broadcast.module.to_string(), broadcast.name.to_string());
        let emission = RemoteEmission { module, name, id, subdomain, payload };
        Ok((emission.broadcast(envelope), receipt))
    }

    /// The workers that hold a module.
    pub fn workers_of(&self, module: &str) -> Vec<u32> {
        let slots = self.workers().iter().filter_map(|isolate| isolate.slot(module));
        slots.filter_map(|slot| slot.isolate.worker()).collect()
    }

    /// Whether workers run durable broadcasts of a module, also while it is loading.
    pub fn runs_durable(&self, module: &str) -> bool {
        let slots = self.workers().iter().filter_map(|isolate| isolate.slot(module));
        slots.map(|slot| slot.deployment()).any(|deployment| !deployment.generation.manifest.durable.is_empty())
    }

    /// How a worker runs a durable broadcast: as its generation says, or by default if that does
    /// not declare it.
    pub fn durable_settings(&self, worker: u32, module: &str, name: &str) -> Durable {
        let slot = self.places.get(IsolateId::Worker(worker)).and_then(|isolate| isolate.slot(module));
        let declared = slot.and_then(|slot| slot.deployment().generation.manifest.durable.get(name).copied());
        declared.unwrap_or_default()
    }

    /// Queues a durable broadcast in one worker, and returns a future that resolves when the worker
    /// is done with it. It waits while the instance restarts, or a swap holds the slot. An error
    /// means that it was not queued.
    pub fn run_durable(
        self: &Arc<Self>,
        worker: u32,
        run: DurableRun,
    ) -> Result<impl Future<Output = CallEnd> + Send + use<>, CallError> {
        let slot = self.slot_in(&run.broadcast.module, IsolateId::Worker(worker))?;
        let pending = self.queue_run(&slot, run).inspect_err(|error| {
            if !matches!(error, CallError::Unavailable(_) | CallError::Overloaded(_)) {
                slot.refused(TriggerKind::Broadcast, error, None);
            }
        })?;
        let dispatch = self.clone();
        Ok(async move {
            match dispatch.end_of(&slot, pending, None::<fn(&Manifest) -> bool>).await {
                AssignedEnd::Withdrawn(why) | AssignedEnd::NotStarted(why) => CallEnd::Returned(why),
                AssignedEnd::Ended(outcome) => CallEnd::Ended(outcome.map(Outcome::into_reply)),
            }
        })
    }

    fn queue_run(&self, slot: &Slot, run: DurableRun) -> Result<PendingCall, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let DurableRun { broadcast: PeerBroadcast { envelope, module: _, name, id, payload }, .. } = run;
        let deployment = slot.deployment();
        let index = deployment.generation.manifest.broadcasts.get(&name);
        let Some((index, route)) = index.and_then(|index| Some((*index, deployment.route(*index)?))) else {
            let (name, module) = (line(&name, NAME), &slot.module);
            return Err(CallError::NotFound(format!("{module} has no broadcast `{name}` in {}", slot.isolate)));
        };
        let closed = |why| CallError::Forbidden(format!("the broadcast `{name}` of {}: {why}", slot.module));
        deployment.generation.access(index).admits(TriggerKind::Broadcast).map_err(closed)?;
        let origin = envelope.origin.clone();
        let same_as_caller =
            run.is_own && matches!(&origin, crate::call::Origin::Guest { isolate, .. } if *isolate == slot.isolate);
        let broadcast = Broadcast { name: name.as_str().into(), id, seq: run.position, same_as_caller };
        let deadline = Deadline::AfterStart(deployment.generation.limits.timeout);
        let spec = CallSpec {
            origin,
            subdomain: envelope.subdomain.clone(),
            trace: Some(envelope.trace),
            remote: Some(Arc::new(envelope)),
            extra: vec![
                ("position".to_owned(), run.position.to_string()),
                ("delivery".to_owned(), run.delivery.to_string()),
            ],
            ..CallSpec::of_host(Trigger::Broadcast(broadcast), deadline, payload)
        };
        let call =
            self.build_call(slot, MatchedRoute { route, access: Access::default(), params: Vec::new() }, spec)?;
        let (context, handler) = (call.context.clone(), call.route.handler.clone());
        let (reply, outcome) = oneshot::channel();
        // No generation is switched meanwhile, and no other broadcast takes the room.
        self.between_broadcasts(&slot.module, || {
            slot.offer(Lane::Broadcasts, QueuedCall::new(call, Some(reply))).map_err(|(error, _)| error)
        })?;
        Ok(PendingCall { context, kind: TriggerKind::Broadcast, handler, outcome })
    }
}
