//! `fanfare:module/sessions`, `sessions-await` and its blocking twin.

use std::sync::Arc;
use std::time::Duration;

use wasmtime::component::{Access, FutureReader, HasSelf};

use super::{Started, blocking, started, waiting};
use crate::bindings::fanfare::module::sessions::{self, WhenTaken};
use crate::bindings::fanfare::module::types::{CallError, Payload, Pushed, Recipient, Session};
use crate::bindings::fanfare::module::{sessions_await, sessions_blocking};
use crate::call::{self, SessionAct, SessionCopy, SessionInfo};
use crate::isolate::convert::milliseconds;
use crate::isolate::state::{Guest, State};
use crate::ports::{self, ClientEvent, SessionCaller, SessionValues, session_caller as rules};

impl State {
    fn session_caller(&self, caller: Option<u64>) -> SessionCaller {
        session_caller(&self.guest, caller)
    }

    fn sessions(&self) -> &dyn ports::Sessions {
        &*self.guest.ports.sessions
    }
}

impl State {
    /// The facts about a session: those of the copy, if the call has one.
    fn known(&self, caller: &SessionCaller, session: &str) -> Option<Session> {
        let known = match caller.copy(session) {
            Some(copy) => Some(copy.info()),
            None => self.sessions().look(session),
        };
        known.map(Into::into)
    }

    /// Changes the values of a session, or those of the call's copy.
    fn change(
        &self,
        caller: &SessionCaller,
        session: &str,
        set: SessionValues,
        remove: &[String],
    ) -> Result<(), CallError> {
        match caller.copy(session) {
            Some(copy) => copy.change(set, remove),
            None => self.sessions().set(session, set, remove),
        }
        .map_err(Into::into)
    }
}

fn session_caller(guest: &Guest, caller: Option<u64>) -> SessionCaller {
    SessionCaller::new(guest.caller(caller))
}

fn texts(ids: Vec<Arc<str>>) -> Vec<String> {
    ids.iter().map(|id| id.to_string()).collect()
}

impl sessions::Host for State {
    fn current(&mut self, call: u64) -> Option<Session> {
        let caller = self.session_caller(Some(call));
        let own = caller.own()?;
        Some(self.known(&caller, own).unwrap_or_else(|| SessionInfo::ended(own.clone()).into()))
    }

    fn look(&mut self, caller: Option<u64>, session: String) -> Result<Option<Session>, CallError> {
        let caller = self.session_caller(caller);
        caller.named(&session)?;
        Ok(self.known(&caller, &session))
    }

    fn find(&mut self, caller: Option<u64>, uid: String) -> Result<Vec<String>, CallError> {
        rules::name_of("a user", &uid)?;
        self.session_caller(caller).granted()?;
        Ok(texts(self.sessions().find(&uid)))
    }

    fn get(&mut self, caller: Option<u64>, session: Option<String>, key: String) -> Result<Option<String>, CallError> {
        rules::name_of("a value", &key)?;
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        match caller.copy(&session) {
            Some(copy) => Ok(copy.get(&key)),
            None => self.sessions().get(&session, &key).map_err(Into::into),
        }
    }

