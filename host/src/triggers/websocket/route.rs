//! The route of a WebSocket: checks the request, asks the hooks of the module, and gives the
//! connection to the hub.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::ORIGIN;
use http::{HeaderMap, HeaderValue, StatusCode};
use tokio::sync::oneshot;

use super::auth::{Auth, Verifier};
use super::backend::{ClientBackend, SocketTarget};
use super::client;
use super::close_codes::GOING_AWAY;
use super::counters::Counters;
use super::flow::Flow;
use super::link::Link;
use super::plain::PlainClient;
use super::socketcluster::packet::Version;
use super::socketcluster::{Connection, Questions, Shared};
use super::upgrade;
use crate::call::{CallError, ClientHook, Failure, Payload, RequestHead, hook};
use crate::config::WebSocketConfig;
use crate::hub::{Hub, HubError, NewSession, Session, SocketName};
use crate::net::Sockets;
use crate::triggers::channels::ChannelService;
use crate::triggers::http::{HostRequest, HostRoute, HttpResponse, ProblemResponse, RETRY_SECONDS, strip_hop_by_hop};

/// Why a session ends whose socket the module no longer has.
const REMOVED: &str = "the socket was removed";

/// The WebSockets of a host.
pub struct WebSockets {
    config: WebSocketConfig,
    hub: Arc<Hub>,
    sockets: Arc<Sockets>,
    counters: Arc<Counters>,
    shared: Arc<Shared>,
}

/// What a client connects to.
enum Target {
    /// A socket of a module.
    Socket(SocketTarget),
    /// A listener of SocketCluster, and its module.
    Listener(Version, Arc<str>),
}

impl Target {
    fn module(&self) -> Arc<str> {
        match self {
            Target::Socket(target) => target.name.module.clone(),
            Target::Listener(_, module) => module.clone(),
        }
    }

    fn socket(&self) -> Option<&SocketName> {
        match self {
            Target::Socket(target) => Some(&target.name),
            Target::Listener(..) => None,
        }
    }

    /// The parameters of the path.
    fn params(&self) -> Arc<[(String, String)]> {
        match self {
            Target::Socket(target) => target.params.clone(),
            Target::Listener(..) => Arc::default(),
        }
    }

    fn sub_protocol(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        match self {
            Target::Socket(target) => upgrade::sub_protocol(headers, &target.protocols),
            Target::Listener(..) => None,
        }
    }

    /// The name in `session.protocol`.
    fn protocol<'a>(&self, sub_protocol: Option<&'a HeaderValue>) -> &'a str {
        match self {
            Target::Socket(_) => sub_protocol.and_then(|name| name.to_str().ok()).unwrap_or("plain"),
            Target::Listener(version, _) => version.protocol(),
        }
    }
}

/// What the hooks of one request need.
struct Opening<B> {
    /// When the request arrived. All hooks before the response share the time from then on.
    arrived: Instant,
    backend: B,
    module: Arc<str>,
    head: RequestHead,
    params: Arc<[(String, String)]>,
    query: Arc<str>,
    subdomain: Option<Arc<str>>,
}

/// Ends a session that no connection has taken over.
struct Unattached<'a> {
    hub: &'a Hub,
    session: Arc<Session>,
    is_attached: bool,
}

impl Drop for Unattached<'_> {
    fn drop(&mut self) {
        if !self.is_attached {
            drop(self.hub.sessions.end(&self.session));
        }
    }
}

impl WebSockets {
    /// `auth` has the keys of tokens, if there are any.
    pub fn new(
        config: &WebSocketConfig,
        channels: Arc<ChannelService>,
        sockets: Arc<Sockets>,
        auth: Option<Arc<Auth>>,
    ) -> WebSockets {
        let hub = channels.hub.clone();
        let shared = Arc::new(Shared {
            verifier: auth.map(Verifier::new),
            questions: Arc::new(Questions::new(config.in_flight)),
            ping_timeout: config.ping_timeout,
            allows_publish: config.allow_client_publish,
            channels,
            max_history: config.queue.bytes,
        });
        WebSockets { config: config.clone(), hub, sockets, counters: Arc::default(), shared }
    }

    pub(super) fn auth(&self) -> Option<&Auth> {
        self.shared.verifier.as_ref().map(Verifier::auth)
    }

