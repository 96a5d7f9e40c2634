//! The hook `stop`, which runs before the last instance of a module ends in an isolate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::mailbox::{Lane, QueuedCall};
use super::services::Services;
use super::slot::Slot;
use crate::call::{Call, Context, Deadline, Origin, Payload, Trigger, TriggerKind, hook};

/// The time between two checks whether the calls of a slot have ended.
const POLL: Duration = Duration::from_millis(2);

/// Why the last instance of a module ends in an isolate. The guest reads the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// The host stops.
    Shutdown,
    /// The module was removed from the isolate.
    Removed,
    /// The isolate was killed.
    Killed,
}

impl StopReason {
    pub fn as_str(self) -> &'static str {
        match self {
            StopReason::Shutdown => "shutdown",
            StopReason::Removed => "removed",
            StopReason::Killed => "killed",
        }
    }
}

/// Runs the hook `stop` of a module in one isolate, and waits until it has ended or
/// `shutdown.hook` has passed. Does nothing if the module has no such hook or no instance that is
/// ready. A hook that fails is counted and logged, and raises no event.
///
/// If no new calls arrive, because the host stops or the module was removed, first waits for the
/// calls that run or wait, for at most `limits.timeout`.
pub async fn run_stop_hook(slot: Arc<Slot>, services: Arc<Services>, reason: StopReason) {
    let limit = services.stop_hook;
    let has_hook = || slot.deployment().generation.manifest.hook(hook::STOP, slot.isolate).is_some();
    if limit.is_zero() || !slot.is_ready() || !has_hook() {
        return;
    }
    let calls = async {
        while slot.load() > 0 {
            tokio::time::sleep(POLL).await;
        }
    };
    if reason != StopReason::Killed {
        let longest = slot.deployment().generation.limits.timeout;
        let _ = tokio::time::timeout(longest, calls).await;
    }

    let deadline = Instant::now() + limit;
    let (reply, ended) = oneshot::channel();
    let Some(call) = stop_call(&slot, &services, reason, deadline) else { return };
    let trace = call.context.trace;
    match slot.offer(Lane::Calls, QueuedCall::new(call, Some(reply))) {
        // At the deadline, the instance ends the call.
        Ok(()) => drop(tokio::time::timeout_at(deadline.into(), ended).await),
        Err((error, _)) => slot.refused(TriggerKind::Hook, &error, Some(trace)),
    }
}

fn stop_call(slot: &Slot, services: &Services, reason: StopReason, deadline: Instant) -> Option<Call> {
    let deployment = slot.deployment();
    let hook = deployment.generation.manifest.hook(hook::STOP, slot.isolate)?;
    let deadline = Deadline::At(deadline);
    let mut context = Context::root(services.next_id(), slot.module.clone(), slot.isolate, Origin::Host, deadline);
    context.in_quiet_hook = true;
    Some(Call {
        context: Arc::new(context),
        route: deployment.route(hook.route)?,
        trigger: Trigger::Hook(hook::STOP),
        params: Vec::new(),
        query: String::new(),
        payload: Payload::Text(format!("{{\"reason\":\"{}\"}}", reason.as_str())),
        extra: Vec::new(),
        exchange: None,
    })
}
