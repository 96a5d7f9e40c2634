//! Calls of schedules.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{CallError, Deadline, IsolateId, Origin, Outcome, Payload, Reply, ScheduleRun, Trigger, TriggerKind};
use crate::isolate::Slot;
use crate::registry::MatchedRoute;

/// A run of a schedule in one worker.
pub struct ScheduledCall {
    pub worker: u32,
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
    pub fn run_schedule(
        &self,
        module: &str,
        call: ScheduledCall,
    ) -> impl Future<Output = Result<Reply, CallError>> + Send + use<> {
        let queued = self.slot_in(module, IsolateId::Worker(call.worker)).and_then(|slot| {
            let pending = self.queue_schedule(&slot, call).inspect_err(|error| {
                slot.refused(TriggerKind::Schedule, error, None);
            });
            pending.map(|pending| (pending, slot))
        });
        async move {
            let (pending, slot) = queued?;
            pending.outcome(&slot).await.map(Outcome::into_reply)
        }
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
