//! `fanfare:module/sessions-await` and its blocking twin.

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::sessions::session_caller;
use super::{Started, blocking, started, waiting};
use crate::bindings::fanfare::module::types::{CallError, Payload, Pushed, Recipient, Session};
use crate::bindings::fanfare::module::{sessions_await, sessions_blocking};
use crate::call::{self, SessionInfo};
use crate::isolate::convert::milliseconds;
use crate::isolate::state::{Guest, State};
use crate::ports::{ClientEvent, SessionValues, session_caller as rules};

/// The functions that wait, for both interfaces.
impl Guest {
    fn push(&self, caller: Option<u64>, to: Vec<Recipient>, name: String, payload: Payload) -> Started<call::Pushed> {
        let (caller, to) = (session_caller(self, caller), to.into_iter().map(Into::into).collect::<Vec<_>>());
        let names = to.iter().map(call::Recipient::names_len).sum();
        let checked = caller.recipients(&to).and_then(|()| caller.event(name, payload.into(), names));
        started(checked.map(|event| self.ports.sessions.push(to, event)))
    }

    fn ask(
        &self,
        caller: Option<u64>,
        session: String,
        name: String,
        payload: Payload,
        timeout: Option<u32>,
    ) -> Started<call::Payload> {
        let caller = session_caller(self, caller);
        let event: Result<ClientEvent, _> =
            caller.named(&session).and_then(|()| caller.event(name, payload.into(), session.len()));
        let timeout = caller.timeout(milliseconds(timeout));
        started(event.map(|event| self.ports.sessions.ask(session, event, timeout)))
    }

    /// Writes the copy of the call's session back. On its own node the session itself was changed.
    fn apply(&self, call: u64) -> Started<()> {
        let caller = session_caller(self, Some(call));
        let applied = caller.session(None).map(|session| match caller.copy(&session) {
            Some(copy) => copy.apply(caller.timeout(None)),
            None => Box::pin(std::future::ready(Ok(()))),
        });
        started(applied)
    }

    fn read(&self, caller: Option<u64>, session: String) -> Started<(SessionInfo, SessionValues)> {
        let checked = session_caller(self, caller).named(&session);
        started(checked.map(|()| self.ports.sessions.read(session)))
    }

    fn write(&self, caller: Option<u64>, session: String, values: SessionValues, remove: Vec<String>) -> Started<()> {
        let checked = session_caller(self, caller).named(&session);
        let checked = checked.and_then(|()| rules::values(&values)).and_then(|()| rules::keys(&remove));
        started(checked.map(|()| self.ports.sessions.write(session, values, remove)))
    }

    fn find(&self, caller: Option<u64>, uid: String) -> Started<Vec<call::SessionInfo>> {
        let checked = rules::name_of("a user", &uid).and_then(|()| session_caller(self, caller).granted());
        started(checked.map(|()| self.ports.sessions.find_everywhere(uid)))
    }
}

fn with_values((session, values): (SessionInfo, SessionValues)) -> (Session, SessionValues) {
    (session.into(), values)
}

fn all(sessions: Vec<call::SessionInfo>) -> Vec<Session> {
    sessions.into_iter().map(Into::into).collect()
}

impl sessions_await::Host for State {}

impl sessions_await::HostWithStore<State> for HasSelf<State> {
    fn push(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        to: Vec<Recipient>,
        name: String,
        payload: Payload,
    ) -> wasmtime::Result<FutureReader<Result<Pushed, CallError>>> {
        waiting(access, |guest| guest.push(caller, to, name, payload), Pushed::from)
    }

    fn ask(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        session: String,
        name: String,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> wasmtime::Result<FutureReader<Result<Payload, CallError>>> {
        waiting(access, |guest| guest.ask(caller, session, name, payload, timeout_ms), Payload::from)
    }

    fn apply(access: Access<'_, State, Self>, call: u64) -> wasmtime::Result<FutureReader<Result<(), CallError>>> {
        waiting(access, |guest| guest.apply(call), |done| done)
    }

    fn read(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        session: String,
    ) -> wasmtime::Result<FutureReader<Result<(Session, Vec<(String, String)>), CallError>>> {
        waiting(access, |guest| guest.read(caller, session), with_values)
    }

    fn write(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        session: String,
        set: Vec<(String, String)>,
        remove: Vec<String>,
    ) -> wasmtime::Result<FutureReader<Result<(), CallError>>> {
        waiting(access, |guest| guest.write(caller, session, set, remove), |done| done)
    }

    fn find(
        access: Access<'_, State, Self>,
        caller: Option<u64>,
        uid: String,
    ) -> wasmtime::Result<FutureReader<Result<Vec<Session>, CallError>>> {
        waiting(access, |guest| guest.find(caller, uid), all)
    }
}

impl sessions_blocking::Host for State {
    async fn push(
        &mut self,
        caller: Option<u64>,
        to: Vec<Recipient>,
        name: String,
        payload: Payload,
    ) -> Result<Pushed, CallError> {
        blocking(&self.guest, caller, |guest| guest.push(caller, to, name, payload)).await.map(Into::into)
    }

    async fn ask(
        &mut self,
        caller: Option<u64>,
        session: String,
        name: String,
        payload: Payload,
        timeout_ms: Option<u32>,
    ) -> Result<Payload, CallError> {
        let ask = blocking(&self.guest, caller, |guest| guest.ask(caller, session, name, payload, timeout_ms));
        ask.await.map(Into::into)
    }

    async fn apply(&mut self, call: u64) -> Result<(), CallError> {
        blocking(&self.guest, Some(call), |guest| guest.apply(call)).await
    }

    async fn read(
        &mut self,
        caller: Option<u64>,
        session: String,
    ) -> Result<(Session, Vec<(String, String)>), CallError> {
        blocking(&self.guest, caller, |guest| guest.read(caller, session)).await.map(with_values)
    }

    async fn write(
        &mut self,
        caller: Option<u64>,
        session: String,
        set: Vec<(String, String)>,
        remove: Vec<String>,
    ) -> Result<(), CallError> {
        blocking(&self.guest, caller, |guest| guest.write(caller, session, set, remove)).await
    }

    async fn find(&mut self, caller: Option<u64>, uid: String) -> Result<Vec<Session>, CallError> {
        blocking(&self.guest, caller, |guest| guest.find(caller, uid)).await.map(all)
    }
}
