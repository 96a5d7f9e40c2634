//! Broadcasts: one sequencer a module, places for all or for none.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::actor::{Actor, subdomain};
use super::{CallSpec, Dispatch};
use crate::call::text::{NAME, line};
use crate::call::{
    Broadcast, CallError, CallResult, Context, Deadline, Emission, GatherEntry, IsolateId, Outcome, Passed, Payload,
    Receipt, Skipped, Trigger, TriggerKind, weight_of_broadcast,
};
use crate::config::capabilities::forbidden;
use crate::isolate::{Lane, Queued, Slot};
use crate::registry::{Access, Matched};

/// The order of a module's broadcasts on this node. Whoever holds the lock is the only one to fill its broadcast lanes.
#[derive(Debug, Default)]
pub struct Sequencer {
    last: Mutex<u64>,
}

/// What became of a broadcast in one worker.
struct Delivery {
    isolate: IsolateId,
    placed: Result<Waiting, CallError>,
}

enum Waiting {
    /// Nobody waits for it.
    Not,
    For(oneshot::Receiver<CallResult>),
    /// It is queued, but cannot run before the call that gathers has ended.
    Never(CallError),
}

/// A broadcast that has been queued.
struct Emitted {
    module: String,
    receipt: Receipt,
    deliveries: Vec<Delivery>,
}

