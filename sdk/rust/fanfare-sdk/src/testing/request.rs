use super::PATIENCE;
use super::dispatch::{Start, into_reply};
use super::node::{Node, Running};
use super::routes::Wanted;
use crate::failure::CallError;
use crate::payload::IntoPayload;
use crate::types::{HeaderFields, HttpRequest, Origin, Outcome, Payload, Reply, RequestHead, Trigger};

/// A request to be made; made by [`TestHost::request`](super::TestHost::request).
#[must_use = "nothing is sent before `send` or `outcome`"]
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

    /// In this worker.
    pub fn on(mut self, worker: u32) -> Self {
        self.worker = worker;
        self
    }

    /// As a call of the operator, for which inner routes are open too.
    pub fn inside(mut self) -> Self {
        self.inside = true;
        self
    }

    /// For this tenant.
    pub fn subdomain(mut self, subdomain: &str) -> Self {
        self.subdomain = Some(subdomain.to_owned());
        self
    }

    /// With one more header field.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: impl IntoPayload) -> Self {
        self.body = body.into_payload();
        self
    }

    /// Sends it and waits for the reply. `pass` counts as one.
    pub fn send(self) -> Result<Reply, CallError> {
        self.outcome().map(into_reply)
    }

    /// Sends it and waits for the handler's outcome as it is.
    pub fn outcome(self) -> Result<Outcome, CallError> {
        let wanted = Wanted::parse(self.route);
        let found = self.node.manifest.find(&wanted)?;
        if found.inner && !self.inside {
            return Err(CallError::Forbidden(format!("the route `{}` is an inner one", self.route)));
        }
        if self.worker >= self.node.workers() {
            return Err(CallError::NotFound(format!("there is no worker-{}", self.worker)));
        }
        let head = RequestHead {
            path: format!("/api/{}/{}", self.node.name, wanted.path),
            scheme: "http".to_owned(),
            authority: "localhost".to_owned(),
            peer: "127.0.0.1:50000".to_owned(),
        };
        let (trigger, origin, http) = if self.inside {
            (Trigger::Rpc, Origin::Operator, None)
        } else {
            let request = HttpRequest { method: found.method.clone() };
            (Trigger::Http(request), Origin::Client, Some((self.headers, head)))
        };
        let running = Running { worker: self.worker, subdomain: self.subdomain, http, ..Running::default() };
        let payload = match self.body? {
            // Over HTTP an empty body is none.
            body if !self.inside && body.as_bytes().is_empty() => Payload::None,
            body => body,
        };
        let (query, timeout) = (wanted.query, None);
        let pending = self.node.start(Start { found, query, trigger, payload, timeout, running, origin });
        pending.wait(PATIENCE).unwrap_or(Err(CallError::Timeout))
    }
}
