//! Calls of subscriptions.

use std::sync::Arc;

use super::assigned::{AssignedEnd, declared_route};
use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{CallEnd, CallError, Deadline, MessageCall, Outcome, Trigger, TriggerKind};
use crate::isolate::Slot;
use crate::registry::{DeclaredSubscription, Manifest};

/// Whether a manifest has this subscription.
fn declares(name: &str) -> impl Fn(&Manifest) -> bool {
    move |manifest| manifest.subscriptions.contains_key(name)
}

impl Dispatch {
    /// The slots of the workers that have this subscription.
    pub fn subscribed_slots(&self, module: &str, name: &str) -> Vec<Arc<Slot>> {
        self.slots_that(module, declares(name))
    }

    /// Queues a message for its handler, and returns a future that resolves when the isolate is
    /// done with it. While the instance restarts, or a swap holds the slot, the call waits; one
    /// that is movable is returned if another worker has an instance that is ready. A call that
    /// could not start, such as without memory for its instance, is returned too. An error means
    /// that the call was not queued.
    pub fn deliver_message(
        self: &Arc<Self>,
        module: &str,
        call: MessageCall,
    ) -> Result<impl Future<Output = CallEnd> + Send + use<>, CallError> {
        let slot = self.slot_in(module, call.isolate)?;
        let (movable, name) = (call.movable, call.message.name.clone());
        let pending = self.queue_message(&slot, call).inspect_err(|error| {
            // The sender offers the message again after the other errors.
            if matches!(error, CallError::Invalid(_) | CallError::Forbidden(_)) {
                slot.refused(TriggerKind::Subscription, error, None);
            }
        })?;
        let dispatch = self.clone();
        Ok(async move {
            match dispatch.end_of(&slot, pending, movable.then(|| declares(&name))).await {
                AssignedEnd::Withdrawn(why) => CallEnd::Returned(why),
                AssignedEnd::NotStarted(why) if may_start_later(&why) => CallEnd::Returned(why),
                AssignedEnd::NotStarted(error) => CallEnd::Ended(Err(error)),
                AssignedEnd::Ended(outcome) => CallEnd::Ended(outcome.map(Outcome::into_reply)),
            }
        })
    }

    fn queue_message(&self, slot: &Slot, call: MessageCall) -> Result<PendingCall, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let MessageCall { message, route, payload, .. } = call;
        let deployment = slot.deployment();
        let matched = match &route {
            Some(name) => Self::find_route(slot, name, TriggerKind::Subscription)?,
            None => {
                let declared = deployment.generation.manifest.subscriptions.get(&*message.name);
                let index = declared.and_then(DeclaredSubscription::route);
                let what = format!("subscription `{}`", message.name);
                declared_route(slot, &deployment, index, TriggerKind::Subscription, &what)?
            }
        };
        let deadline = Deadline::AfterStart(deployment.generation.limits.timeout);
        self.enqueue(slot, matched, CallSpec::of_host(Trigger::Subscription(message), deadline, payload))
    }
}

/// Whether a call that did not start with this error may start later, or elsewhere: the module has
/// failed, it has no memory for the instance, a swap has changed the route, or a kill has ended the
/// instance.
fn may_start_later(error: &CallError) -> bool {
    matches!(
        error,
        CallError::Unavailable(_) | CallError::Overloaded(_) | CallError::NotFound(_) | CallError::Crashed(_)
    )
}
