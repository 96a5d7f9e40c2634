//! Broadcasts: one sequencer for each module, and room in every worker or in none.
//!
//! Under its lock, the sequencer looks for room in the broadcast lane of every worker, and then
//! pushes the broadcast to all lanes or to none. It skips a slot whose module has failed, and the
//! receipt names that slot. The deadline of a broadcast counts from its start in a worker, because
//! it may wait in its lane for any time. A broadcast that has not started survives a crash, a
//! restart and a swap; one that runs when its instance ends has failed there, and is not repeated.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::actor::{Actor, no_module, subdomain};
use super::peers::RemoteEmission;
use super::{CallSpec, Dispatch};
use crate::call::text::{NAME, line};
use crate::call::{
    Broadcast, CallError, CallResult, Context, Deadline, Emission, GatherEntry, Outcome, Passed, Payload, Receipt,
    Skipped, Trace, Trigger, TriggerKind, weight_of_broadcast,
};
use crate::isolate::{Lane, QueuedCall, Slot};
use crate::ports::BoxFuture;
use crate::registry::{Access, MatchedRoute};

/// The order of a module's broadcasts on this node. Only the holder of the lock fills the module's
/// broadcast lanes.
#[derive(Debug, Default)]
pub struct Sequencer {
    last: Mutex<u64>,
}

/// A broadcast with its recipients. The actor may emit it.
pub(super) struct Resolved {
    /// One slot in each worker, in index order. Empty if only other nodes serve the module.
    pub(super) slots: Vec<Arc<Slot>>,
    /// Whether it is sent to other nodes.
    pub(super) has_others: bool,
    pub(super) module: Arc<str>,
    pub(super) name: Arc<str>,
    pub(super) subdomain: Option<Arc<str>>,
    /// The call that emits it.
    parent: Option<Arc<Context>>,
    /// Whether the caller waits for an entry from each worker.
    gather: bool,
}

/// A broadcast that was queued in at least one worker, or that only other nodes receive.
struct Emitted {
    receipt: Receipt,
    deliveries: Vec<Delivery>,
    /// The entries of other nodes, if the caller waits for them.
    others: Option<BoxFuture<Vec<GatherEntry>>>,
}

/// The delivery of a broadcast to one worker.
struct Delivery {
    slot: Arc<Slot>,
    queued: Result<Pending, CallError>,
}

/// How the caller gets an entry for a worker in which the broadcast was queued.
enum Pending {
    /// It gets none, because it does not gather.
    Nothing,
    Outcome(oneshot::Receiver<CallResult>),
    /// The broadcast cannot start before the gathering call has ended.
    Deadlock(CallError),
}

impl Delivery {
    async fn wait(self, deadline: Instant) -> GatherEntry {
        let isolate = self.slot.isolate;
        let outcome = match self.queued {
            Err(error) | Ok(Pending::Deadlock(error)) => Err(error),
            Ok(Pending::Nothing) => Ok(Outcome::Pass(Passed::default())),
            Ok(Pending::Outcome(outcome)) => match tokio::time::timeout_at(deadline.into(), outcome).await {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(_)) => Err(CallError::Crashed(format!("the host lost a broadcast in {isolate}"))),
                Err(_) => Err(self.slot.timeout()),
            },
        };
        GatherEntry { isolate, node: None, outcome: outcome.map(Outcome::into_reply) }
    }
}

impl Dispatch {
    fn sequencer(&self, module: &Arc<str>) -> Arc<Sequencer> {
        if let Some(sequencer) = self.sequencers.load().get(module) {
            return sequencer.clone();
        }
        let new = Arc::new(Sequencer::default());
        self.sequencers.rcu(|all| {
            let mut all = std::collections::HashMap::clone(all);
            all.entry(module.clone()).or_insert_with(|| new.clone());
            all
        });
        self.sequencers.load().get(module).cloned().unwrap_or(new)
    }

    /// Runs `work` between two broadcasts of a module, so that it has the same position in the
    /// order of broadcasts in every worker.
    pub fn between_broadcasts<T>(&self, module: &Arc<str>, work: impl FnOnce() -> T) -> T {
        let sequencer = self.sequencer(module);
        let _order = sequencer.last.lock();
        work()
    }

