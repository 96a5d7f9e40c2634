//! `fanfare:module/messages`.

use crate::bindings::fanfare::module::messages::Host;
use crate::bindings::fanfare::module::types::{CallError, Payload};
use crate::isolate::state::State;
use crate::ports::check_message;

impl Host for State {
    fn publish(
        &mut self,
        caller: Option<u64>,
        connection: String,
        topic: String,
        payload: Payload,
    ) -> Result<(), CallError> {
        let (guest, payload) = (&self.guest, payload.into());
        let from = guest.caller(caller);
        check_message(&from, &connection, &topic, &payload)?;
        guest.ports.messages.publish(from, connection, topic, payload).map_err(Into::into)
    }
}