    /// What the host has asked clients.
    pub(super) fn questions(&self) -> &Arc<Questions> {
        &self.shared.questions
    }

    /// `websocket.ackTimeout`.
    pub(super) fn ack_timeout(&self) -> Duration {
        self.config.ack_timeout
    }

    pub fn counters(&self) -> &Arc<Counters> {
        &self.counters
    }

    /// Returns the route of a socket.
    pub fn route(self: &Arc<WebSockets>, target: SocketTarget, backend: &impl ClientBackend) -> HostRoute {
        self.answering(Target::Socket(target), backend)
    }

    /// Returns the route of a listener, if a path is that of one.
    pub fn listener(self: &Arc<WebSockets>, path: &str, backend: &impl ClientBackend) -> Option<HostRoute> {
        let listener = self.config.listeners.iter().find(|listener| listener.path == path)?;
        let version = if listener.protocol == 1 { Version::One } else { Version::Two };
        Some(self.answering(Target::Listener(version, listener.module.as_str().into()), backend))
    }

    fn answering(self: &Arc<WebSockets>, target: Target, backend: &impl ClientBackend) -> HostRoute {
        let (sockets, backend) = (self.clone(), backend.clone());
        Box::new(move |request| {
            Box::pin(async move {
                let (trace, module) = (request.trace, target.module());
                let answered = sockets.answer(request, target, backend).await;
                answered.unwrap_or_else(|problem| problem.with_module(&module).with_trace(trace).into_response())
            })
        })
    }

    /// Ends the connections to sockets that were removed. `exists` says whether a worker has one.
    pub fn close_removed(&self, exists: impl Fn(u32, &SocketName) -> bool) {
        let removed = self.hub.sessions.of_socket(|session, socket| !exists(session.worker, socket));
        for session in removed {
            self.hub.sessions.disconnect(&session, GOING_AWAY, REMOVED);
        }
    }

    /// Without `websocket.maxClients`, WebSockets leave a fifth of the connections for requests.
    pub fn max_clients(&self) -> u32 {
        let share = || u32::try_from(self.sockets.max_connections().saturating_mul(4) / 5).unwrap_or(u32::MAX).max(1);
        self.config.max_clients.unwrap_or_else(share)
    }

    async fn answer<B: ClientBackend>(
        &self,
        mut request: HostRequest,
        target: Target,
        backend: B,
    ) -> Result<HttpResponse, ProblemResponse> {
        let accept = upgrade::check(&request.method, request.version, &request.headers, request.has_body)?;
        self.check_origin(&request.headers)?;
        if request.stopping.is_cancelled() {
            return Err(turn_away(&HubError::Stopping));
        }
        let chosen = target.sub_protocol(&request.headers);
        let protocol = target.protocol(chosen.as_ref());
        let new = NewSession {
            worker: backend.worker(),
            peer: request.peer.ip(),
            protocol: protocol.into(),
            socket: target.socket().cloned(),
        };
        let (session, place) = self.hub.sessions.open(new, self.max_clients()).map_err(|error| turn_away(&error))?;
        let mut unattached = Unattached { hub: &self.hub, session: session.clone(), is_attached: false };

        let opening = Opening::new(&mut request, &target, backend);
        self.ask(opening.call(hook::UPGRADE, None), StatusCode::UNAUTHORIZED).await?;
        let link = self.link(&opening, &session);
        let attach = |client| self.hub.sessions.topics.attach(place, session.worker, None, client);
        let handler = match target {
            Target::Socket(target) => {
                // The fan-out has the client before the hook `connect` runs, so that the hook may
                // send to it. If the hook refuses, the client loses its handler, and the fan-out
                // removes it.
                let max_message = target.max_message.unwrap_or(u64::MAX).min(self.config.max_message);
                let (decision, receiver) = oneshot::channel();
                let plain = PlainClient { link: Arc::new(link), target, opening: Some(receiver) };
                let (client, handler) = client::pair(plain, max_message);
                attach(Box::new(client));
                unattached.is_attached = true;
                self.ask(opening.call(hook::CONNECT, Some(session.id.clone())), StatusCode::FORBIDDEN).await?;
                // The module learns of the end of each client that it has let in. Nobody waits for
                // the decision while the client is there.
                session.set_open();
                _ = decision.send(true);
                // From the removal of a socket on, either this finds that it is gone, or
                // `close_removed` finds the session.
                if !session.socket.as_ref().is_some_and(|socket| opening.backend.has_socket(socket)) {
                    session.set_ending(GOING_AWAY, REMOVED);
                    return Err(ProblemResponse::not_found(format!(
                        "{REMOVED} while the client connected, so the module no longer has it"
                    )));
                }
                Counters::count(&self.counters.opened);
                handler
            }
            Target::Listener(version, _) => {
                let (shared, timeout) = (self.shared.clone(), self.config.handshake_timeout);
                let connection = Connection::new(link, version, shared, opening.head, timeout);
                let (client, handler) = client::pair(connection, self.config.max_message);
                attach(Box::new(client));
                unattached.is_attached = true;
                handler
            }
        };
        Ok(upgrade::switch(accept, chosen, handler))
    }

