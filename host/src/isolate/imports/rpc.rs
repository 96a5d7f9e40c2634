//! `fanfare:module/rpc` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{blocking, waiting};
use crate::bindings::fanfare::module::types::{Address, CallError, CallOptions, Entry, Group, Payload, Reply, Target};
use crate::bindings::fanfare::module::{rpc, rpc_blocking};
use crate::isolate::state::State;

impl State {
    fn notify_now(
        &self,
        caller: Option<u64>,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError> {
        let guest = &self.guest;
        guest
            .ports
            .calls
            .notify(guest.caller(caller), address.into(), route, payload.into(), options.into())
            .map_err(Into::into)
    }
}

impl rpc::Host for State {
    fn notify(
        &mut self,
        caller: Option<u64>,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError> {
        self.notify_now(caller, address, route, payload, options)
    }
}

impl rpc::HostWithStore<State> for HasSelf<State> {
    fn call(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        target: Target,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> wasmtime::Result<FutureReader<Result<Reply, CallError>>> {
        waiting(
            access,
            |guest| guest.ports.calls.call(guest.caller(caller), target.into(), route, payload.into(), options.into()),
            Reply::from,
        )
    }

    fn call_every(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        group: Group,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> wasmtime::Result<FutureReader<Result<Vec<Entry>, CallError>>> {
        waiting(
            access,
            |guest| {
                guest.ports.calls.call_every(guest.caller(caller), group.into(), route, payload.into(), options.into())
            },
            super::entries,
        )
    }
}

impl rpc_blocking::Host for State {
    async fn call(
        &mut self,
        caller: Option<u64>,
        target: Target,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<Reply, CallError> {
        let call = blocking(&self.guest, caller, |guest| {
            guest.ports.calls.call(guest.caller(caller), target.into(), route, payload.into(), options.into())
        });
        call.await.map(Into::into)
    }

    async fn call_every(
        &mut self,
        caller: Option<u64>,
        group: Group,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<Vec<Entry>, CallError> {
        let call = blocking(&self.guest, caller, |guest| {
            guest.ports.calls.call_every(guest.caller(caller), group.into(), route, payload.into(), options.into())
        });
        call.await.map(super::entries)
    }

    fn notify(
        &mut self,
        caller: Option<u64>,
        address: Address,
        route: String,
        payload: Payload,
        options: CallOptions,
    ) -> Result<u32, CallError> {
        self.notify_now(caller, address, route, payload, options)
    }
}
