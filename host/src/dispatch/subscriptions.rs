//! Calls of subscriptions.

use std::sync::Arc;

use super::{CallSpec, Dispatch, PendingCall};
use crate::call::{
    CallError, Deadline, IsolateId, Origin, Outcome, Payload, Reply, RouteName, SubscriptionCall, Trigger, TriggerKind,
};
use crate::isolate::Slot;
use crate::registry::{DeclaredSubscription, MatchedRoute};

/// A message for the handler of a subscription in one isolate.
pub struct SubscribedCall {
    pub isolate: IsolateId,
    pub message: SubscriptionCall,
    /// The route of a subscription that was made at run time. That of a declared one is in the
    /// manifest.
    pub route: Option<RouteName>,
    pub payload: Payload,
}

impl Dispatch {
    /// The slots of the workers whose generation has this subscription. During a canary, the
    /// generations may differ.
    pub fn subscribed_slots(&self, module: &str, name: &str) -> Vec<Arc<Slot>> {
        let mut slots: Vec<_> = self.workers().iter().filter_map(|isolate| isolate.slot(module)).collect();
        slots.retain(|slot| slot.deployment().generation.manifest.subscriptions.contains_key(name));
        slots
    }

    /// Queues a message for its handler, and returns a future that resolves when the handler has
    /// ended. While the instance restarts, or a swap holds the slot, the call waits. An error means
    /// that the call was not queued.
    pub fn deliver_message(
        &self,
        module: &str,
        call: SubscribedCall,
    ) -> Result<impl Future<Output = Result<Reply, CallError>> + Send + use<>, CallError> {
        let slot = self.slot_in(module, call.isolate)?;
        let pending = self.queue_message(&slot, call).inspect_err(|error| {
            // The sender offers the message again after the other errors.
            if matches!(error, CallError::Invalid(_) | CallError::Forbidden(_)) {
                slot.refused(TriggerKind::Subscription, error, None);
            }
        })?;
        Ok(async move { pending.outcome(&slot).await.map(Outcome::into_reply) })
    }

    fn queue_message(&self, slot: &Slot, call: SubscribedCall) -> Result<PendingCall, CallError> {
        if let Some(error) = slot.failed() {
            return Err(error);
        }
        let SubscribedCall { message, route, payload, .. } = call;
        let matched = match &route {
            Some(name) => Self::find_route(slot, name, TriggerKind::Subscription)?,
            None => declared(slot, &message)?,
        };
        let spec = CallSpec {
            deadline: Deadline::AfterStart(slot.deployment().generation.limits.timeout),
            trigger: Trigger::Subscription(message),
            origin: Origin::Host,
            parent: None,
            remote: None,
            awaited: false,
            subdomain: None,
            trace: None,
            http: None,
            query: String::new(),
            payload,
        };
        self.enqueue(slot, matched, spec)
    }
}

/// The route of a subscription in the manifest.
fn declared(slot: &Slot, message: &SubscriptionCall) -> Result<MatchedRoute, CallError> {
    let deployment = slot.deployment();
    let generation = &deployment.generation;
    let index = generation.manifest.subscriptions.get(&*message.name).and_then(DeclaredSubscription::route);
    let Some((index, route)) = index.and_then(|index| Some((index, deployment.route(index)?))) else {
        let why = format!("{} has no subscription `{}` in {}", slot.module, message.name, slot.isolate);
        return Err(CallError::NotFound(why));
    };
    let access = generation.access(index);
    let closed = |why| CallError::Forbidden(format!("the subscription `{}` of {}: {why}", message.name, slot.module));
    access.admits(TriggerKind::Subscription).map_err(closed)?;
    Ok(MatchedRoute { route, access, params: Vec::new() })
}
