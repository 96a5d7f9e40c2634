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

use super::actor::Actor;
use super::peers::RemoteEmission;
use super::{CallSpec, Dispatch};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, CallResult, Emission, GatherEntry, Outcome, Passed, Payload, Receipt, Skipped, TriggerKind,
};
use crate::isolate::{Lane, QueuedCall, Slot};
use crate::ports::BoxFuture;
use crate::registry::{Access, MatchedRoute};

mod recipients;

pub(super) use recipients::Resolved;

/// The order of a module's broadcasts on this node. Only the holder of the lock fills the module's
/// broadcast lanes.
#[derive(Debug, Default)]
pub struct Sequencer {
    last: Mutex<u64>,
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
        let mut emitted = receipt(&broadcast.module, id, seq, deliveries)?;
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

/// The receipt, or an error if the broadcast was queued in no worker of a node that serves the
/// module.
fn receipt(module: &str, id: u64, seq: u64, deliveries: Vec<Delivery>) -> Result<Emitted, CallError> {
    let skipped: Vec<Skipped> = deliveries
        .iter()
        .filter_map(|delivery| {
            let reason = delivery.queued.as_ref().err()?.to_string();
            Some(Skipped { isolate: delivery.slot.isolate, node: None, reason })
        })
        .collect();
    let accepted = deliveries.len() - skipped.len();
    match (accepted, skipped.first()) {
        (0, Some(first)) => Err(CallError::Unavailable(format!("no worker runs {}: {}", module, first.reason))),
        _ => {
            let accepted = u32::try_from(accepted).unwrap_or(u32::MAX);
            let receipt = Receipt { id, seq, accepted, skipped, extra: Vec::new() };
            Ok(Emitted { receipt, deliveries, others: None })
        }
    }
}
