//! Connected clients: their sessions, messages to them, and groups of them.
//!
//! A session lasts as long as the client's WebSocket. A handler of a client's message takes a
//! [`Session`] as an argument. With that session a module may do everything; all other sessions,
//! users and groups need the grant `sessions`.
//!
//! ```
//! use fanfare_sdk::prelude::*;
//! use fanfare_sdk::sessions::{self, Recipient, WhenTaken};
//!
//! #[handler]
//! fn sign_in(session: Session, name: Json<String>) -> Result<()> {
//!     session.bind(&name, WhenTaken::Refuse)?;
//!     session.set("name", &*name)?;
//!     Ok(())
//! }
//!
//! #[handler]
//! fn whisper(session: Session, to: Json<(String, String)>) -> Result<Json<u32>> {
//!     let (user, text) = &*to;
//!     let from: Option<String> = session.get("name")?;
//!     Ok(Json(sessions::send(Recipient::Uid(user.clone()), "whisper", json!([from, text]))?))
//! }
//! fanfare_sdk::module!(sign_in, whisper);
//! # fn main() {
//! let manifest = r#"{
//!     "routes": [
//!         { "path": "sign-in", "handler": "sign_in", "middlewares": "session" },
//!         { "path": "whisper", "handler": "whisper", "middlewares": "session" },
//!     ],
//!     "capabilities": { "sessions": true },
//! }"#;
//! let host = TestHost::builder(Module).manifest(manifest).start();
//! let [ada, bob] = ["ada", "bob"].map(|name| {
//!     let client = host.connect().open().unwrap();
//!     client.request("sign-in", json!(name)).unwrap();
//!     client
//! });
//! assert_eq!(ada.request("whisper", json!(["bob", "hello"])).unwrap().json::<u32>().unwrap(), 1);
//! assert_eq!(bob.received()[0].payload.json::<Value>().unwrap(), json!(["ada", "hello"]));
//! # }
//! ```

use std::future::Future;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::backend;
use crate::current::caller;
use crate::extract::{FromCall, Incoming};
use crate::failure::{CallError, Failure, Result};
use crate::payload::IntoPayload;
use crate::types::Payload;
pub use crate::types::{Pushed, Recipient};
pub use crate::wit::sessions::WhenTaken;
use crate::wit::types::Session as Record;

/// A session, with the facts that it had when it was read.
///
/// As an argument of a handler it is the session of the call: that of a client's message, of a
/// filter around it, or of a hook about the client. Any other call fails with the status 400;
/// `Option<Session>` is `None` there.
///
/// The functions ask the host each time, so they see what other handlers have changed meanwhile.
/// Each fails with `NotFound` when the session has ended or is one of another node, and with
/// `Forbidden` when it is not the session of the call and the module lacks the grant `sessions`.
#[derive(Clone, Debug, PartialEq)]
pub struct Session(Record);

impl Session {
    /// Returns the id: `<node>/<id>`. The client knows only the part after the slash.
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// Returns the index of the worker that has the socket.
    pub fn worker(&self) -> u32 {
        self.0.worker
    }

    /// Returns the user that the session was bound to when it was read.
    pub fn uid(&self) -> Option<&str> {
        self.0.uid.as_deref()
    }

    /// Returns the address of the client, without its port.
    pub fn ip(&self) -> &str {
        &self.0.ip
    }

    /// Returns how the client speaks, such as `socketcluster/2`, or `plain`.
    pub fn protocol(&self) -> &str {
        &self.0.protocol
    }

    /// Returns when the client connected, in milliseconds since 1970-01-01 UTC.
    pub fn since_ms(&self) -> u64 {
        self.0.since_ms
    }

