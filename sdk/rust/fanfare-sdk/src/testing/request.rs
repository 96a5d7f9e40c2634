use super::TIMEOUT;
use super::dispatch::{CallSpec, into_reply};
use super::node::{CallState, Node};
use super::routes::RouteRequest;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{HeaderFields, HttpRequest, Origin, Outcome, Payload, Reply, RequestHead, Trigger};

/// A request with options. Create one with [`TestHost::request`](super::TestHost::request).
#[must_use = "call `send` or `outcome` to send the request"]
pub struct Request<'a> {
    node: &'a Node,
    route: &'a str,
    worker: u32,
    inside: bool,
    subdomain: Option<String>,
    headers: HeaderFields,
    body: Result<Payload, serde_json::Error>,
}

impl<'a> Request<'a> {
    pub(super) fn new(node: &'a Node, route: &'a str) -> Self {
        Request { node, route, worker: 0, inside: false, subdomain: None, headers: Vec::new(), body: Ok(Payload::None) }
    }

    /// Sends it to this worker. The default is worker 0.
    pub fn on(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// Sends it as a call of the operator, who can also reach inner routes.
    pub fn inside(mut self) -> Self {
        self.inside = true;
        self
    }

    /// Sends it for this tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.subdomain = Some(subdomain.to_owned());
        self
    }

    /// Adds a header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// Sets the body.
    pub fn body(mut self, body: impl IntoPayload) -> Self {
        self.body = body.into_payload();
        self
    }

    /// Sends it and waits for the reply. A pass counts as a reply.
    pub fn send(self) -> Result<Reply, CallError> {
        self.outcome().map(into_reply)
    }

    /// Sends it and waits for the outcome of the handler, unchanged.
    pub fn outcome(self) -> Result<Outcome, CallError> {
        let request = RouteRequest::parse(self.route);
        let route = self.node.manifest.find(&request)?;
        if route.inner && !self.inside {
            return Err(CallError::Forbidden(format!(
                "the route `{}` has the middleware `inner`: add `.inside()` to the request",
                self.route
            )));
        }
        if route.session {
            return Err(CallError::Forbidden(format!(
                "the route `{}` has the middleware `session`: connect a client with `connect()`",
                self.route
            )));
        }
        if self.worker >= self.node.workers() {
            return Err(CallError::NotFound(format!("there is no worker-{}", self.worker)));
        }
        let head = head(format!("/api/{}/{}", self.node.name, request.path));
        let (trigger, origin, http) = if self.inside {
            (Trigger::Rpc, Origin::Operator, None)
        } else {
            let http_request = HttpRequest { method: route.method.clone() };
            (Trigger::Http(http_request), Origin::Client, Some((self.headers, head)))
        };
        let state = CallState { worker: self.worker, subdomain: self.subdomain, http, ..CallState::default() };
        let payload = match self.body? {
            // An empty body over HTTP is no body.
            body if !self.inside && body.as_bytes().is_empty() => Payload::None,
            body => body,
        };
        let (query, timeout, extra) = (request.query, None, Vec::new());
        let pending = self.node.start(CallSpec { route, query, trigger, payload, timeout, state, origin, extra });
        pending.wait(TIMEOUT).unwrap_or(Err(CallError::Timeout))
    }
}

/// The head of a client's request.
pub(super) fn head(path: String) -> RequestHead {
    RequestHead {
        path,
        scheme: "http".to_owned(),
        authority: "localhost".to_owned(),
        peer: "127.0.0.1:50000".to_owned(),
    }
}
