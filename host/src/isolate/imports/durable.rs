//! `fanfare:module/durable` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{CallError, Emission, Payload, Receipt};
use crate::bindings::fanfare::module::{durable, durable_blocking};
use crate::isolate::state::State;

impl durable::Host for State {}

impl durable::HostWithStore<State> for HasSelf<State> {
    fn emit(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        what: Emission,
        payload: Payload,
    ) -> wasmtime::Result<FutureReader<Result<Receipt, CallError>>> {
        waiting(
            access,
            |guest| guest.ports.calls.emit_durable(guest.caller(caller), what.into(), payload.into()),
            Receipt::from,
        )
    }
}

impl durable_blocking::Host for State {
    async fn emit(&mut self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        let emit = blocking(&self.guest, caller, |guest| {
            guest.ports.calls.emit_durable(guest.caller(caller), what.into(), payload.into())
        });
        emit.await.map(Into::into)
    }
}