    /// Returns the claims of the client's token, if the client was authenticated when the session
    /// was read.
    pub fn claims<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        Ok(self.0.claims.as_deref().map(serde_json::from_str).transpose()?)
    }

    /// Reads the session again.
    pub fn read_again(&self) -> Result<Option<Session>, CallError> {
        look(self.id())
    }

    /// Returns a value of the session, or `None` when it has no such value.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        let text = backend::session_value(caller(), Some(self.id()), key).map_err(CallError::from)?;
        Ok(text.as_deref().map(serde_json::from_str).transpose()?)
    }

    /// Returns all values of the session by their names.
    pub fn values(&self) -> Result<Map<String, Value>> {
        let values = backend::session_values(caller(), Some(self.id())).map_err(CallError::from)?;
        values.into_iter().map(|(key, text)| Ok((key, serde_json::from_str(&text)?))).collect()
    }

    /// Sets a value of the session. All its values together have at most `websocket.sessionSize`
    /// bytes as JSON, and there are at most 1,024. A value whose name begins with `_` never leaves
    /// the node of the session.
    pub fn set<T: Serialize + ?Sized>(&self, key: &str, value: &T) -> Result<()> {
        self.set_all([(key, value)])
    }

    /// Sets several values of the session, or none when it fails.
    pub fn set_all<'a, T: Serialize + ?Sized + 'a>(
        &self,
        values: impl IntoIterator<Item = (&'a str, &'a T)>,
    ) -> Result<()> {
        let values = texts(values)?;
        Ok(backend::set_session_values(caller(), Some(self.id()), &values).map_err(CallError::from)?)
    }

    /// Removes a value of the session.
    pub fn remove(&self, key: &str) -> Result<(), CallError> {
        Ok(backend::remove_session_values(caller(), Some(self.id()), &[key.to_owned()])?)
    }

    /// Binds the session to a user, until it ends or is bound to another one. Fails with
    /// `Forbidden` when the user is taken and `taken` is [`WhenTaken::Refuse`].
    /// [`WhenTaken::Replace`] needs the grant `sessions`, because it ends other sessions.
    pub fn bind(&self, uid: &str, taken: WhenTaken) -> Result<(), CallError> {
        Ok(backend::bind(caller(), Some(self.id()), uid, taken)?)
    }

    /// Ends the binding of the session to its user.
    pub fn unbind(&self) -> Result<(), CallError> {
        Ok(backend::unbind(caller(), Some(self.id()))?)
    }

    /// Signs a token with these claims, and sends it to the client. The client shows the token when
    /// it connects again. The token is valid for `websocket.auth.expiry`.
    ///
    /// Fails with `Invalid` when the claims are not a JSON object, or when the client speaks a
    /// protocol without tokens.
    pub fn authenticate<T: Serialize>(&self, claims: &T) -> Result<()> {
        self.signed(claims, None)
    }

    /// Like [`authenticate`](Session::authenticate), with a token that is valid for this time.
    pub fn authenticate_for<T: Serialize>(&self, claims: &T, expiry: Duration) -> Result<()> {
        self.signed(claims, Some(u64::try_from(expiry.as_millis()).unwrap_or(u64::MAX)))
    }

    fn signed<T: Serialize>(&self, claims: &T, expires_ms: Option<u64>) -> Result<()> {
        let claims = serde_json::to_string(claims)?;
        Ok(backend::authenticate(caller(), Some(self.id()), &claims, expires_ms).map_err(CallError::from)?)
    }

    /// Takes the token away from the client.
    pub fn deauthenticate(&self) -> Result<(), CallError> {
        Ok(backend::deauthenticate(caller(), Some(self.id()))?)
    }

    /// Sends a message to the client, without waiting. A plain WebSocket receives the payload
    /// without the name. What a handler sends arrives before its reply.
    ///
    /// Returns whether the message is queued: `false` when the session has ended.
    pub fn send(&self, name: &str, payload: impl IntoPayload) -> Result<bool, CallError> {
        Ok(send(Recipient::Session(self.id().to_owned()), name, payload)? > 0)
    }

    /// Sends a message to the client and returns its answer. Fails with `Invalid` when the client
    /// speaks a protocol without answers.
    pub fn ask<P: IntoPayload>(
        &self,
        name: &str,
        payload: P,
    ) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
        ask(self.id(), name, payload)
    }

    /// Ends the session after everything that is queued for the client is sent. The code is 1000,
    /// or 4000 to 4999.
    pub fn disconnect(&self, code: u16, reason: &str) -> Result<(), CallError> {
        Ok(backend::disconnect(caller(), Some(self.id()), code, reason)?)
    }

    /// Adds the session to a group. Returns whether it was not in it.
    pub fn join(&self, group: &str) -> Result<bool, CallError> {
        Ok(join(group, [self.id()])? > 0)
    }

    /// Removes the session from a group. Returns whether it was in it.
    pub fn leave(&self, group: &str) -> Result<bool, CallError> {
        Ok(leave(group, [self.id()])? > 0)
    }
}

/// The session that the call belongs to. A call that belongs to none fails with the status 400.
impl FromCall for Session {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        current(call).ok_or_else(|| Failure::bad_request("no-session", "only a connected client can call this route"))
    }
}

/// `None` when the call belongs to no session.
impl FromCall for Option<Session> {
    fn from_call(call: &mut Incoming, _: &'static str) -> Result<Self> {
        Ok(current(call))
    }
}

fn current(call: &Incoming) -> Option<Session> {
    backend::current_session(call.call().id).map(Session)
}

/// The JSON text of each value.
fn texts<'a, T: Serialize + ?Sized + 'a>(
    values: impl IntoIterator<Item = (&'a str, &'a T)>,
) -> Result<Vec<(String, String)>, serde_json::Error> {
    values.into_iter().map(|(key, value)| Ok((key.to_owned(), serde_json::to_string(value)?))).collect()
}

/// Returns a session of this node, or `None` when there is no session with this id.
pub fn look(session: &str) -> Result<Option<Session>, CallError> {
    Ok(backend::look(caller(), session)?.map(Session))
}