impl Delivery {
    async fn wait(self, deadline: Instant) -> GatherEntry {
        let isolate = self.isolate;
        let ended = match self.placed {
            Err(error) | Ok(Waiting::Never(error)) => Err(error),
            Ok(Waiting::Not) => Ok(Outcome::Pass(Passed::default())),
            Ok(Waiting::For(ended)) => match tokio::time::timeout_at(deadline.into(), ended).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(_)) => Err(CallError::Crashed(format!("the host lost a broadcast in {isolate}"))),
                Err(_) => Err(CallError::Timeout),
            },
        };
        GatherEntry { isolate, node: None, outcome: ended.map(Outcome::into_reply) }
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

    /// Does something to all slots of a module between two of its broadcasts.
    pub fn between_broadcasts<T>(&self, module: &Arc<str>, work: impl FnOnce() -> T) -> T {
        let sequencer = self.sequencer(module);
        let _order = sequencer.last.lock();
        work()
    }

    /// Queues a broadcast in every worker, or in none, and then sends it to the other nodes.
    pub fn emit(&self, actor: &Actor, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        // What a peer sends has reached all nodes.
        let alone = matches!(actor, Actor::Peer(_)) || self.peers.nodes().is_empty();
        let copy = (!alone).then(|| (what.name.clone(), what.subdomain.clone(), payload.clone()));
        let Emitted { mut receipt, module, .. } = self.emit_to_all(actor, what, payload, false)?;
        if let Some((name, subdomain, payload)) = copy {
            self.broadcast_to_peers(actor, (module, name), subdomain, payload, &mut receipt);
        }
        Ok(receipt)
    }

    /// Queues a broadcast and waits for every worker.
    pub fn gather(
        &self,
        actor: &Actor,
        what: Emission,
        payload: Payload,
        timeout: Option<Duration>,
    ) -> impl Future<Output = Result<Vec<GatherEntry>, CallError>> + Send + use<> {
        let deadline = self.patience(actor, timeout);
        let emitted = self.emit_to_all(actor, what, payload, true);
        async move {
            let waits = emitted?.deliveries.into_iter().map(|delivery| delivery.wait(deadline));
            Ok(join_all(waits).await)
        }
    }

    fn emit_to_all(&self, actor: &Actor, what: Emission, payload: Payload, gather: bool) -> Result<Emitted, CallError> {
        if let Actor::Guest(caller) = actor {
            super::calls::within(caller, &payload, what.text_len())?;
        }
        let (module, parent) = self.whose_broadcast(actor, &what)?;
        let slots: Vec<Arc<Slot>> = self.workers().iter().filter_map(|isolate| isolate.slot(&module)).collect();
        let Some(first) = slots.first() else {
            return Err(self.missing(&module));
        };
        let name: Arc<str> = what.name.as_str().into();
        // From here on no other generation takes over, so that what is looked up in one is what is queued.
        let sequencer = self.sequencer(&first.module);
        let mut last = sequencer.last.lock();
        let access = slots.iter().find_map(|slot| {
            let generation = &slot.deployment().generation;
            Some(generation.access(*generation.manifest.broadcasts.get(&*name)?))
        });
        let Some(access) = access else {
            let deployment = first.deployment();
            let known: Vec<&str> = deployment.generation.manifest.broadcasts.keys().map(String::as_str).collect();
            return Err(CallError::NotFound(format!(
                "{module} has no broadcast `{}`; it has: {}",
                line(&name, NAME),
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            )));
        };
        let closed = |why| CallError::Forbidden(format!("the broadcast `{name}` of {module}: {why}"));
        access.admits(TriggerKind::Broadcast).map_err(closed)?;
        let subdomain = match actor.envelope() {
            Some(envelope) => envelope.subdomain.clone(),
            None => subdomain(what.subdomain, parent.as_ref()),
        };
        let waits = parent.as_deref().filter(|_| gather);
        let weight = weight_of_broadcast(&name, subdomain.as_deref(), waits, &payload);
        let full = |slot: &&Arc<Slot>| {
            let limit = slot.mailbox.refuses_broadcast(weight).filter(|_| slot.failed().is_none());
            limit.map(|limit| (slot.full(limit), Arc::clone(slot)))
        };
        if let Some((error, slot)) = slots.iter().find_map(|slot| full(&slot)) {
            slot.refused(TriggerKind::Broadcast, &error, parent.as_ref().map(|parent| parent.trace));
            return Err(error);
        }
        let (id, from) = match actor {
            Actor::Guest(caller) => (self.ids.next(), Some(caller.isolate)),
            Actor::Operator => (self.ids.next(), None),
            Actor::Peer(arrived) => (arrived.broadcast.unwrap_or_default(), None),
        };
        let seq = *last + 1;
        let mut payload = Some(payload);
        let count = slots.len();
        let mut deliveries = Vec::with_capacity(count);
        for (place, slot) in slots.iter().enumerate() {
            // The last one takes the payload itself.
            let payload = if place + 1 == count { payload.take() } else { payload.clone() }.unwrap_or_default();
            let broadcast = Broadcast { name: name.clone(), id, seq, same_as_caller: from == Some(slot.isolate) };
            let spec = CallSpec {
                trigger: Trigger::Broadcast(broadcast),
                origin: actor.origin(),
                deadline: Deadline::AfterStart(slot.deployment().generation.limits.timeout),
                parent: parent.clone(),
                remote: actor.envelope().cloned(),
                awaited: gather,
                subdomain: subdomain.clone(),
                trace: actor.envelope().map(|envelope| envelope.trace),
                http: None,
                query: String::new(),
                payload,
            };
            let placed = self.deliver(slot, &name, spec, (gather, weight), parent.as_ref());
            match &placed {
                // Before anything was queued.
                Err(error @ (CallError::TooDeep(_) | CallError::Invalid(_))) if place == 0 => return Err(error.clone()),
                Err(error) => slot.refused(TriggerKind::Broadcast, error, parent.as_ref().map(|parent| parent.trace)),
                Ok(_) => {}
            }
            deliveries.push(Delivery { isolate: slot.isolate, placed });
        }
        *last = seq;
        // A running call of the module waits for it, so that a hold must let it pass, and what lies before it.
        let descends = |parent: &Arc<Context>| {
            parent.module == first.module || parent.waiters().any(|above| above.module == first.module)
        };
        if gather && parent.as_ref().is_some_and(descends) {
            slots.iter().for_each(|slot| slot.mailbox.pass_broadcasts());
        }
        drop(last);
        receipt(id, seq, module, deliveries)
    }

    fn deliver(
        &self,
        slot: &Slot,
        name: &str,
        spec: CallSpec,
        (gather, weight): (bool, u64),
        parent: Option<&Arc<Context>>,
    ) -> Result<Waiting, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        // Of the generation that serves here, which is another one where a canary does.
        let deployment = slot.deployment();
        let Some(route) =
            deployment.generation.manifest.broadcasts.get(name).and_then(|index| deployment.route(*index))
        else {
            return Err(CallError::NotFound(format!(
                "{} has no broadcast `{}` in {}",
                slot.module,
                line(name, NAME),
                slot.isolate
            )));
        };
        let stuck = if gather { self.refusal(slot, parent) } else { None };
        let matched = Matched { route, access: Access::default(), params: Vec::new() };
        let call = self.make(slot, matched, spec)?;
        let (reply, ended) = match gather && stuck.is_none() {
            true => {
                let (reply, ended) = oneshot::channel();
                (Some(reply), Waiting::For(ended))
            }
            false => (None, stuck.map_or(Waiting::Not, Waiting::Never)),
        };
        slot.offer(Lane::Broadcasts, Queued::weighed(call, reply, weight)).map_err(|(error, _)| error)?;
        Ok(ended)
    }

    /// The module and the call it is emitted for, if the actor may.
    fn whose_broadcast(&self, actor: &Actor, what: &Emission) -> Result<(String, Option<Arc<Context>>), CallError> {
        match actor {
            Actor::Operator | Actor::Peer(_) => {
                let module = what.module.clone();
                Ok((module.ok_or_else(|| CallError::Invalid("name the module".to_owned()))?, None))
            }
            Actor::Guest(caller) => {
                let module = what.module.as_deref().unwrap_or(&caller.module);
                if module != &*caller.module && !caller.capabilities.broadcast.allow(module) {
                    return Err(forbidden(&caller.module, "broadcast", Some(module)));
                }
                Ok((module.to_owned(), caller.context.clone()))
            }
        }
    }
}

fn receipt(id: u64, seq: u64, module: String, deliveries: Vec<Delivery>) -> Result<Emitted, CallError> {
    let skipped: Vec<Skipped> = deliveries
        .iter()
        .filter_map(|delivery| {
            let reason = delivery.placed.as_ref().err()?.to_string();
            Some(Skipped { isolate: delivery.isolate, node: None, reason })
        })
        .collect();
    let accepted = deliveries.len() - skipped.len();
    match (accepted, skipped.first()) {
        (0, Some(first)) => Err(CallError::Unavailable(format!("no worker runs {module}: {}", first.reason))),
        _ => {
            let accepted = u32::try_from(accepted).unwrap_or(u32::MAX);
            Ok(Emitted { module, receipt: Receipt { id, seq, accepted, skipped, extra: Vec::new() }, deliveries })
        }
    }
}
