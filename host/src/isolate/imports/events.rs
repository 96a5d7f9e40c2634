//! `fanfare:module/events`.

use super::own_route;
use crate::bindings::fanfare::module::events::Host;
use crate::bindings::fanfare::module::types::{CallError, Payload};
use crate::isolate::state::State;

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
