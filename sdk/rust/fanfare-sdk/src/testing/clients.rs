//! Connected clients of the in-memory host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::TIMEOUT;
use super::lines::Step;
use super::node::{CallState, Node};
use super::sessions::{ClientState, Received};

use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{Origin, Payload};
use crate::wit::types::Session;

/// The id of the node.
pub(super) const NODE: &str = "test-1";

/// The most bytes of the reason of a close.
pub(super) const MAX_REASON: usize = 123;

/// Whether a module may end a session with this code.
pub(super) fn may_close_with(code: u16) -> bool {
    code == 1000 || (4000..=4999).contains(&code)
}

/// The close code that a failure chose, if it is one that a module may choose.
pub(super) fn close_code(error: &CallError) -> Option<u16> {
    let extra = &error.failure()?.extra;
    let (_, code) = extra.iter().find(|(name, _)| name == "close-code")?;
    code.parse().ok().filter(|code| may_close_with(*code))
}

/// The pattern of a socket, its route, and its parameters.
#[derive(Clone)]
pub(super) struct SocketMatch {
    pub pattern: String,
    /// The module of the route. Empty for the module itself.
    pub module: String,
    pub route: String,
    pub params: Vec<(String, String)>,
    /// The query of the request.
    pub query: String,
}

/// A connected client. Dropping it disconnects it.
pub struct Client {
    pub(super) node: Arc<Node>,
    pub(super) id: String,
    pub(super) socket: Option<SocketMatch>,
}

impl Client {
    /// Sends a message and waits for the answer: the payload of the reply. A plain WebSocket has no
    /// names: pass an empty one.
    pub fn request(&self, name: &str, payload: impl IntoPayload) -> Result<Payload, CallError> {
        self.message(name, payload.into_payload()?, true)
    }

    /// Sends a message without waiting for an answer. A plain WebSocket receives the reply as a
    /// message: see [`received`](Client::received).
    pub fn send(&self, name: &str, payload: impl IntoPayload) -> Result<(), CallError> {
        self.message(name, payload.into_payload()?, false).map(drop)
    }

    fn message(&self, name: &str, payload: Payload, wants_reply: bool) -> Result<Payload, CallError> {
        if let Some((code, _)) = self.closed() {
            return Err(CallError::Unavailable(format!("the connection is closed: {code}")));
        }
        let ended = self.node.client_message(&self.id, self.socket.as_ref(), name, payload, wants_reply);
        match &ended {
            Ok(payload) if self.socket.is_some() && !payload.is_none() => {
                if let Ok(client) = self.node.state().client(None, Some(&self.id)) {
                    client.receive("", payload.clone());
                }
            }
            Ok(_) => {}
            Err(error) => self.close_after(error),
        }
        ended
    }

    /// Closes the connection if a failure asks for it.
    fn close_after(&self, error: &CallError) {
        if let Some(code) = close_code(error) {
            self.node.close_session(&self.id, code, &error.to_string());
        }
    }

    /// Subscribes to a channel with this data (`()` for none), and waits for the host. A plain
    /// WebSocket cannot: the module adds it with [`channels::add`](crate::channels::add).
    ///
    /// The messages of the channel are then in [`received`](Client::received), with the name
    /// `#publish` and the payload `{"channel", "data"}`; a channel with history adds `position`. A
    /// plain WebSocket receives the message alone.
    pub fn subscribe(&self, channel: &str, data: impl IntoPayload) -> Result<(), CallError> {
        let info = data.into_payload()?;
        self.act(channel, Step::Subscribe { session: self.id.clone(), info })
    }

    /// Unsubscribes from a channel, and waits for the host.
    pub fn unsubscribe(&self, channel: &str) -> Result<(), CallError> {
        self.act(channel, Step::Unsubscribe { session: self.id.clone() })
    }

    /// Publishes a message to a channel, and waits until it has its place or is refused.
    pub fn publish(&self, channel: &str, payload: impl IntoPayload) -> Result<(), CallError> {
        let payload = payload.into_payload()?;
        self.act(channel, Step::Publish { session: Some(self.id.clone()), payload })
    }

