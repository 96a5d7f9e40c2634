//! Calls of hooks: because of a host event, and for messages between the master and isolates.
//!
//! Every call of a host event's hook or of `stop`, and every call that descends from one, is marked
//! (`Context::in_quiet_hook`). When an instance ends while such a call runs in it, no event says
//! so, because a hook of `fail` that crashes would otherwise be called for its own crash, without
//! end. `moduleFailed` is raised all the same: it happens once in an isolate, until a reload.

use std::sync::Arc;
use std::time::Duration;

use super::actor::Actor;
use super::{CallSpec, Dispatch};
use crate::call::text::{NAME, line};
use crate::call::{
    CallError, Context, Deadline, IsolateId, Origin, Outcome, Payload, Reply, Trigger, TriggerKind, hook,
};
use crate::isolate::{Lane, QueuedCall, Slot};
use crate::ports::Caller;
use crate::registry::{Access, MatchedRoute};

/// The most modules that an error names.
const SHOWN: usize = 32;

/// A message to a hook of another isolate.
pub struct Message<'a> {
    pub to: IsolateId,
    /// The hook that receives it.
    pub hook: &'static str,
    /// The module that receives it. `None` for the only one with the hook.
    pub module: Option<&'a str>,
    pub data: Payload,
    /// How long the sender waits for the reply, at most. The module's `limits.timeout` and the time
    /// that the sending call has left apply too.
    pub timeout: Duration,
}

impl<'a> Message<'a> {
    /// A message of the embedding program or the operator.
    pub fn of_master(to: IsolateId, module: Option<&'a str>, data: Payload, timeout: Duration) -> Message<'a> {
        Message { to, hook: hook::MASTER_MESSAGE, module, data, timeout }
    }
}

impl Dispatch {
    /// Calls the hook of a host event in the master isolate, and waits until it has ended. While
    /// the instance restarts, or a swap holds the slot, the call waits: `limits.timeout` applies
    /// from its start. Returns `false` if the mailbox has no room.
    pub async fn call_event_hook(&self, slot: &Arc<Slot>, event: &'static str, payload: Payload) -> bool {
        let deadline = Deadline::AfterStart(slot.deployment().generation.limits.timeout);
        let Ok(matched) = find_hook(slot, event) else { return true };
        let spec = spec(event, Origin::Host, deadline, None, payload);
        // The slot counts and logs a failure, which raises no event.
        !matches!(self.call_in(slot.clone(), matched, spec).await, Err(CallError::Overloaded(_)))
    }

    /// Delivers a message. The future waits for the reply. The outer error says why the message was
    /// not delivered.
    pub fn send(
        &self,
        actor: &Actor,
        message: Message<'_>,
    ) -> Result<impl Future<Output = Result<Reply, CallError>> + Send + use<>, CallError> {
        let slot = self.receiver(actor, &message)?;
        if let Some(error) = self.rejection(&slot, actor.parent()) {
            slot.refused(TriggerKind::Hook, &error, actor.parent().map(|parent| parent.trace));
            return Err(error);
        }
        let deadline = self.call_deadline(&slot, actor.parent(), Some(message.timeout), actor.timeout());
        let matched = find_hook(&slot, message.hook)?;
        let spec = CallSpec {
            awaited: true,
            ..spec(message.hook, actor.origin(), Deadline::At(deadline), actor.parent(), message.data)
        };
        let pending = self.send_to(&slot, matched, spec)?;
        Ok(async move { pending.outcome(&slot).await.map(Outcome::into_reply) })
    }

