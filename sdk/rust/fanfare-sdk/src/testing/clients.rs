//! Connected clients of the in-memory host.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde_json::{Value, json};

use super::dispatch::{CallSpec, Pending, into_reply};
use super::lines::Step;
use super::node::{CallState, Node};
use super::routes::{MatchedRoute, RouteRequest};
use super::sessions::{ClientState, Received};
use super::{TIMEOUT, TestHost};
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{ClientMessage, HeaderFields, Hook, Origin, Outcome, Payload, Reply, RequestHead, Trigger};
use crate::wit::types::Session;

/// The id of the node.
pub(super) const NODE: &str = "test-1";

/// The close code of a client of SocketCluster that the hook `connect` rejects.
const REJECTED: u16 = 4008;

/// The most bytes of the reason of a close.
pub(super) const MAX_REASON: usize = 123;

impl TestHost {
    /// Starts to connect a client.
    pub fn connect(&self) -> ConnectOptions<'_> {
        ConnectOptions {
            node: &self.node,
            worker: 0,
            socket: None,
            data: Payload::None,
            claims: None,
            subdomain: None,
            headers: Vec::new(),
        }
    }
}

/// A client that is about to connect. Create one with [`TestHost::connect`].
#[must_use = "call `open` to connect the client"]
pub struct ConnectOptions<'a> {
    node: &'a Arc<Node>,
    worker: u32,
    socket: Option<String>,
    data: Payload,
    claims: Option<Value>,
    subdomain: Option<String>,
    headers: HeaderFields,
}

/// Why a client was rejected.
#[derive(Clone, Debug, PartialEq)]
pub enum Rejection {
    /// The hook `upgrade`, or for a plain WebSocket the hook `connect`, rejected the request with
    /// this HTTP status.
    Status(u16, CallError),
    /// The hook `connect` rejected a client of SocketCluster with this close code.
    Closed(u16, CallError),
}

impl ConnectOptions<'_> {
    /// Connects to this worker. The default is worker 0.
    pub fn on(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// Connects a plain WebSocket to this path below the module, such as `live/7`. Without it the
    /// client speaks the protocol of SocketCluster.
    pub fn socket(mut self, path: &str) -> Self {
        self.socket = Some(path.to_owned());
        self
    }

    /// Sends this data with the handshake of SocketCluster, for the hook `connect`. A plain
    /// WebSocket has no handshake with data.
    ///
    /// # Panics
    /// When serde cannot serialise it.
    pub fn data(mut self, data: impl IntoPayload) -> Self {
        match data.into_payload() {
            Ok(data) => self.data = data,
            Err(error) => panic!("the data of the handshake cannot be serialised: {error}"),
        }
        self
    }

    /// Shows a valid token with these claims, as a client does that connects again.
    pub fn claims(mut self, claims: Value) -> Self {
        self.claims = Some(claims);
        self
    }

    /// Connects for this tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.subdomain = Some(subdomain.to_owned());
        self
    }

    /// Adds a header field to the request that asks for a WebSocket.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Runs the hooks `upgrade` and `connect`, and connects the client if both admit it.
    ///
    /// # Panics
    /// When a plain WebSocket has data for a handshake.
    pub fn open(self) -> Result<Client, Rejection> {
        let ConnectOptions { node, worker, socket, data, claims, subdomain, headers } = self;
        let status = |status: u16, error: CallError| Rejection::Status(status, error);
        assert!(socket.is_none() || data.is_none(), "a plain WebSocket sends no data with its handshake");
        if worker >= node.workers() {
            return Err(status(404, CallError::NotFound(format!("there is no worker-{worker}"))));
        }
        let path = match &socket {
            Some(path) => format!("/api/{}/{}", node.name, path.split_once('?').map_or(&**path, |(path, _)| path)),
            None => "/socketcluster/".to_owned(),
        };
        let socket = match socket {
            Some(path) => Some(node.manifest.socket(&path).map_err(|error| status(404, error))?),
            None => None,
        };
        let head = RequestHead {
            path,
            scheme: "http".to_owned(),
            authority: "localhost".to_owned(),
            peer: "127.0.0.1:50000".to_owned(),
        };
        let state =
            CallState { worker, subdomain: subdomain.clone(), http: Some((headers, head)), ..CallState::default() };
        let upgraded = node.hook("upgrade", socket.as_ref(), Payload::None, state.clone());
        upgraded.map_err(|error| status(status_of(&error, 401), error))?;

        let id = node.add_client(worker, socket.clone(), subdomain);
        let client = Client { node: Arc::clone(node), id: id.clone(), socket };
        let state = CallState { session: Some(id.clone()), ..state };
        if let Err(error) = node.hook("connect", client.socket.as_ref(), data, state) {
            node.state().clients.retain(|client| client.record.id != id);
            return Err(match &client.socket {
                Some(_) => status(status_of(&error, 403), error),
                None => Rejection::Closed(close_code(&error).unwrap_or(REJECTED), error),
            });
        }
        if let Some(claims) = claims {
            // The host connects a client whose token is rejected, too: it is not authenticated.
            let _ = client.authenticate(&claims);
        }
        Ok(client)
    }
}

/// The status of a failure, if it chose one.
fn status_of(error: &CallError, default: u16) -> u16 {
    error.failure().map(|failure| failure.status).filter(|status| *status != 0).unwrap_or(default)
}

/// Whether a module may end a session with this code.
pub(super) fn may_close_with(code: u16) -> bool {
    code == 1000 || (4000..=4999).contains(&code)
}