    fn act(&self, channel: &str, step: Step) -> Result<(), CallError> {
        if let Some((code, _)) = self.closed() {
            return Err(CallError::Unavailable(format!("the connection is closed: {code}")));
        }
        if self.socket.is_some() {
            return Err(CallError::Invalid("a plain WebSocket has no channels of its own".to_owned()));
        }
        let placed = self.node.offer(channel, step, Origin::Session(self.id.clone()))?;
        placed.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout)).map(drop)
    }

    /// Answers the module's questions with this name ([`Session::ask`](crate::sessions::Session)).
    pub fn answer(&self, name: &str, answer: impl Fn(Payload) -> Result<Payload, CallError> + Send + Sync + 'static) {
        let mut state = self.node.state();
        if let Some(client) = state.clients.iter_mut().find(|client| client.record.id == self.id) {
            client.answers.insert(name.to_owned(), Arc::new(answer));
        }
    }

    /// Shows a valid token with these claims. Fails when the hook `authenticate` rejects it, and
    /// closes the connection when the failure has a `close-code`.
    ///
    /// # Panics
    /// When the claims are not an object.
    pub fn authenticate(&self, claims: &Value) -> Result<(), CallError> {
        assert!(claims.is_object(), "the claims of a token are an object, found {claims}");
        let worker = self.session().worker;
        let state = CallState { worker, session: Some(self.id.clone()), ..CallState::default() };
        let passed = self.node.hook("authenticate", self.socket.as_ref(), Payload::Text(claims.to_string()), state);
        let passed = passed.inspect_err(|error| self.close_after(error))?;
        let claims = match passed {
            Some(Payload::Text(replaced)) => replaced,
            _ => claims.to_string(),
        };
        self.node.change_session(None, Some(&self.id), |session| session.claims = Some(claims))
    }

    /// Closes the connection, and runs the hook `disconnect`.
    pub fn disconnect(&self, code: u16, reason: &str) {
        self.node.close_session(&self.id, code, reason);
    }

    /// Returns all messages received so far, in order.
    pub fn received(&self) -> Vec<Received> {
        self.read(|client| client.received.clone())
    }

    /// Returns the close code and the reason, when the connection is closed.
    pub fn closed(&self) -> Option<(u16, String)> {
        self.read(|client| client.closed.clone())
    }

    /// Returns the id of the session.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Returns the facts of the session.
    pub fn session(&self) -> Session {
        self.read(|client| Some(client.record.clone())).unwrap_or_else(|| record(&self.id, 0, false))
    }

    /// Returns a value of the session, `null` when it has none.
    pub fn value(&self, key: &str) -> Value {
        let text = self.read(|client| client.values.get(key).cloned());
        text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
    }

    fn read<T: Default>(&self, read: impl FnOnce(&ClientState) -> T) -> T {
        let state = self.node.state();
        state.clients.iter().find(|client| client.record.id == self.id).map(read).unwrap_or_default()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.node.close_session(&self.id, 1000, "");
    }
}

fn record(id: &str, worker: u32, plain: bool) -> Session {
    Session {
        id: id.to_owned(),
        worker,
        uid: None,
        ip: "127.0.0.1".to_owned(),
        protocol: if plain { "plain" } else { "socketcluster/2" }.to_owned(),
        claims: None,
        since_ms: 1_700_000_000_000,
        extra: Vec::new(),
    }
}

impl Node {
    pub(super) fn add_client(&self, worker: u32, socket: Option<SocketMatch>, subdomain: Option<String>) -> String {
        let mut state = self.state();
        let id = format!("{NODE}/client{:014}", state.clients_so_far);
        state.clients_so_far += 1;
        state.clients.push(ClientState {
            record: record(&id, worker, socket.is_some()),
            values: BTreeMap::new(),
            groups: BTreeSet::new(),
            socket,
            subdomain,
            received: Vec::new(),
            answers: BTreeMap::new(),
            closed: None,
        });
        id
    }
}
