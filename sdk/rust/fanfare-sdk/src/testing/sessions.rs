//! Sessions of the in-memory host: what the imports do with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::Value;

use super::clients::{MAX_REASON, SocketMatch, may_close_with};
use super::node::{CallState, Node, State};
use crate::failure::CallError;
use crate::types::{CallId, Payload, Pushed, Recipient};
use crate::wit::sessions::WhenTaken;
use crate::wit::types::Session;

/// The most bytes of a name, as in the real host.
const MAX_NAME: usize = 256;

/// The close code of a session whose user another session was bound to.
const REPLACED: u16 = 4010;

/// Answers the questions of the module to a client.
pub(super) type AnswerFn = Arc<dyn Fn(Payload) -> Result<Payload, CallError> + Send + Sync>;

/// A message that a client received.
#[derive(Clone, Debug, PartialEq)]
pub struct Received {
    /// The name. Empty for a plain WebSocket, which receives the payload alone.
    pub name: String,
    /// The payload.
    pub payload: Payload,
}

/// A client and its session.
pub(super) struct ClientState {
    pub record: Session,
    pub values: BTreeMap<String, String>,
    pub groups: BTreeSet<String>,
    /// The socket, if it is a plain WebSocket.
    pub socket: Option<SocketMatch>,
    pub subdomain: Option<String>,
    pub received: Vec<Received>,
    pub answers: BTreeMap<String, AnswerFn>,
    /// The code and the reason, when the connection is closed.
    pub closed: Option<(u16, String)>,
}

impl ClientState {
    pub fn receive(&mut self, name: &str, payload: Payload) {
        let name = if self.socket.is_some() { String::new() } else { name.to_owned() };
        self.received.push(Received { name, payload });
    }