    fn values(&mut self, caller: Option<u64>, session: Option<String>) -> Result<Vec<(String, String)>, CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        match caller.copy(&session) {
            Some(copy) => Ok(copy.values()),
            None => self.sessions().values(&session).map_err(Into::into),
        }
    }

    fn set(
        &mut self,
        caller: Option<u64>,
        session: Option<String>,
        values: Vec<(String, String)>,
    ) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        rules::values(&values)?;
        self.change(&caller, &session, values, &[])
    }

    fn remove(&mut self, caller: Option<u64>, session: Option<String>, keys: Vec<String>) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        rules::keys(&keys)?;
        self.change(&caller, &session, Vec::new(), &keys)
    }

    fn bind(
        &mut self,
        caller: Option<u64>,
        session: Option<String>,
        uid: String,
        taken: WhenTaken,
    ) -> Result<(), CallError> {
        let (caller, taken) = (self.session_caller(caller), taken.into());
        let session = caller.session(session)?;
        caller.taken(taken)?;
        rules::name_of("a user", &uid)?;
        match caller.copy(&session) {
            Some(copy) => bind_elsewhere(copy, uid, taken),
            None => self.sessions().bind(&session, uid, taken),
        }
        .map_err(Into::into)
    }

    fn unbind(&mut self, caller: Option<u64>, session: Option<String>) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        match caller.copy(&session) {
            Some(copy) => copy.act(SessionAct::Unbind),
            None => self.sessions().unbind(&session),
        }
        .map_err(Into::into)
    }

    fn authenticate(
        &mut self,
        caller: Option<u64>,
        session: Option<String>,
        claims: String,
        expires_ms: Option<u64>,
    ) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        caller.event("claims".to_owned(), call::Payload::None, claims.len())?;
        rules::claims(&claims)?;
        match caller.copy(&session) {
            Some(copy) => copy.act(SessionAct::Authenticate { claims, expires_ms }),
            None => self.sessions().authenticate(&session, &claims, expires_ms.map(Duration::from_millis)),
        }
        .map_err(Into::into)
    }

    fn deauthenticate(&mut self, caller: Option<u64>, session: Option<String>) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        match caller.copy(&session) {
            Some(copy) => copy.act(SessionAct::Deauthenticate),
            None => self.sessions().deauthenticate(&session),
        }
        .map_err(Into::into)
    }

    fn send(&mut self, caller: Option<u64>, to: Recipient, name: String, payload: Payload) -> Result<u32, CallError> {
        let (caller, to) = (self.session_caller(caller), call::Recipient::from(to));
        caller.recipient(&to)?;
        let event = caller.event(name, payload.into(), to.names_len())?;
        let copy = match &to {
            call::Recipient::Session(id) => caller.copy(id),
            _ => None,
        };
        match copy {
            Some(copy) => copy.act(SessionAct::Send { name: event.name, payload: event.payload }).map(|()| 1),
            None => self.sessions().send(&to, event),
        }
        .map_err(Into::into)
    }

    fn disconnect(
        &mut self,
        caller: Option<u64>,
        session: Option<String>,
        code: u16,
        reason: String,
    ) -> Result<(), CallError> {
        let caller = self.session_caller(caller);
        let session = caller.session(session)?;
        rules::close(code, &reason)?;
        match caller.copy(&session) {
            Some(copy) => copy.act(SessionAct::Disconnect { code, reason }),
            None => self.sessions().disconnect(&session, code, reason),
        }
        .map_err(Into::into)
    }

    fn join(&mut self, caller: Option<u64>, group: String, mut sessions: Vec<String>) -> Result<u32, CallError> {
        rules::name_of("a group", &group)?;
        let caller = self.session_caller(caller);
        caller.all_named(&sessions)?;
        let elsewhere = act_elsewhere(&caller, &mut sessions, || SessionAct::Join(group.clone()))?;
        Ok(elsewhere + self.sessions().join(&group, &sessions)?)
    }

    fn leave(&mut self, caller: Option<u64>, group: String, mut sessions: Vec<String>) -> Result<u32, CallError> {
        rules::name_of("a group", &group)?;
        let caller = self.session_caller(caller);
        caller.all_named(&sessions)?;
        let elsewhere = act_elsewhere(&caller, &mut sessions, || SessionAct::Leave(group.clone()))?;
        Ok(elsewhere + self.sessions().leave(&group, &sessions)?)
    }

    fn members(&mut self, caller: Option<u64>, group: String) -> Result<Vec<String>, CallError> {
        rules::name_of("a group", &group)?;
        self.session_caller(caller).granted()?;
        Ok(texts(self.sessions().members(&group)))
    }

    fn count(&mut self) -> (u32, u32) {
        self.sessions().count()
    }
}

/// Only the node of a session knows whether a user is taken, and nobody waits for that node here.
fn bind_elsewhere(copy: &SessionCopy, uid: String, taken: call::WhenTaken) -> Result<(), call::CallError> {
    let replace = match taken {
        call::WhenTaken::Share => false,
        call::WhenTaken::Replace => true,
        call::WhenTaken::Refuse => {
            let id = copy.info().id;
            let node = id.rsplit_once('/').map_or(&*id, |(node, _)| node);
            return Err(call::CallError::Unavailable(format!(
                "only node {node}, which has the session, knows whether the user is taken: bind the session there, or \
                 share or replace the user"
            )));
        }
    };
    copy.act(SessionAct::Bind { uid, replace })
}

/// Removes the session of the call from a list and acts on it, if it is on another node. Returns
/// how many sessions this was about.
fn act_elsewhere(
    caller: &SessionCaller,
    sessions: &mut Vec<String>,
    act: impl Fn() -> SessionAct,
) -> Result<u32, call::CallError> {
    let Some(copy) = caller.own().and_then(|own| caller.copy(own)) else { return Ok(0) };
    let own = copy.info().id;
    let before = sessions.len();
    sessions.retain(|id| **id != *own);
    if sessions.len() == before {
        return Ok(0);
    }
    copy.act(act()).map(|()| 1)
}

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
            Some(copy) => copy.apply(),
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

impl From<WhenTaken> for call::WhenTaken {
    fn from(taken: WhenTaken) -> Self {
        match taken {
            WhenTaken::Refuse => call::WhenTaken::Refuse,
            WhenTaken::Share => call::WhenTaken::Share,
            WhenTaken::Replace => call::WhenTaken::Replace,
        }
    }
}
