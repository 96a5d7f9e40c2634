//! `fanfare:module/broadcast` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{CallError, Emission, Entry, Payload, Receipt};
use crate::bindings::fanfare::module::{broadcast, broadcast_blocking};
use crate::call;
use crate::isolate::convert::milliseconds;
use crate::isolate::state::State;

impl State {
    fn emit_now(&self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        let guest = &self.guest;
        guest.ports.calls.emit(guest.caller(caller), what.into(), payload.into()).map(Into::into).map_err(Into::into)
    }

    fn reload_now(&self, caller: Option<u64>, module: Option<&str>) -> Result<Receipt, CallError> {
        let caller = self.guest.caller(caller);
        let receipt = if !caller.capabilities.reload {
            Err(caller.forbidden("reload", None))
        } else if caller.context.is_some_and(|context| context.in_startup) {
            let why = "a startup cannot request a reload, because the reload would run the startup again";
            Err(call::CallError::Invalid(why.to_owned()))
        } else {
            self.guest.ports.reloads.request(module)
        };
        receipt.map(Into::into).map_err(Into::into)
    }
}

impl broadcast::Host for State {
    fn emit(&mut self, caller: Option<u64>, what: Emission, payload: Payload) -> Result<Receipt, CallError> {
        self.emit_now(caller, what, payload)
    }

    fn reload(&mut self, caller: Option<u64>, module: Option<String>) -> Result<Receipt, CallError> {
        self.reload_now(caller, module.as_deref())
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
            |guest| {
                guest.ports.calls.gather(guest.caller(caller), what.into(), payload.into(), milliseconds(timeout_ms))
            },
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
            guest.ports.calls.gather(guest.caller(caller), what.into(), payload.into(), milliseconds(timeout_ms))
        });
        gather.await.map(super::entries)
    }

    fn reload(&mut self, caller: Option<u64>, module: Option<String>) -> Result<Receipt, CallError> {
        self.reload_now(caller, module.as_deref())
    }
}
