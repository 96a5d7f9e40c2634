//! The functions of `sessions`.

use super::super::worker as thread;
use crate::failure::CallError;
use crate::wit::sessions::WhenTaken;
use crate::wit::types::{self as wit, CallId, Payload, Pushed, Recipient, Session};

pub(crate) fn current_session(call: CallId) -> Option<Session> {
    thread::current().0.current_session(call)
}

// Has the signature of the component's function, which can fail.
#[allow(clippy::unnecessary_wraps)]
pub(crate) fn look(caller: Option<CallId>, session: &str) -> Result<Option<Session>, wit::CallError> {
    Ok(thread::current().0.look(caller, session))
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn find_sessions(_caller: Option<CallId>, uid: &str) -> Result<Vec<String>, wit::CallError> {
    Ok(thread::current().0.sessions_of(uid).into_iter().map(|session| session.id).collect())
}

pub(crate) fn session_value(
    caller: Option<CallId>,
    session: Option<&str>,
    key: &str,
) -> Result<Option<String>, wit::CallError> {
    let values = thread::current().0.session_values(caller, session).map_err(CallError::into_wit)?;
    Ok(values.get(key).cloned())
}

pub(crate) fn session_values(
    caller: Option<CallId>,
    session: Option<&str>,
) -> Result<Vec<(String, String)>, wit::CallError> {
    let values = thread::current().0.session_values(caller, session).map_err(CallError::into_wit)?;
    Ok(values.into_iter().collect())
}

pub(crate) fn set_session_values(
    caller: Option<CallId>,
    session: Option<&str>,
    values: &[(String, String)],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, session, values, &[]).map_err(CallError::into_wit)
}

pub(crate) fn remove_session_values(
    caller: Option<CallId>,
    session: Option<&str>,
    keys: &[String],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, session, &[], keys).map_err(CallError::into_wit)
}

pub(crate) fn bind(
    caller: Option<CallId>,
    session: Option<&str>,
    uid: &str,
    taken: WhenTaken,
) -> Result<(), wit::CallError> {
    thread::current().0.bind(caller, session, uid, taken).map_err(CallError::into_wit)
}

pub(crate) fn unbind(caller: Option<CallId>, session: Option<&str>) -> Result<(), wit::CallError> {
    let unbound = thread::current().0.change_session(caller, session, |session| session.uid = None);
    unbound.map_err(CallError::into_wit)
}

pub(crate) fn authenticate(
    caller: Option<CallId>,
    session: Option<&str>,
    claims: &str,
    _expires_ms: Option<u64>,
) -> Result<(), wit::CallError> {
    thread::current().0.authenticate(caller, session, claims).map_err(CallError::into_wit)
}

pub(crate) fn deauthenticate(caller: Option<CallId>, session: Option<&str>) -> Result<(), wit::CallError> {
    let taken = thread::current().0.change_session(caller, session, |session| session.claims = None);
    taken.map_err(CallError::into_wit)
}

pub(crate) fn send_to_sessions(
    _caller: Option<CallId>,
    to: &Recipient,
    name: &str,
    payload: &Payload,
) -> Result<u32, wit::CallError> {
    thread::current().0.send_to(to, name, payload).map_err(CallError::into_wit)
}

pub(crate) fn disconnect(
    caller: Option<CallId>,
    session: Option<&str>,
    code: u16,
    reason: &str,
) -> Result<(), wit::CallError> {
    thread::current().0.disconnect(caller, session, code, reason).map_err(CallError::into_wit)
}

pub(crate) fn join(_caller: Option<CallId>, group: &str, sessions: &[String]) -> Result<u32, wit::CallError> {
    thread::current().0.regroup(group, sessions, true).map_err(CallError::into_wit)
}

pub(crate) fn leave(_caller: Option<CallId>, group: &str, sessions: &[String]) -> Result<u32, wit::CallError> {
    thread::current().0.regroup(group, sessions, false).map_err(CallError::into_wit)
}

#[allow(clippy::unnecessary_wraps)]
pub(crate) fn members(_caller: Option<CallId>, group: &str) -> Result<Vec<String>, wit::CallError> {
    Ok(thread::current().0.members(group))
}

pub(crate) fn count_sessions() -> (u32, u32) {
    thread::current().0.count_sessions()
}

// The functions below have the signatures of the component's functions, which wait.
#[allow(clippy::unused_async)]
pub(crate) async fn push(
    _caller: Option<CallId>,
    to: &[Recipient],
    name: &str,
    payload: &Payload,
) -> Result<Pushed, wit::CallError> {
    thread::current().0.push(to, name, payload).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn ask(
    caller: Option<CallId>,
    session: &str,
    name: &str,
    payload: &Payload,
    _timeout_ms: Option<u32>,
) -> Result<Payload, wit::CallError> {
    thread::current().0.ask(caller, session, name, payload).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn apply(call: CallId) -> Result<(), wit::CallError> {
    thread::current().0.session_values(Some(call), None).map(drop).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async)]
pub(crate) async fn read_session(
    caller: Option<CallId>,
    session: &str,
) -> Result<(Session, Vec<(String, String)>), wit::CallError> {
    let values = session_values(caller, Some(session))?;
    let missing = || wit::CallError::NotFound(format!("there is no session {session}"));
    Ok((thread::current().0.look(caller, session).ok_or_else(missing)?, values))
}

#[allow(clippy::unused_async)]
pub(crate) async fn write_session(
    caller: Option<CallId>,
    session: &str,
    set: &[(String, String)],
    remove: &[String],
) -> Result<(), wit::CallError> {
    thread::current().0.set_values(caller, Some(session), set, remove).map_err(CallError::into_wit)
}

#[allow(clippy::unused_async, clippy::unnecessary_wraps)]
pub(crate) async fn find_everywhere(_caller: Option<CallId>, uid: &str) -> Result<Vec<Session>, wit::CallError> {
    Ok(thread::current().0.sessions_of(uid))
}