    /// Queues a message without waiting for the reply. Returns the module that receives it.
    pub fn post(&self, actor: &Actor, message: Message<'_>) -> Result<Arc<str>, CallError> {
        let slot = self.receiver(actor, &message)?;
        let deadline = Deadline::At(self.call_deadline(&slot, None, Some(message.timeout), message.timeout));
        let matched = find_hook(&slot, message.hook)?;
        let spec = spec(message.hook, actor.origin(), deadline, actor.parent(), message.data);
        let trace = spec.trace();
        let queued = self
            .build_call(&slot, matched, spec)
            .and_then(|call| slot.offer(Lane::Calls, QueuedCall::new(call, None)).map_err(|(error, _)| error));
        queued.inspect_err(|error| slot.refused(TriggerKind::Hook, error, trace)).map(|()| slot.module.clone())
    }

    /// The slot that receives a message: that of the named module, of the sender's own module, or
    /// of the only module in the isolate with the hook.
    fn receiver(&self, actor: &Actor, message: &Message<'_>) -> Result<Arc<Slot>, CallError> {
        let Message { to, hook, .. } = *message;
        let isolate = self.isolate(to)?;
        let slot = match message.module {
            Some(module) => {
                let slot = self.slot_in(module, to)?;
                if find_hook(&slot, hook).is_err() {
                    return Err(CallError::NotFound(format!(
                        "{} has no hook `{hook}` for {to}: declare it in `hooks` of its module.json{}",
                        line(module, NAME),
                        if hook == hook::MASTER_MESSAGE { ", with the isolates in `in`" } else { "" }
                    )));
                }
                slot
            }
            None => {
                let mut slots = isolate.slots();
                slots.retain(|slot| find_hook(slot, hook).is_ok());
                let own =
                    |slot: &&Arc<Slot>| matches!(actor, Actor::Guest(Caller { module, .. }) if *module == slot.module);
                match (slots.iter().find(own), slots.as_slice()) {
                    (Some(own), _) => own.clone(),
                    (None, [only]) => only.clone(),
                    (None, []) if matches!(actor, Actor::Guest(_)) => {
                        return Err(CallError::Unavailable(format!(
                            "nobody listens: no embedding program receives messages, and no module has the hook `{hook}`"
                        )));
                    }
                    (None, []) => {
                        return Err(CallError::NotFound(format!(
                            "no module in {to} has the hook `{hook}`: declare it in `hooks` of a module.json"
                        )));
                    }
                    (None, several) => return Err(several_receivers(to, hook, several)),
                }
            }
        };
        if slot.is_stopping() {
            return Err(CallError::Unavailable(format!("{} in {to} is stopping and accepts no messages", slot.module)));
        }
        Ok(slot)
    }
}

fn several_receivers(to: IsolateId, hook: &str, slots: &[Arc<Slot>]) -> CallError {
    let mut names: Vec<&str> = slots.iter().take(SHOWN).map(|slot| &*slot.module).collect();
    if slots.len() > SHOWN {
        names.push("..");
    }
    CallError::Invalid(format!(
        "{} modules in {to} have the hook `{hook}`: name one of {}",
        slots.len(),
        names.join(", ")
    ))
}

/// The route of a hook that the slot's isolate calls.
pub(super) fn find_hook(slot: &Slot, name: &str) -> Result<MatchedRoute, CallError> {
    let deployment = slot.deployment();
    let hook = deployment.generation.manifest.hook(name, slot.isolate);
    let route = hook.and_then(|hook| deployment.route(hook.route));
    let missing = || CallError::NotFound(format!("{} has no hook `{name}` in {}", slot.module, slot.isolate));
    Ok(MatchedRoute { route: route.ok_or_else(missing)?, access: Access::default(), params: Vec::new() })
}

fn spec(
    hook: &'static str,
    origin: Origin,
    deadline: Deadline,
    parent: Option<&Arc<Context>>,
    payload: Payload,
) -> CallSpec {
    CallSpec {
        trigger: Trigger::Hook(hook),
        origin,
        deadline,
        parent: parent.cloned(),
        remote: None,
        awaited: false,
        subdomain: parent.and_then(|parent| parent.subdomain.clone()),
        trace: None,
        http: None,
        session: None,
        extra: Vec::new(),
        query: String::new(),
        payload,
        exchange: None,
    }
}