    fn link<B: ClientBackend>(&self, opening: &Opening<B>, session: &Arc<Session>) -> Link<B> {
        Link {
            backend: opening.backend.clone(),
            hub: self.hub.clone(),
            counters: self.counters.clone(),
            session: session.clone(),
            module: opening.module.clone(),
            params: opening.params.clone(),
            query: opening.query.clone(),
            subdomain: opening.subdomain.clone(),
            timeout: self.config.ack_timeout,
            flow: Flow::new(self.config.in_flight, &self.counters),
        }
    }

    fn check_origin(&self, headers: &HeaderMap) -> Result<(), ProblemResponse> {
        let origins = &self.config.origins;
        let is_open = |origin: &[u8]| origins.iter().any(|open| open == "*" || open.as_bytes() == origin);
        if headers.get_all(ORIGIN).iter().all(|origin| is_open(origin.as_bytes())) {
            return Ok(());
        }
        Counters::count(&self.counters.refused_origins);
        Err(ProblemResponse::forbidden(
            "pages of this origin may not open WebSockets here: add the origin to websocket.origins",
        ))
    }

    /// Waits for a hook, if the module has it. A failure without a status has `status`.
    async fn ask(
        &self,
        called: Option<impl Future<Output = crate::call::CallResult>>,
        status: StatusCode,
    ) -> Result<(), ProblemResponse> {
        let Some(called) = called else { return Ok(()) };
        let Err(error) = called.await else { return Ok(()) };
        Counters::count(&self.counters.refused_hooks);
        Err(ProblemResponse::of_call(match error {
            CallError::Failure(failure) if failure.status == 0 => {
                CallError::Failure(Failure { status: status.as_u16(), ..failure })
            }
            error => error,
        }))
    }
}

impl<B: ClientBackend> Opening<B> {
    fn new(request: &mut HostRequest, target: &Target, backend: B) -> Opening<B> {
        let mut headers = std::mem::take(&mut request.headers);
        strip_hop_by_hop(&mut headers);
        let head = RequestHead {
            headers,
            path: request.uri.path().to_owned(),
            authority: std::mem::take(&mut request.authority),
            peer: request.peer,
        };
        let query = request.uri.query().unwrap_or_default().into();
        let (module, params) = (target.module(), target.params());
        Opening { arrived: Instant::now(), backend, module, head, params, query, subdomain: request.subdomain.take() }
    }

    fn call(
        &self,
        hook: &'static str,
        session: Option<Arc<str>>,
    ) -> Option<impl Future<Output = crate::call::CallResult> + Send + 'static> {
        self.backend.hook(ClientHook {
            module: self.module.clone(),
            hook,
            session,
            head: Some(Box::new(self.head.clone())),
            params: self.params.to_vec(),
            query: self.query.to_string(),
            payload: Payload::None,
            subdomain: self.subdomain.clone(),
            since: Some(self.arrived),
        })
    }
}

/// The response to a client for which the host has no room.
fn turn_away(error: &HubError) -> ProblemResponse {
    let error = match error {
        HubError::Full { max } => {
            CallError::Overloaded(format!("the host already serves {max} WebSockets, its maximum: retry later"))
        }
        error => CallError::Unavailable(error.to_string()),
    };
    ProblemResponse::of_call(error).with_retry(RETRY_SECONDS)
}
