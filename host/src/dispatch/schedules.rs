//! Calls of schedules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::select_all;

use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{
    CallError, Context, Deadline, IsolateId, Origin, Outcome, Payload, Reply, ScheduleRun, Trigger, TriggerKind,
};
use crate::isolate::Slot;
use crate::registry::MatchedRoute;

/// A run of a schedule in one worker.
pub struct ScheduledCall {
    pub worker: u32,
    /// Whether another worker may run it.
    pub movable: bool,
    pub run: ScheduleRun,
    pub subdomain: Option<Arc<str>>,
    /// The payload. `None` for the data that the generation in the worker has for the schedule.
    pub payload: Option<Payload>,
    /// How long the caller waits, at most, from now on. `None` if no caller waits: `limits.timeout`
    /// then applies from the start of the call, however long it waits for an instance.
    pub timeout: Option<Duration>,
}

impl Dispatch {
    /// The slots of the workers whose generation has this schedule. During a canary, the
    /// generations may differ.
    pub fn scheduled_slots(&self, module: &str, name: &str) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.workers().iter().filter_map(|isolate| isolate.slot(module)).collect();
        slots.retain(|slot| slot.deployment().generation.manifest.schedules.contains_key(name));
        slots
    }

    /// Runs a schedule. While the instance restarts, or a swap holds the slot, the call waits.
    /// Resolves with `None` if the call is movable and has not started, and waits for an instance
    /// here while another worker has one that is ready. It will not start here any more.
    pub fn run_schedule(
        self: &Arc<Self>,
        module: &str,
        call: ScheduledCall,
    ) -> impl Future<Output = Option<Result<Reply, CallError>>> + Send + use<> {
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
                Err(error) => return Some(Err(error)),
            };
            let (started, outcome) = match queued {
                Err(error) => (false, Err(error)),
                Ok(pending) => {
                    let context = pending.context.clone();
                    tokio::select! {
                        biased;
                        outcome = pending.outcome(&slot) => (context.has_started(), outcome),
                        () = dispatch.withdrawn(&slot, &name, &context), if movable => return None,
                    }
                }
            };
            // The module may also have failed here for good, which ends the calls that wait.
            let returned = movable && !started && outcome.is_err() && dispatch.is_ready_elsewhere(&slot, &name);
            (!returned).then(|| outcome.map(Outcome::into_reply))
        }
    }

    /// Resolves when a call was withdrawn from a slot that is not ready, because another worker is.
    async fn withdrawn(&self, slot: &Arc<Slot>, name: &str, call: &Context) {
        loop {
            slot.until_not_ready().await;
            let slots = self.scheduled_slots(&slot.module, name);
            // Before the check, so that no change is overlooked.
            let mut changes: Vec<_> = slots.iter().chain([slot]).map(|slot| slot.changes()).collect();
            if self.is_ready_elsewhere(slot, name) {
                match slot.withdraw(call) {
                    true => return,
                    // It has started, or it has ended.
                    false => std::future::pending().await,
                }
            }
            let changed = changes.iter_mut().map(|change| Box::pin(change.changed()));
            // A slot that was removed no longer changes, and is not listed again.
            let _ = select_all(changed).await;
        }
    }

    /// Whether a slot is not ready, and that of another worker with this schedule is.
    fn is_ready_elsewhere(&self, slot: &Slot, name: &str) -> bool {
        !slot.is_ready() && self.scheduled_slots(&slot.module, name).iter().any(|other| other.is_ready())
    }

    fn queue_schedule(&self, slot: &Slot, call: ScheduledCall) -> Result<PendingCall, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let ScheduledCall { run, subdomain, payload, timeout, .. } = call;
        let deployment = slot.deployment();
        let generation = &deployment.generation;
        let declared = generation.manifest.schedules.get(&*run.name);
        let route = declared.and_then(|schedule| Some((schedule.route, deployment.route(schedule.route)?)));
        let Some((index, route)) = route else {
            let why = format!("{} has no schedule `{}` in {}", slot.module, run.name, slot.isolate);
            return Err(CallError::NotFound(why));
        };
        let closed = |why| CallError::Forbidden(format!("the schedule `{}` of {}: {why}", run.name, slot.module));
        let access = generation.access(index);
        access.admits(TriggerKind::Schedule).map_err(closed)?;
        let own = || {
            let mut all = generation.schedules.iter();
            let own = all.find(|schedule| schedule.name == run.name && schedule.subdomain == subdomain);
            own.map(|schedule| schedule.data.clone()).unwrap_or_default()
        };
        let payload = payload.unwrap_or_else(own);
        let most = generation.limits.timeout;
        let deadline =
            timeout.map_or(Deadline::AfterStart(most), |timeout| Deadline::At(Instant::now() + timeout.min(most)));
        let spec = CallSpec {
            trigger: Trigger::Schedule(run),
            origin: Origin::Host,
            deadline,
            parent: None,
            remote: None,
            awaited: false,
            subdomain,
            trace: None,
            http: None,
            query: String::new(),
            payload,
        };
        self.enqueue(slot, MatchedRoute { route, access, params: Vec::new() }, spec)
    }
}