    fn is_for(&self, to: &Recipient) -> bool {
        let is = |uid: &str| self.record.uid.as_deref() == Some(uid);
        match to {
            Recipient::Session(id) => self.record.id == *id,
            Recipient::Uid(uid) => is(uid),
            Recipient::UidOn((uid, node)) => is(uid) && node == super::clients::NODE,
            Recipient::Group(group) => self.groups.contains(group),
            Recipient::Bound => self.record.uid.is_some(),
            Recipient::Everyone => true,
            Recipient::Other(_) => false,
        }
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn not_found(session: &str) -> CallError {
    CallError::NotFound(format!("there is no session {session}"))
}

fn check_name(what: &str, name: &str) -> Result<(), CallError> {
    if (1..=MAX_NAME).contains(&name.len()) {
        return Ok(());
    }
    Err(CallError::Invalid(format!("the name of {what} has 1 to {MAX_NAME} bytes, found {}", name.len())))
}

fn check_event(name: &str, to: &[Recipient]) -> Result<(), CallError> {
    if to.iter().any(|to| matches!(to, Recipient::Other(_))) {
        return Err(CallError::Invalid("this version does not know the kind of recipient".to_owned()));
    }
    check_name("a message", name)?;
    if name.contains(char::is_control) {
        return Err(CallError::Invalid("the name of a message has no control characters".to_owned()));
    }
    Ok(())
}

impl State {
    fn open_clients(&self) -> impl Iterator<Item = &ClientState> {
        self.clients.iter().filter(|client| client.closed.is_none())
    }

    /// The session of a call.
    pub fn own(&self, caller: Option<CallId>) -> Option<String> {
        self.calls.get(&caller?).and_then(|call| call.session.clone())
    }

    /// The named session, or that of the call. A session that ends is there for its own call only.
    pub fn client(&mut self, caller: Option<CallId>, session: Option<&str>) -> Result<&mut ClientState, CallError> {
        let own = self.own(caller);
        let none = || CallError::Invalid("the call belongs to no session: name the session".to_owned());
        let id = session.map(str::to_owned).or_else(|| own.clone()).ok_or_else(none)?;
        let is_own = own.as_ref() == Some(&id);
        let found = self.clients.iter_mut().find(|client| client.record.id == id);
        found.filter(|client| is_own || client.closed.is_none()).ok_or_else(|| not_found(&id))
    }

    fn deliver(&mut self, to: &Recipient, name: &str, payload: &Payload) -> u32 {
        let clients = self.clients.iter_mut().filter(|client| client.closed.is_none() && client.is_for(to));
        number(clients.map(|client| client.receive(name, payload.clone())).count())
    }
}

/// The functions of `sessions`.
impl Node {
    pub fn current_session(&self, call: CallId) -> Option<Session> {
        self.state().client(Some(call), None).ok().map(|client| client.record.clone())
    }

    pub fn look(&self, caller: Option<CallId>, session: &str) -> Option<Session> {
        self.state().client(caller, Some(session)).ok().map(|client| client.record.clone())
    }

    pub fn sessions_of(&self, uid: &str) -> Vec<Session> {
        let (state, to) = (self.state(), Recipient::Uid(uid.to_owned()));
        state.open_clients().filter(|client| client.is_for(&to)).map(|client| client.record.clone()).collect()
    }

    pub fn session_values(
        &self,
        caller: Option<CallId>,
        session: Option<&str>,
    ) -> Result<BTreeMap<String, String>, CallError> {
        Ok(self.state().client(caller, session)?.values.clone())
    }

    pub fn set_values(
        &self,
        caller: Option<CallId>,
        session: Option<&str>,
        set: &[(String, String)],
        remove: &[String],
    ) -> Result<(), CallError> {
        for (key, text) in set {
            check_name("a value", key)?;
            serde_json::from_str::<IgnoredAny>(text)
                .map_err(|error| CallError::Invalid(format!("the value `{key}` is not JSON: {error}")))?;
        }
        let mut state = self.state();
        let client = state.client(caller, session)?;
        client.values.retain(|key, _| !remove.contains(key));
        client.values.extend(set.iter().cloned());
        Ok(())
    }

    pub fn bind(
        &self,
        caller: Option<CallId>,
        session: Option<&str>,
        uid: &str,
        taken: WhenTaken,
    ) -> Result<(), CallError> {
        check_name("a user", uid)?;
        let mut state = self.state();
        let id = state.client(caller, session)?.record.id.clone();
        let (to, mut others) = (Recipient::Uid(uid.to_owned()), Vec::new());
        if taken != WhenTaken::Share {
            let bound = state.open_clients().filter(|client| client.is_for(&to) && client.record.id != id);
            others = bound.map(|client| client.record.id.clone()).collect();
        }
        if taken == WhenTaken::Refuse && !others.is_empty() {
            return Err(CallError::Forbidden(format!("another session is bound to {uid}")));
        }
        state.client(caller, session)?.record.uid = Some(uid.to_owned());
        // A session that is replaced has no user any more, also in its hook `disconnect`.
        for client in state.clients.iter_mut().filter(|client| others.contains(&client.record.id)) {
            client.record.uid = None;
        }
        drop(state);
        for other in others {
            self.close_session(&other, REPLACED, "the user has connected again");
        }
        Ok(())
    }

    pub fn change_session(
        &self,
        caller: Option<CallId>,
        session: Option<&str>,
        change: impl FnOnce(&mut Session),
    ) -> Result<(), CallError> {
        self.state().client(caller, session).map(|client| change(&mut client.record))
    }

    pub fn authenticate(&self, caller: Option<CallId>, session: Option<&str>, claims: &str) -> Result<(), CallError> {
        if !matches!(serde_json::from_str(claims), Ok(Value::Object(_))) {
            return Err(CallError::Invalid("the claims are not a JSON object".to_owned()));
        }
        let mut state = self.state();
        let client = state.client(caller, session)?;
        if client.socket.is_some() {
            return Err(CallError::Invalid("a plain WebSocket has no tokens".to_owned()));
        }
        client.record.claims = Some(claims.to_owned());
        Ok(())
    }

    pub fn send_to(&self, to: &Recipient, name: &str, payload: &Payload) -> Result<u32, CallError> {
        check_event(name, std::slice::from_ref(to))?;
        Ok(self.state().deliver(to, name, payload))
    }

    pub fn push(&self, to: &[Recipient], name: &str, payload: &Payload) -> Result<Pushed, CallError> {
        check_event(name, to)?;
        let mut state = self.state();
        let mut pushed = Pushed { reached: 0, unknown: Vec::new(), silent: Vec::new() };
        for (index, one) in to.iter().enumerate() {
            // A recipient that is named twice counts once.
            if to.get(..index).is_some_and(|earlier| earlier.contains(one)) {
                continue;
            }
            match state.deliver(one, name, payload) {
                0 if !matches!(one, Recipient::Bound | Recipient::Everyone) => pushed.unknown.push(one.clone()),
                reached => pushed.reached += reached,
            }
        }
        Ok(pushed)
    }

    pub fn ask(
        &self,
        caller: Option<CallId>,
        session: &str,
        name: &str,
        payload: &Payload,
    ) -> Result<Payload, CallError> {
        check_event(name, &[])?;
        let mut state = self.state();
        let client = state.client(caller, Some(session))?;
        if client.socket.is_some() {
            return Err(CallError::Invalid("a plain WebSocket sends no answers".to_owned()));
        }
        client.receive(name, payload.clone());
        let answer = client.answers.get(name).cloned();
        drop(state);
        answer.map_or(Err(CallError::Timeout), |answer| answer(payload.clone()))
    }

    pub fn disconnect(
        &self,
        caller: Option<CallId>,
        session: Option<&str>,
        code: u16,
        reason: &str,
    ) -> Result<(), CallError> {
        if !may_close_with(code) {
            return Err(CallError::Invalid(format!("a close code is 1000 or 4000 to 4999, found {code}")));
        }
        if reason.len() > MAX_REASON {
            let found = reason.len();
            return Err(CallError::Invalid(format!(
                "the reason of a disconnect has at most {MAX_REASON} bytes, found {found}"
            )));
        }
        let id = self.state().client(caller, session)?.record.id.clone();
        self.close_session(&id, code, reason);
        Ok(())
    }

    /// Adds sessions to a group, or removes them. Returns how many changed.
    pub fn regroup(&self, group: &str, sessions: &[String], joins: bool) -> Result<u32, CallError> {
        check_name("a group", group)?;
        let mut state = self.state();
        let clients = state.clients.iter_mut().filter(|client| client.closed.is_none());
        let named = clients.filter(|client| sessions.contains(&client.record.id));
        let changed = named.filter_map(|client| {
            let changed = if joins { client.groups.insert(group.to_owned()) } else { client.groups.remove(group) };
            changed.then_some(())
        });
        Ok(number(changed.count()))
    }

    pub fn members(&self, group: &str) -> Vec<String> {
        let (state, to) = (self.state(), Recipient::Group(group.to_owned()));
        state.open_clients().filter(|client| client.is_for(&to)).map(|client| client.record.id.clone()).collect()
    }

    pub fn count_sessions(&self) -> (u32, u32) {
        let state = self.state();
        let bound = state.open_clients().filter(|client| client.record.uid.is_some()).count();
        (number(state.open_clients().count()), number(bound))
    }

    /// Ends a session, and calls the hook `disconnect`.
    pub fn close_session(&self, id: &str, code: u16, reason: &str) {
        let mut state = self.state();
        let Ok(client) = state.client(None, Some(id)) else { return };
        client.closed = Some((code, reason.to_owned()));
        let (worker, subdomain, socket) = (client.record.worker, client.subdomain.clone(), client.socket.clone());
        drop(state);
        self.leave_channels(id);
        let payload = serde_json::json!({ "code": code, "reason": reason }).to_string();
        let state = CallState { worker, subdomain, session: Some(id.to_owned()), ..CallState::default() };
        // The outcome of this hook changes nothing.
        drop(self.start_hook("disconnect", socket.as_ref(), Payload::Text(payload), state));
    }
}
