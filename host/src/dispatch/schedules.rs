//! Calls of schedules.

use std::sync::Arc;
use std::time::Instant;

use super::assigned::{AssignedEnd, declared_route};
use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{CallEnd, CallError, Deadline, IsolateId, Outcome, RunCall, Trigger, TriggerKind};
use crate::isolate::Slot;
use crate::registry::{Access, Manifest, MatchedRoute};

/// Whether a manifest has this schedule.
fn declares(name: &str) -> impl Fn(&Manifest) -> bool {
    move |manifest| manifest.schedules.contains_key(name)
}

impl Dispatch {
    /// The slots of the workers that have this schedule.
    pub fn scheduled_slots(&self, module: &str, name: &str) -> Vec<Arc<Slot>> {
        self.slots_that(module, declares(name))
    }

    /// Runs a schedule. While the instance restarts, or a swap holds the slot, the call waits. A
    /// call that is movable is returned if it has not started, and waits for an instance here while
    /// another worker has one that is ready.
    pub fn run_schedule(self: &Arc<Self>, module: &str, call: RunCall) -> impl Future<Output = CallEnd> + Send + use<> {
        let (movable, name) = (call.movable, call.run.name.clone());
        let slot = self.slot_in(module, IsolateId::Worker(call.worker));
        let queued = slot.as_ref().map_err(CallError::clone).and_then(|slot| {
            let refused = |error: &CallError| slot.refused(TriggerKind::Schedule, error, None);
            self.queue_schedule(slot, call).inspect_err(refused)
        });
        let dispatch = self.clone();
        async move {
            let slot = match slot {
                Ok(slot) => slot,
                Err(error) => return CallEnd::Ended(Err(error)),
            };
            let end = match queued {
                Ok(pending) => dispatch.end_of(&slot, pending, movable.then(|| declares(&name))).await,
                Err(error) => AssignedEnd::NotStarted(error),
            };
            match end {
                AssignedEnd::Withdrawn(why) => CallEnd::Returned(why),
                // The module may also have failed here for good, which ends the calls that wait.
                AssignedEnd::NotStarted(why) if movable && dispatch.is_ready_elsewhere(&slot, declares(&name)) => {
                    CallEnd::Returned(why)
                }
                AssignedEnd::NotStarted(error) => CallEnd::Ended(Err(error)),
                AssignedEnd::Ended(outcome) => CallEnd::Ended(outcome.map(Outcome::into_reply)),
            }
        }
    }

    fn queue_schedule(&self, slot: &Slot, call: RunCall) -> Result<PendingCall, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let RunCall { run, subdomain, payload, timeout, .. } = call;
        let deployment = slot.deployment();
        let generation = &deployment.generation;
        let declared = generation.manifest.schedules.get(&*run.name);
        let matched = match declared.and_then(|schedule| schedule.command()).and(deployment.command_route()) {
            Some(route) => MatchedRoute { route, access: Access::default(), params: Vec::new() },
            None => {
                let index = declared.and_then(|schedule| schedule.route());
                let what = format!("schedule `{}`", run.name);
                declared_route(slot, &deployment, index, TriggerKind::Schedule, &what)?
            }
        };
        let own = || {
            let mut all = generation.schedules.iter();
            let own = all.find(|schedule| schedule.name == run.name && schedule.subdomain == subdomain);
            own.map(|schedule| schedule.data.clone()).unwrap_or_default()
        };
        let payload = payload.unwrap_or_else(own);
        let most = generation.limits.timeout;
        let deadline =
            timeout.map_or(Deadline::AfterStart(most), |timeout| Deadline::At(Instant::now() + timeout.min(most)));
        let spec = CallSpec { subdomain, ..CallSpec::of_host(Trigger::Schedule(run), deadline, payload) };
        self.enqueue(slot, matched, spec)
    }
}
