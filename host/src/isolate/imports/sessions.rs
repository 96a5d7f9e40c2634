//! `fanfare:module/sessions`.
//!
//! Of a session that is on another node, only that node knows whether a user is taken, or who is
//! in a group. The call waits for it, and the instance runs nothing else meanwhile.

use std::sync::Arc;
use std::time::Duration;

use super::blocking;
use crate::bindings::fanfare::module::sessions::{self, WhenTaken};
use crate::bindings::fanfare::module::types::{CallError, Payload, Recipient, Session};
use crate::call::{self, SessionAct, SessionCopy, SessionInfo};
use crate::isolate::state::{Guest, State};
use crate::ports::{self, SessionCaller, SessionValues, session_caller as rules};

impl State {
    fn session_caller(&self, caller: Option<u64>) -> SessionCaller {
        session_caller(&self.guest, caller)
    }

    fn sessions(&self) -> &dyn ports::Sessions {
        &*self.guest.ports.sessions
    }

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

pub(super) fn session_caller(guest: &Guest, caller: Option<u64>) -> SessionCaller {
    SessionCaller::new(guest.caller(caller))
}

/// Acts on the session of the call, which is on another node, and waits for the number of sessions
/// that this has changed.
async fn ask_home(
    guest: &Arc<Guest>,
    call: Option<u64>,
    copy: Arc<SessionCopy>,
    act: SessionAct,
) -> Result<u32, CallError> {
    let within = session_caller(guest, call).timeout(None);
    blocking(guest, call, |_| async move { copy.ask(act, within).await }).await
}

/// Removes the session of the call from a list, if it is on another node. Returns its copy if it
/// was in the list.
fn take_copy(caller: &SessionCaller, sessions: &mut Vec<String>) -> Option<Arc<SessionCopy>> {
    let copy = caller.own().and_then(|own| caller.copy(own))?;
    let (own, before) = (copy.info().id, sessions.len());
    sessions.retain(|id| **id != *own);
    (sessions.len() < before).then(|| copy.clone())
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

    async fn bind(
        &mut self,
        call: Option<u64>,
        session: Option<String>,
        uid: String,
        taken: WhenTaken,
    ) -> Result<(), CallError> {
        let (caller, taken) = (self.session_caller(call), taken.into());
        let session = caller.session(session)?;
        caller.taken(taken)?;
        rules::name_of("a user", &uid)?;
        let Some(copy) = caller.copy(&session) else {
            return self.sessions().bind(&session, uid, taken).map_err(Into::into);
        };
        let act = SessionAct::Bind { uid, taken };
        match taken {
            call::WhenTaken::Refuse => ask_home(&self.guest, call, copy.clone(), act).await.map(drop),
            call::WhenTaken::Share | call::WhenTaken::Replace => copy.act(act).map_err(Into::into),
        }
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

    async fn authenticate(
        &mut self,
        call: Option<u64>,
        session: Option<String>,
        claims: String,
        expires_ms: Option<u64>,
    ) -> Result<(), CallError> {
        let caller = self.session_caller(call);
        let session = caller.session(session)?;
        caller.event("claims".to_owned(), call::Payload::None, claims.len())?;
        rules::claims(&claims)?;
        let Some(copy) = caller.copy(&session) else {
            let expires = expires_ms.map(Duration::from_millis);
            return self.sessions().authenticate(&session, &claims, expires).map_err(Into::into);
        };
        let act = SessionAct::Authenticate { claims, expires_ms };
        ask_home(&self.guest, call, copy.clone(), act).await.map(drop)
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

    async fn join(&mut self, call: Option<u64>, group: String, mut sessions: Vec<String>) -> Result<u32, CallError> {
        rules::name_of("a group", &group)?;
        let caller = self.session_caller(call);
        caller.all_named(&sessions)?;
        let elsewhere = match take_copy(&caller, &mut sessions) {
            Some(copy) => ask_home(&self.guest, call, copy, SessionAct::Join(group.clone())).await?,
            None => 0,
        };
        Ok(elsewhere + self.sessions().join(&group, &sessions)?)
    }

    async fn leave(&mut self, call: Option<u64>, group: String, mut sessions: Vec<String>) -> Result<u32, CallError> {
        rules::name_of("a group", &group)?;
        let caller = self.session_caller(call);
        caller.all_named(&sessions)?;
        let elsewhere = match take_copy(&caller, &mut sessions) {
            Some(copy) => ask_home(&self.guest, call, copy, SessionAct::Leave(group.clone())).await?,
            None => 0,
        };
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

impl From<WhenTaken> for call::WhenTaken {
    fn from(taken: WhenTaken) -> Self {
        match taken {
            WhenTaken::Refuse => call::WhenTaken::Refuse,
            WhenTaken::Share => call::WhenTaken::Share,
            WhenTaken::Replace => call::WhenTaken::Replace,
        }
    }
}
