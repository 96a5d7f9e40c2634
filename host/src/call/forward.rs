//! Messages of clients that another node runs, as plain data, and the copy of the session that
//! travels with them.

use std::fmt::{self, Debug, Formatter};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{CallError, ChangeError, Envelope, Payload, RouteName, SessionInfo, Values, WhenTaken};

/// A message of a client that another node runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PeerMessage {
    pub envelope: Envelope,
    pub session: SessionInfo,
    /// The values of the session that may leave its node.
    pub values: Vec<(String, String)>,
    /// `websocket.sessionSize` of the node with the session.
    pub max_values: u64,
    /// The route, always with a module.
    pub route: RouteName,
    /// The name of the client's event, or the pattern of the socket.
    pub name: String,
    /// The module with the socket. `None` for a client of SocketCluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub socket: Option<String>,
    /// The parameters of the socket's URL.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub params: Vec<(String, String)>,
    pub wants_reply: bool,
    /// The query of the URL with which the client has connected.
    pub query: String,
    pub payload: Payload,
}

/// The values of a copy, to be written back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AppliedValues {
    pub session: String,
    pub values: Vec<(String, String)>,
    /// Where the message of the call is answered. Its node applies nothing once it has ended there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<String>,
}

/// What a call with the copy of a session does to the session itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SessionAct {
    Send { name: String, payload: Payload },
    Disconnect { code: u16, reason: String },
    Bind { uid: String, taken: WhenTaken },
    Unbind,
    Authenticate { claims: String, expires_ms: Option<u64> },
    Deauthenticate,
    Join(String),
    Leave(String),
}

impl SessionAct {
    /// The bytes of its texts.
    pub fn size(&self) -> usize {
        match self {
            SessionAct::Send { name, payload } => name.len() + payload.len(),
            SessionAct::Disconnect { reason: text, .. }
            | SessionAct::Bind { uid: text, .. }
            | SessionAct::Authenticate { claims: text, .. }
            | SessionAct::Join(text)
            | SessionAct::Leave(text) => text.len(),
            SessionAct::Unbind | SessionAct::Deauthenticate => 0,
        }
    }

    /// What it changes in the facts about the session.
    fn change(&self) -> Box<dyn FnOnce(&mut SessionInfo) + Send> {
        match self {
            SessionAct::Bind { uid, .. } => {
                let uid = uid.clone();
                Box::new(|info| info.uid = Some(uid))
            }
            SessionAct::Unbind => Box::new(|info| info.uid = None),
            SessionAct::Authenticate { claims, .. } => {
                let claims = claims.clone();
                Box::new(|info| info.claims = Some(claims))
            }
            SessionAct::Deauthenticate => Box::new(|info| info.claims = None),
            SessionAct::Send { .. } | SessionAct::Disconnect { .. } | SessionAct::Join(_) | SessionAct::Leave(_) => {
                Box::new(|_| {})
            }
        }
    }
}

/// Resolves once the values of a copy were written back.
pub type Applied = Pin<Box<dyn Future<Output = Result<(), CallError>> + Send>>;

/// Resolves once an act was done, with the number of sessions that it has changed.
pub type Acted = Pin<Box<dyn Future<Output = Result<u32, CallError>> + Send>>;

/// The way from the copy of a session to the session itself.
pub trait SessionHome: Send + Sync {
    /// Queues an act, for which nobody waits. Acts of one message happen in their order, and before
    /// its reply.
    fn act(&self, act: SessionAct) -> Result<(), CallError>;

    /// Queues an act in the same order, and waits until it is done. `within` is the time that the
    /// call has left.
    fn ask(&self, act: SessionAct, within: Duration) -> Acted;

    /// Writes values back, in place of all that may leave the node of the session. `within` is the
    /// time that the call has left.
    fn apply(&self, values: AppliedValues, within: Duration) -> Applied;
}

/// The copy of a session that belongs to one message: filters, middlewares and the route share it.
pub struct SessionCopy {
    info: Mutex<SessionInfo>,
    values: Mutex<Values>,
    max_values: u64,
    home: Arc<dyn SessionHome>,
}

impl Debug for SessionCopy {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCopy").field("info", &self.info).finish_non_exhaustive()
    }
}

impl SessionCopy {
    /// Fails if the values exceed the limits that they have on every node.
    pub fn new(
        info: SessionInfo,
        values: Vec<(String, String)>,
        max_values: u64,
        home: Arc<dyn SessionHome>,
    ) -> Result<SessionCopy, ChangeError> {
        let mut all = Values::default();
        all.change(values, &[], max_values)?;
        Ok(SessionCopy { info: Mutex::new(info), values: Mutex::new(all), max_values, home })
    }

    pub fn info(&self) -> SessionInfo {
        self.info.lock().clone()
    }

    pub fn get(&self, name: &str) -> Option<String> {
        self.values.lock().get(name)
    }

    pub fn values(&self) -> Vec<(String, String)> {
        self.values.lock().all()
    }

    /// Changes the copy only.
    pub fn change(&self, set: Vec<(String, String)>, remove: &[String]) -> Result<(), CallError> {
        let changed = self.values.lock().change(set, remove, self.max_values);
        changed.map_err(|error| CallError::Invalid(error.to_string()))
    }

    /// Writes the values of the copy back, in place of all that may leave the session's node.
    pub fn apply(&self, within: Duration) -> Applied {
        let session = self.info.lock().id.to_string();
        self.home.apply(AppliedValues { session, values: self.values.lock().shared(), answer: None }, within)
    }

    /// Does something to the session itself, and returns at once. The copy follows.
    pub fn act(&self, act: SessionAct) -> Result<(), CallError> {
        let mut info = self.info.lock();
        let change = act.change();
        self.home.act(act)?;
        change(&mut info);
        Ok(())
    }

    /// The same, and waits for the node of the session. Returns the number of sessions that the act
    /// has changed.
    pub async fn ask(&self, act: SessionAct, within: Duration) -> Result<u32, CallError> {
        let change = act.change();
        let changed = self.home.ask(act, within).await?;
        change(&mut self.info.lock());
        Ok(changed)
    }

    /// The memory that it uses, in bytes.
    pub(super) fn weight(&self) -> usize {
        size_of::<SessionCopy>() + usize::try_from(self.values.lock().bytes()).unwrap_or(usize::MAX)
    }
}

/// The session that a call belongs to.
#[derive(Debug, Clone)]
pub struct CallSession {
    pub id: Arc<str>,
    /// Its copy, if the session is on another node.
    pub copy: Option<Arc<SessionCopy>>,
}

impl From<Arc<str>> for CallSession {
    fn from(id: Arc<str>) -> CallSession {
        CallSession { id, copy: None }
    }
}

impl From<&str> for CallSession {
    fn from(id: &str) -> CallSession {
        Arc::<str>::from(id).into()
    }
}
