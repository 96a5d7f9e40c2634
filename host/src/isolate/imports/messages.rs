//! `fanfare:module/messages`.

use crate::bindings::fanfare::module::messages::Host;
use crate::bindings::fanfare::module::types::{CallError, Payload};
use crate::isolate::state::State;

impl Host for State {
    fn publish(
        &mut self,
        caller: Option<u64>,
        connection: String,
        topic: String,
        payload: Payload,
    ) -> Result<(), CallError> {
        let guest = &self.guest;
        let published = guest.ports.messages.publish(guest.caller(caller), connection, topic, payload.into());
        published.map_err(Into::into)
    }
}
