//! `fanfare:module/master`, `master-await` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{CallError, Payload};
use crate::bindings::fanfare::module::{master, master_await, master_blocking};
use crate::isolate::convert::milliseconds;
use crate::isolate::state::State;

impl master::Host for State {
    fn options(&mut self, pointer: String) -> Option<String> {
        self.guest.ports.master.option(&pointer)
    }

    fn post(&mut self, caller: Option<u64>, payload: Payload) -> Result<(), CallError> {
        let guest = &self.guest;
        guest.ports.master.post(guest.caller(caller), payload.into()).map_err(Into::into)
    }
}

impl master_await::Host for State {}

impl master_await::HostWithStore<State> for HasSelf<State> {
    fn send(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<FutureReader<Result<Payload, CallError>>> {
        waiting(
            access,
            |guest| guest.ports.master.send(guest.caller(caller), payload.into(), milliseconds(timeout_ms)),
            Payload::from,
        )
    }
}

impl master_blocking::Host for State {
    async fn send(
        &mut self,
        caller: Option<u64>,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> Result<Payload, CallError> {
        let send = blocking(&self.guest, caller, |guest| {
            guest.ports.master.send(guest.caller(caller), payload.into(), milliseconds(timeout_ms))
        });
        send.await.map(Into::into)
    }
}