    /// Queues a broadcast in every worker of this node or in none, and sends it to the other nodes
    /// that serve its module. A durable one is queued for the stream.
    pub fn emit(&self, actor: &Actor, emission: Emission, payload: Payload) -> Result<Receipt, CallError> {
        let broadcast = self.resolve_broadcast(actor, emission, &payload, false)?;
        match self.is_durable(actor, &broadcast) {
            true => self.queue_durable(actor, &broadcast, payload),
            false => Ok(self.emit_to_all(actor, &broadcast, payload, None)?.receipt),
        }
    }

    /// Queues a broadcast and waits for an entry from every worker: those of this node in index
    /// order, then those of other nodes by node.
    pub fn gather(
        &self,
        actor: &Actor,
        emission: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let deadline = self.caller_deadline(actor, timeout);
        let emitted = self.resolve_broadcast(actor, emission, &payload, true).and_then(|broadcast| {
            if self.is_durable(actor, &broadcast) {
                let why = "is durable, so that nodes may run it much later: emit it instead of gathering";
                return Err(CallError::Invalid(format!(
                    "the broadcast `{}` of {} {why}",
                    broadcast.name, broadcast.module
                )));
            }
            self.emit_to_all(actor, &broadcast, payload, Some(deadline))
        });
        async move {
            let Emitted { deliveries, others, .. } = emitted?;
            let entries = join_all(deliveries.into_iter().map(|delivery| delivery.wait(deadline)));
            let Some(others) = others else { return Ok(entries.await) };
            let (mut entries, others) = futures_util::future::join(entries, others).await;
            entries.extend(others);
            Ok(entries)
        }
    }

    /// With a deadline, the caller waits for an entry from each worker until then.
    fn emit_to_all(
        &self,
        actor: &Actor,
        broadcast: &Resolved,
        payload: Payload,
        gather: Option<Instant>,
    ) -> Result<Emitted, CallError> {
        let sequencer = self.sequencer(&broadcast.module);
        // No generation is switched while this is locked, so every step below sees the same ones.
        let mut last = sequencer.last.lock();
        broadcast.check_access()?;
        let weight = broadcast.reserve(&payload)?;
        let seq = if broadcast.slots.is_empty() { *last } else { *last + 1 };
        let copy = broadcast.has_others.then(|| payload.clone());
        let (id, deliveries) = self.deliver(actor, broadcast, seq, weight, payload)?;
        *last = seq;
        broadcast.pass_holds();
        let mut emitted = broadcast.receipt(id, seq, deliveries)?;
        // Under the lock, so that other nodes have the same order.
        if let Some(payload) = copy {
            self.send_to_others(actor, broadcast, &mut emitted, payload, gather);
        }
        drop(last);
        Ok(emitted)
    }

