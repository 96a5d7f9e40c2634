//! Chooses the worker for a call to *any*: the caller's own worker if it can start the call now,
//! otherwise the least loaded one.

use std::sync::Arc;

use super::Dispatch;
use crate::call::{CallError, Context, IsolateId};
use crate::isolate::{Isolate, Slot};

impl Dispatch {
    /// Chooses the slot for a call that any worker may run. `here` is the caller's isolate.
    pub(super) fn choose(
        &self,
        module: &str,
        here: Option<IsolateId>,
        parent: Option<&Arc<Context>>,
    ) -> Result<Arc<Slot>, CallError> {
        if let Some(here @ IsolateId::Worker(_)) = here
            && let Some(slot) = self.places.get(here).and_then(|isolate| isolate.slot(module))
            && slot.is_ready()
            && (!slot.deployment().generation.is_serial() || slot.is_free())
            && Self::deadlock(&slot, parent).is_none()
        {
            return Ok(slot);
        }
        self.least_loaded(module, parent)
    }

    /// Chooses the slot for a call of a client. `here` is the slot of the worker that has the
    /// connection. It runs the call unless it cannot start it now, or `spill` is set.
    pub(super) fn worker_for(&self, here: &Arc<Slot>, spill: bool) -> Result<Arc<Slot>, CallError> {
        match here.is_ready() && !spill && (!here.deployment().generation.is_serial() || here.is_free()) {
            true => Ok(here.clone()),
            false => self.least_loaded(&here.module, None),
        }
    }

    /// The slot with the fewest calls. Prefers slots that are ready.
    pub(super) fn least_loaded(&self, module: &str, parent: Option<&Arc<Context>>) -> Result<Arc<Slot>, CallError> {
        let mut rejection = None;
        let mut best: Option<((bool, usize, u64), Arc<Slot>)> = None;
        for isolate in self.workers() {
            let Some(slot) = isolate.slot(module) else { continue };
            match self.rejection(&slot, parent) {
                Some(error) => rejection = Some(error),
                None => {
                    let rank = (!slot.is_ready(), slot.load(), slot.placed());
                    if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                        best = Some((rank, slot));
                    }
                }
            }
        }
        best.map(|(_, slot)| slot).ok_or_else(|| rejection.unwrap_or_else(|| self.missing(module)))
    }

    /// Returns an error if a slot cannot run a call that `parent` waits for. A call that descends
    /// from a startup does not wait for an instance that is not ready, because that instance may be
    /// waiting for the same startup.
    pub(super) fn rejection(&self, slot: &Slot, parent: Option<&Arc<Context>>) -> Option<CallError> {
        if parent.is_some_and(|parent| parent.in_startup) && !slot.is_ready() {
            return Some(Self::not_ready(slot));
        }
        slot.failed().or_else(|| Self::deadlock(slot, parent))
    }

    pub(super) fn not_ready(slot: &Slot) -> CallError {
        CallError::Unavailable(format!("{} is not ready in {}", slot.module, slot.isolate))
    }

    /// The slot of a module in one isolate.
    pub(super) fn slot_in(&self, module: &str, isolate: IsolateId) -> Result<Arc<Slot>, CallError> {
        self.isolate(isolate)?.slot(module).ok_or_else(|| match self.missing(module) {
            CallError::NotFound(why) => CallError::NotFound(format!("{why} in {isolate}")),
            other => other,
        })
    }

    pub(super) fn isolate(&self, id: IsolateId) -> Result<&Arc<Isolate>, CallError> {
        let places = &self.places;
        places.get(id).ok_or_else(|| {
            let count = |count: usize, what: &str| match count {
                0 => format!("no {what}s"),
                1 => format!("1 {what}"),
                count => format!("{count} {what}s"),
            };
            let has = match id {
                IsolateId::Worker(_) => count(places.workers.len(), "worker"),
                IsolateId::Broker(_) => count(places.brokers.len(), "broker"),
                IsolateId::Master => "no master".to_owned(),
            };
            CallError::NotFound(format!("there is no {id}: this node has {has}"))
        })
    }
}
