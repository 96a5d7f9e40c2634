//! `fanfare:module/broadcast` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{CallError, Emission, Entry, Payload, Receipt};
use crate::bindings::fanfare::module::{broadcast, broadcast_blocking};
use crate::isolate::convert::milliseconds;
use crate::isolate::state::State;

impl State {
    fn emit_now(&self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        let guest = &self.guest;
        guest.calls.emit(guest.caller(caller), what.into(), payload.into()).map(Into::into).map_err(Into::into)
    }
}

impl broadcast::Host for State {
    fn emit(&mut self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        self.emit_now(caller, what, payload)
    }
}

impl broadcast::HostWithStore<State> for HasSelf<State> {
    fn gather(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        what: Emission,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<FutureReader<Result<Vec<Entry>, CallError>>> {
        waiting(
            access,
            |guest| guest.calls.gather(guest.caller(caller), what.into(), payload.into(), milliseconds(timeout_ms)),
            super::entries,
        )
    }
}

impl broadcast_blocking::Host for State {
    fn emit(&mut self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        self.emit_now(caller, what, payload)
    }

    async fn gather(
        &mut self,
        caller: Option<u64>,
        what: Emission,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> Result<Vec<Entry>, CallError> {
        let gather = blocking(&self.guest, caller, |guest| {
            guest.calls.gather(guest.caller(caller), what.into(), payload.into(), milliseconds(timeout_ms))
        });
        gather.await.map(super::entries)
    }
}