    fn send_to_others(
        &self,
        actor: &Actor,
        broadcast: &Resolved,
        emitted: &mut Emitted,
        payload: Payload,
        gather: Option<Instant>,
    ) {
        let remote = RemoteEmission {
            module: broadcast.module.to_string(),
            name: broadcast.name.to_string(),
            id: emitted.receipt.id,
            subdomain: broadcast.subdomain.as_deref().map(str::to_owned),
            payload,
        };
        match gather {
            None => {
                let reached = self.broadcast_to_peers(actor, remote);
                emitted.receipt.extra.push(("nodes".to_owned(), reached.nodes.to_string()));
                emitted.receipt.skipped.extend(reached.skipped);
            }
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                emitted.others = Some(self.gather_from_peers(actor, remote, left));
            }
        }
    }

    /// Checks that the actor may emit the broadcast, and finds the slots that receive it.
    pub(super) fn resolve_broadcast(
        &self,
        actor: &Actor,
        emission: Emission,
        payload: &Payload,
        gather: bool,
    ) -> Result<Resolved, CallError> {
        if let Actor::Guest(caller) = actor {
            super::calls::check_sent(caller, payload, emission.text_len())?;
        }
        let (module, parent) = self.emitting_call(actor, &emission)?;
        let slots: Vec<Arc<Slot>> = self.workers().iter().filter_map(|isolate| isolate.slot(&module)).collect();
        // The emitting node has already sent a peer's broadcast to every node.
        let has_others = !matches!(actor, Actor::Peer(_)) && !self.peers.nodes().is_empty();
        if slots.is_empty() && (!has_others || self.peers.holders(&module).is_empty()) {
            return Err(self.missing(&module));
        }
        let subdomain = match actor.envelope() {
            Some(envelope) => envelope.subdomain.clone(),
            None => subdomain(emission.subdomain, parent.as_ref()),
        };
        let module = slots.first().map_or_else(|| module.as_str().into(), |first| first.module.clone());
        let (name, parent) = (emission.name.as_str().into(), parent);
        Ok(Resolved { slots, has_others, module, name, subdomain, parent, gather })
    }

    /// The module of a broadcast and the call that emits it, if the actor may emit for this module.
    fn emitting_call(&self, actor: &Actor, emission: &Emission) -> Result<(String, Option<Arc<Context>>), CallError> {
        match actor {
            Actor::Operator => Ok((emission.module.clone().ok_or_else(no_module)?, None)),
            Actor::Peer(peer) => Ok((emission.module.clone().ok_or_else(no_module)?, peer.parent.clone())),
            Actor::Guest(caller) => {
                let module = emission.module.as_deref().unwrap_or(&caller.module);
                if module != &*caller.module && !caller.capabilities.broadcast.allow(module) {
                    return Err(caller.forbidden("broadcast", Some(module)));
                }
                Ok((module.to_owned(), caller.context.clone()))
            }
        }
    }

    /// Queues the broadcast in every slot. Returns its id, and one delivery for each slot. The
    /// error means that it was queued in none.
    fn deliver(
        &self,
        actor: &Actor,
        broadcast: &Resolved,
        seq: u64,
        weight: u64,
        payload: Payload,
    ) -> Result<(u64, Vec<Delivery>), CallError> {
        let id = match actor {
            Actor::Guest(_) | Actor::Operator => self.ids.next(),
            Actor::Peer(peer) => peer.broadcast.unwrap_or_default(),
        };
        let count = broadcast.slots.len();
        let mut payload = Some(payload);
        let mut deliveries = Vec::with_capacity(count);
        for (index, slot) in broadcast.slots.iter().enumerate() {
            // The last call gets the payload itself, the others get copies.
            let payload = if index + 1 == count { payload.take() } else { payload.clone() }.unwrap_or_default();
            let spec = broadcast.spec(actor, slot, (id, seq), payload);
            let queued = self.deliver_to(slot, broadcast, spec, weight);
            match &queued {
                // These errors are the same in every slot, and nothing was queued before the first
                // one.
                Err(error @ (CallError::TooDeep(_) | CallError::Invalid(_))) if index == 0 => return Err(error.clone()),
                Err(error) => slot.refused(TriggerKind::Broadcast, error, broadcast.trace()),
                Ok(_) => {}
            }
            deliveries.push(Delivery { slot: slot.clone(), queued });
        }
        Ok((id, deliveries))
    }

    fn deliver_to(&self, slot: &Slot, broadcast: &Resolved, spec: CallSpec, weight: u64) -> Result<Pending, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        // During a canary, workers run different generations, and each looks the broadcast up in
        // its own.
        let deployment = slot.deployment();
        let index = deployment.generation.manifest.broadcasts.get(&*broadcast.name);
        let Some(route) = index.and_then(|index| deployment.route(*index)) else {
            return Err(CallError::NotFound(format!(
                "{} has no broadcast `{}` in {}",
                slot.module,
                line(&broadcast.name, NAME),
                slot.isolate
            )));
        };
        let gather = broadcast.gather;
        let deadlock = if gather { self.rejection(slot, broadcast.parent.as_ref()) } else { None };
        let matched = MatchedRoute { route, access: Access::default(), params: Vec::new() };
        let call = self.build_call(slot, matched, spec)?;
        let (reply, pending) = match deadlock {
            None if gather => {
                let (reply, outcome) = oneshot::channel();
                (Some(reply), Pending::Outcome(outcome))
            }
            None => (None, Pending::Nothing),
            Some(error) => (None, Pending::Deadlock(error)),
        };
        slot.offer(Lane::Broadcasts, QueuedCall::with_weight(call, reply, weight)).map_err(|(error, _)| error)?;
        Ok(pending)
    }
}

impl Resolved {
    fn trace(&self) -> Option<Trace> {
        self.parent.as_ref().map(|parent| parent.trace)
    }

