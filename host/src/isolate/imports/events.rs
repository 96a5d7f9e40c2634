//! `fanfare:module/events`.

use crate::bindings::fanfare::module::events::Host;
use crate::bindings::fanfare::module::types::{CallError, Payload};
use crate::call::text::{NAME, line};
use crate::call::{self, RouteName, TriggerKind};
use crate::isolate::state::State;
use crate::registry::Generation;

impl Host for State {
    fn emit(&mut self, caller: Option<u64>, event_type: Option<String>, value: Payload) -> Result<(), CallError> {
        let guest = &self.guest;
        guest.ports.events.emit(guest.caller(caller), event_type, value.into()).map_err(Into::into)
    }

    fn subscribe(&mut self, caller: Option<u64>, pattern: Option<String>, route: String) -> Result<String, CallError> {
        let guest = &self.guest;
        let route = own_route(&guest.generation, &route)?;
        guest.ports.events.subscribe(guest.caller(caller), pattern, route).map_err(Into::into)
    }

    fn unsubscribe(&mut self, caller: Option<u64>, subscription: String) -> Result<(), CallError> {
        let guest = &self.guest;
        guest.ports.events.unsubscribe(guest.caller(caller), subscription).map_err(Into::into)
    }
}

/// The route that a guest names, if its generation has it and a subscription may call it.
fn own_route(generation: &Generation, text: &str) -> Result<RouteName, call::CallError> {
    let module = &generation.module;
    let route = RouteName::within(module, text).map_err(|error| call::CallError::Invalid(error.to_string()))?;
    let text = || line(&route.text_within(), NAME);
    match generation.access_inside(&route).map(|access| access.admits(TriggerKind::Subscription)) {
        Some(Ok(())) => Ok(route),
        Some(Err(closed)) => Err(call::CallError::Forbidden(format!(
            "`{}` of {module}: {closed}, so no subscription may call it",
            text()
        ))),
        None => Err(call::CallError::NotFound(format!(
            "{module} has no route `{}`: name a route of its module.json",
            text()
        ))),
    }
}
