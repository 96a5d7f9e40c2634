//! The recipients of a broadcast: its slots, who may emit it, and whether there is room.

use std::sync::Arc;

use crate::call::text::{NAME, line};
use crate::call::{
    Broadcast, CallError, Context, Deadline, Emission, Payload, Trace, Trigger, TriggerKind, weight_of_broadcast,
};
use crate::dispatch::actor::{Actor, no_module, subdomain};
use crate::dispatch::calls::check_sent;
use crate::dispatch::{CallSpec, Dispatch};
use crate::isolate::Slot;

/// A broadcast with its recipients. The actor may emit it.
pub(in crate::dispatch) struct Resolved {
    /// One slot in each worker, in index order. Empty if only other nodes serve the module.
    pub(in crate::dispatch) slots: Vec<Arc<Slot>>,
    /// Whether it is sent to other nodes.
    pub(in crate::dispatch) has_others: bool,
    pub(in crate::dispatch) module: Arc<str>,
    pub(in crate::dispatch) name: Arc<str>,
    pub(in crate::dispatch) subdomain: Option<Arc<str>>,
    /// The call that emits it.
    pub(super) parent: Option<Arc<Context>>,
    /// Whether the caller waits for an entry from each worker.
    pub(super) gather: bool,
}

impl Dispatch {
    /// Checks that the actor may emit the broadcast, and finds the slots that receive it.
    pub(in crate::dispatch) fn resolve_broadcast(
        &self,
        actor: &Actor,
        emission: Emission,
        payload: &Payload,
        gather: bool,
    ) -> Result<Resolved, CallError> {
        if let Actor::Guest(caller) = actor {
            check_sent(caller, payload, emission.text_len())?;
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
}

impl Resolved {
    pub(super) fn trace(&self) -> Option<Trace> {
        self.parent.as_ref().map(|parent| parent.trace)
    }

    /// Checks that a generation declares the broadcast, and that its route is open to broadcasts.
    pub(in crate::dispatch) fn check_access(&self) -> Result<(), CallError> {
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
    pub(super) fn reserve(&self, payload: &Payload) -> Result<u64, CallError> {
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
    pub(super) fn spec(&self, actor: &Actor, slot: &Slot, (id, seq): (u64, u64), payload: Payload) -> CallSpec {
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
    pub(super) fn pass_holds(&self) {
        let is_own = |context: &Arc<Context>| context.module == self.module;
        let waits = |parent: &Arc<Context>| is_own(parent) || parent.waiters().any(is_own);
        if self.gather && self.parent.as_ref().is_some_and(waits) {
            self.slots.iter().for_each(|slot| slot.mailbox.pass_broadcasts());
        }
    }
}