    /// Checks that a generation declares the broadcast, and that its route is open to broadcasts.
    pub(super) fn check_access(&self) -> Result<(), CallError> {
        let access = self.slots.iter().find_map(|slot| {
            let generation = &slot.deployment().generation;
            Some(generation.access(*generation.manifest.broadcasts.get(&*self.name)?))
        });
        let (module, name) = (&self.module, &self.name);
        match access {
            Some(access) => {
                let closed = |why| CallError::Forbidden(format!("the broadcast `{name}` of {module}: {why}"));
                access.admits(TriggerKind::Broadcast).map_err(closed)
            }
            // The nodes that serve the module know its broadcasts.
            None if self.slots.is_empty() => Ok(()),
            None => Err(CallError::NotFound(format!(
                "{module} has no broadcast `{}`; it has: {}",
                line(name, NAME),
                self.declared()
            ))),
        }
    }

    /// The names of the module's broadcasts.
    fn declared(&self) -> String {
        let Some(first) = self.slots.first() else { return "none".to_owned() };
        let deployment = first.deployment();
        let names: Vec<&str> = deployment.generation.manifest.broadcasts.keys().map(String::as_str).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// Checks that every worker's lane has room, and returns the weight of the broadcast there. The
    /// room stays free while the sequencer is locked. Failed slots do not count, because they are
    /// skipped.
    fn reserve(&self, payload: &Payload) -> Result<u64, CallError> {
        let waiting = self.parent.as_deref().filter(|_| self.gather);
        let weight = weight_of_broadcast(&self.name, self.subdomain.as_deref(), waiting, payload);
        let full = self.slots.iter().find_map(|slot| {
            let limit = slot.mailbox.refuses_broadcast(weight).filter(|_| slot.failed().is_none())?;
            Some((slot, slot.overloaded(limit)))
        });
        let Some((slot, error)) = full else { return Ok(weight) };
        slot.refused(TriggerKind::Broadcast, &error, self.trace());
        Err(error)
    }

    /// The call that delivers the broadcast to one slot.
    fn spec(&self, actor: &Actor, slot: &Slot, (id, seq): (u64, u64), payload: Payload) -> CallSpec {
        let same_as_caller = actor.isolate() == Some(slot.isolate);
        CallSpec {
            trigger: Trigger::Broadcast(Broadcast { name: self.name.clone(), id, seq, same_as_caller }),
            origin: actor.origin(),
            deadline: Deadline::AfterStart(slot.deployment().generation.limits.timeout),
            parent: self.parent.clone(),
            remote: actor.envelope().cloned(),
            awaited: self.gather,
            subdomain: self.subdomain.clone(),
            trace: actor.envelope().map(|envelope| envelope.trace),
            http: None,
            session: None,
            extra: Vec::new(),
            query: String::new(),
            payload,
            exchange: None,
        }
    }

    /// Lets a gather pass a swap's hold, with the broadcasts before it, if a running call of the
    /// module waits for it. Otherwise the hold would wait for that call, and the call for the hold.
    fn pass_holds(&self) {
        let is_own = |context: &Arc<Context>| context.module == self.module;
        let waits = |parent: &Arc<Context>| is_own(parent) || parent.waiters().any(is_own);
        if self.gather && self.parent.as_ref().is_some_and(waits) {
            self.slots.iter().for_each(|slot| slot.mailbox.pass_broadcasts());
        }
    }

    /// The receipt, or an error if the broadcast was queued in no worker of a node that serves the
    /// module.
    fn receipt(&self, id: u64, seq: u64, deliveries: Vec<Delivery>) -> Result<Emitted, CallError> {
        let skipped: Vec<Skipped> = deliveries
            .iter()
            .filter_map(|delivery| {
                let reason = delivery.queued.as_ref().err()?.to_string();
                Some(Skipped { isolate: delivery.slot.isolate, node: None, reason })
            })
            .collect();
        let accepted = deliveries.len() - skipped.len();
        match (accepted, skipped.first()) {
            (0, Some(first)) => {
                Err(CallError::Unavailable(format!("no worker runs {}: {}", self.module, first.reason)))
            }
            _ => {
                let accepted = u32::try_from(accepted).unwrap_or(u32::MAX);
                let receipt = Receipt { id, seq, accepted, skipped, extra: Vec::new() };
                Ok(Emitted { receipt, deliveries, others: None })
            }
        }
    }
}
