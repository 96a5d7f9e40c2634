//! Calls that the host assigns to an isolate: runs of schedules, and messages of subscriptions.
//!
//! They have the deadline `AfterStart`, so that they do not time out during a hold or a restart. If
//! the slot of a call that waits stops being ready while another worker is, the call leaves the
//! mailbox under its lock and is returned, so an instance has either taken it or never will.

use std::sync::Arc;

use futures_util::future::select_all;

use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{CallError, CallResult, Context, Deadline, Origin, Payload, Trigger, TriggerKind};
use crate::isolate::{Deployment, Slot};
use crate::registry::{Manifest, MatchedRoute};

/// How an isolate is done with a call.
pub(super) enum AssignedEnd {
    /// It has started, and has ended.
    Ended(CallResult),
    /// It ended before it started, and never will start here.
    NotStarted(CallError),
    /// It was withdrawn, because another worker is ready.
    Withdrawn(CallError),
}

impl CallSpec {
    /// A call of the host that nobody waits for.
    pub(super) fn of_host(trigger: Trigger, deadline: Deadline, payload: Payload) -> CallSpec {
        CallSpec {
            trigger,
            origin: Origin::Host,
            deadline,
            parent: None,
            remote: None,
            awaited: false,
            subdomain: None,
            trace: None,
            http: None,
            session: None,
            extra: Vec::new(),
            query: String::new(),
            payload,
            exchange: None,
        }
    }
}

impl Dispatch {
    /// The slots of the workers whose generation declares something. During a canary, the
    /// generations may differ.
    pub(super) fn slots_that(&self, module: &str, declares: impl Fn(&Manifest) -> bool) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.workers().iter().filter_map(|isolate| isolate.slot(module)).collect();
        slots.retain(|slot| declares(&slot.deployment().generation.manifest));
        slots
    }

    /// Waits for the end of a call. With `moves`, withdraws it if it waits for an instance here
    /// while another worker whose generation declares the same has one that is ready.
    pub(super) async fn end_of(
        &self,
        slot: &Arc<Slot>,
        pending: PendingCall,
        moves: Option<impl Fn(&Manifest) -> bool>,
    ) -> AssignedEnd {
        let context = pending.context.clone();
        let withdrawn = async {
            match &moves {
                Some(declares) => self.withdrawn(slot, declares, &context).await,
                None => std::future::pending().await,
            }
        };
        let outcome = tokio::select! {
            biased;
            outcome = pending.outcome(slot) => outcome,
            () = withdrawn => {
                let why = format!("{} has no instance in {} yet, but in another worker", slot.module, slot.isolate);
                return AssignedEnd::Withdrawn(CallError::Unavailable(why));
            }
        };
        match outcome {
            Err(error) if !context.has_started() => AssignedEnd::NotStarted(error),
            outcome => AssignedEnd::Ended(outcome),
        }
    }

    /// Resolves when a call was withdrawn from a slot that is not ready, because another worker is.
    async fn withdrawn(&self, slot: &Arc<Slot>, declares: &impl Fn(&Manifest) -> bool, call: &Context) {
        loop {
            slot.until_not_ready().await;
            let slots = self.slots_that(&slot.module, declares);
            // Before the check, so that no change is overlooked.
            let mut changes: Vec<_> = slots.iter().chain([slot]).map(|slot| slot.changes()).collect();
            if self.is_ready_elsewhere(slot, declares) {
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

    /// Whether a slot is not ready, and that of another worker that declares the same is.
    pub(super) fn is_ready_elsewhere(&self, slot: &Slot, declares: impl Fn(&Manifest) -> bool) -> bool {
        !slot.is_ready() && self.slots_that(&slot.module, declares).iter().any(|other| other.is_ready())
    }
}

/// The route at an index of the manifest, for a call of the host. `what` is the part of the
/// manifest that names the route, such as "schedule `tick`".
pub(super) fn declared_route(
    slot: &Slot,
    deployment: &Deployment,
    index: Option<usize>,
    trigger: TriggerKind,
    what: &str,
) -> Result<MatchedRoute, CallError> {
    let Some((index, route)) = index.and_then(|index| Some((index, deployment.route(index)?))) else {
        return Err(CallError::NotFound(format!("{} has no {what} in {}", slot.module, slot.isolate)));
    };
    let access = deployment.generation.access(index);
    let closed = |why| CallError::Forbidden(format!("the {what} of {}: {why}", slot.module));
    access.admits(trigger).map_err(closed)?;
    Ok(MatchedRoute { route, access, params: Vec::new() })
}