/// Returns the ids of the sessions of this node that are bound to a user.
pub fn find(uid: &str) -> Result<Vec<String>, CallError> {
    Ok(backend::find_sessions(caller(), uid)?)
}

/// Sends a message to sessions, without waiting. Returns the number of sessions of this node that
/// it is queued for. What is for other nodes is on its way: [`push`] waits for them.
#[expect(clippy::needless_pass_by_value, reason = "a recipient is written where it is used")]
pub fn send(to: Recipient, name: &str, payload: impl IntoPayload) -> Result<u32, CallError> {
    let payload = payload.into_payload()?;
    Ok(backend::send_to_sessions(caller(), &to, name, &payload)?)
}

/// Adds sessions of this node to a group. Returns how many were not in it. A group exists as long
/// as it has members.
pub fn join<'a>(group: &str, sessions: impl IntoIterator<Item = &'a str>) -> Result<u32, CallError> {
    Ok(backend::join(caller(), group, &owned(sessions))?)
}

/// Removes sessions from a group. Returns how many were in it.
pub fn leave<'a>(group: &str, sessions: impl IntoIterator<Item = &'a str>) -> Result<u32, CallError> {
    Ok(backend::leave(caller(), group, &owned(sessions))?)
}

fn owned<'a>(sessions: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    sessions.into_iter().map(str::to_owned).collect()
}

/// Returns the ids of the members of a group on this node.
pub fn members(group: &str) -> Result<Vec<String>, CallError> {
    Ok(backend::members(caller(), group)?)
}

/// Returns the number of sessions of this node, and how many of them are bound to a user.
pub fn count() -> (u32, u32) {
    backend::count_sessions()
}

/// Sends a message to each recipient, and waits until their nodes have queued it. A recipient that
/// is named twice counts once.
pub fn push<I: IntoIterator<Item = Recipient>, P: IntoPayload>(
    to: I,
    name: &str,
    payload: P,
) -> impl Future<Output = Result<Pushed, CallError>> + use<I, P> {
    let (caller, to, name) = (caller(), to.into_iter().collect::<Vec<_>>(), name.to_owned());
    let payload = payload.into_payload();
    async move { Ok(backend::push(caller, &to, &name, &payload?).await?) }
}

/// Sends a message to one client and returns its answer, after `websocket.ackTimeout` at the
/// latest. A rejection of the client is a [`CallError::Failure`].
pub fn ask<P: IntoPayload>(
    session: &str,
    name: &str,
    payload: P,
) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
    question(session, name, payload, None)
}

/// Like [`ask`], with a limit for the wait.
pub fn ask_within<P: IntoPayload>(
    session: &str,
    name: &str,
    payload: P,
    timeout: Duration,
) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
    question(session, name, payload, Some(crate::rpc::millis(timeout)))
}

fn question<P: IntoPayload>(
    session: &str,
    name: &str,
    payload: P,
    timeout: Option<u32>,
) -> impl Future<Output = Result<Payload, CallError>> + use<P> {
    let (caller, session, name, payload) = (caller(), session.to_owned(), name.to_owned(), payload.into_payload());
    async move { Ok(backend::ask(caller, &session, &name, &payload?, timeout).await?) }
}

/// Returns a session of any node, and its values.
pub fn read(session: &str) -> impl Future<Output = Result<(Session, Map<String, Value>)>> + use<> {
    let (caller, session) = (caller(), session.to_owned());
    async move {
        let (record, values) = backend::read_session(caller, &session).await.map_err(CallError::from)?;
        let values = values.into_iter().map(|(key, text)| Ok((key, serde_json::from_str(&text)?)));
        Ok((Session(record), values.collect::<Result<_>>()?))
    }
}

/// Removes values of a session of any node, then sets values: all of it, or nothing when it fails.
pub fn write(
    session: &str,
    set: &Map<String, Value>,
    remove: &[&str],
) -> impl Future<Output = Result<(), CallError>> + use<> {
    let (caller, session) = (caller(), session.to_owned());
    let set: Vec<_> = set.iter().map(|(key, value)| (key.clone(), value.to_string())).collect();
    let remove = owned(remove.iter().copied());
    async move { Ok(backend::write_session(caller, &session, &set, &remove).await?) }
}

/// Returns the sessions of all nodes that are bound to a user.
pub fn find_everywhere(uid: &str) -> impl Future<Output = Result<Vec<Session>, CallError>> + use<> {
    let (caller, uid) = (caller(), uid.to_owned());
    async move { Ok(backend::find_everywhere(caller, &uid).await?.into_iter().map(Session).collect()) }
}

/// Writes the values of the call's copy of its session back to the node of the session. On that
/// node itself there is nothing to do.
pub fn apply() -> impl Future<Output = Result<(), CallError>> + use<> {
    let caller = caller();
    async move {
        let none = || CallError::Invalid("only a call of a connected client has a session".to_owned());
        Ok(backend::apply(caller.ok_or_else(none)?).await?)
    }
}