/// The close code that a failure chose, if it is one that a module may choose.
fn close_code(error: &CallError) -> Option<u16> {
    let extra = &error.failure()?.extra;
    let (_, code) = extra.iter().find(|(name, _)| name == "close-code")?;
    code.parse().ok().filter(|code| may_close_with(*code))
}

/// The pattern of a socket, its route, and its parameters.
#[derive(Clone)]
pub(super) struct SocketMatch {
    pub pattern: String,
    pub route: String,
    pub params: Vec<(String, String)>,
    /// The query of the request.
    pub query: String,
}

/// A connected client. Dropping it disconnects it.
pub struct Client {
    node: Arc<Node>,
    id: String,
    socket: Option<SocketMatch>,
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
    fn add_client(&self, worker: u32, socket: Option<SocketMatch>, subdomain: Option<String>) -> String {
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

    /// Queues the call of a hook, with the parameters and the query of the client's socket. `None`
    /// if the manifest has no such hook.
    pub(super) fn start_hook(
        &self,
        name: &str,
        socket: Option<&SocketMatch>,
        payload: Payload,
        state: CallState,
    ) -> Option<Result<Pending, CallError>> {
        let target = self.manifest.hooks.get(name)?;
        let origin = state.session.clone().map_or(Origin::Client, Origin::Session);
        Some(self.manifest.find(&RouteRequest::parse(&target.path)).map(|mut route| {
            let query = socket.map_or("", |socket| socket.query.as_str());
            route.params = socket.map(|socket| socket.params.clone()).unwrap_or_default();
            let trigger = Trigger::Hook(Hook { name: name.to_owned() });
            self.start(CallSpec { route, query, trigger, payload, timeout: None, state, origin, extra: Vec::new() })
        }))
    }

    /// Runs a hook. Returns the payload of a pass.
    fn hook(
        &self,
        name: &str,
        socket: Option<&SocketMatch>,
        payload: Payload,
        state: CallState,
    ) -> Result<Option<Payload>, CallError> {
        let Some(started) = self.start_hook(name, socket, payload, state) else { return Ok(None) };
        match ended(started?)? {
            Outcome::Pass(passed) => Ok(passed.payload),
            Outcome::Reply(_) => Ok(None),
        }
    }

    /// Runs the filters and the route of a client's message.
    fn client_message(
        &self,
        session: &str,
        socket: Option<&SocketMatch>,
        name: &str,
        payload: Payload,
        wants_reply: bool,
    ) -> Result<Payload, CallError> {
        let named = match socket {
            Some(socket) => socket.route.clone(),
            None => self.route_of(name)?,
        };
        let request = RouteRequest::parse(&named);
        let (mut route, mut query) = (self.manifest.find(&request)?, request.query);
        let name = socket.map_or(name, |socket| &socket.pattern);
        if let Some(socket) = socket {
            (route.params, query) = (socket.params.clone(), &socket.query);
        }
        if !route.session {
            return Err(CallError::Forbidden(format!(
                "messages of connected clients reach only routes with the middleware `session`: `{name}` has none"
            )));
        }
        let client = self.state().client(None, Some(session)).map(|client| {
            let (worker, subdomain) = (client.record.worker, client.subdomain.clone());
            CallState { worker, subdomain, session: Some(session.to_owned()), ..CallState::default() }
        })?;
        let message = ClientMessage { session: session.to_owned(), name: name.to_owned(), wants_reply };
        let run = |route: MatchedRoute, trigger: Trigger, payload: Payload, extra: Vec<(String, String)>| {
            let origin = Origin::Session(session.to_owned());
            let (state, timeout) = (client.clone(), None);
            ended(self.start(CallSpec { route, query, trigger, payload, timeout, state, origin, extra }))
        };
        let (mut payload, mut facts, text) = (payload, Vec::new(), route.text.clone());
        for filter in &self.manifest.filters.before {
            let filter = self.manifest.find(&RouteRequest::parse(filter))?;
            let mut extra = facts.clone();
            extra.push(("for".to_owned(), text.clone()));
            match run(filter, Trigger::Client(message.clone()), payload.clone(), extra)? {
                Outcome::Reply(reply) => return Ok(reply.payload),
                Outcome::Pass(passed) => {
                    payload = passed.payload.unwrap_or(payload);
                    let named = |(name, value)| (format!("{}.{name}", self.name), value);
                    facts.extend(passed.extra.into_iter().map(named));
                }
            }
        }
        let mut reply: Reply = into_reply(run(route, Trigger::Client(message), payload, facts)?);
        for filter in &self.manifest.filters.after {
            let filter = self.manifest.find(&RouteRequest::parse(filter))?;
            let data = json!({ "route": text, "status": reply.status }).to_string();
            match run(filter, Trigger::Other(("after".to_owned(), data)), reply.payload.clone(), Vec::new())? {
                Outcome::Reply(other) => reply = other,
                Outcome::Pass(passed) => reply.payload = passed.payload.unwrap_or(reply.payload),
            }
        }
        Ok(reply.payload)
    }

    /// The route below this module that the name of a message means.
    fn route_of(&self, name: &str) -> Result<String, CallError> {
        let path = name.split_once('?').map_or(name, |(path, _)| path);
        let (module, rest) = match (name.split_once('/'), path.split_once('.')) {
            (Some((module, rest)), _) => (module, rest.to_owned()),
            (None, Some((module, rest))) => (module, rest.replace('.', "/")),
            (None, None) => return Ok(name.to_owned()),
        };
        if module.is_empty() || module == self.name {
            return Ok(rest);
        }
        Err(CallError::NotFound(format!("the test host has no module `{module}`")))
    }
}

fn ended(pending: Pending) -> Result<Outcome, CallError> {
    pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout))
}
