//! The route of all live streams.

use std::net::IpAddr;
use std::sync::Arc;

use http::{Method, Version};

use super::accept::Accepts;
use super::request::StreamQuery;
use super::response::{self, Heads};
use super::{frames, socket};
use crate::call::text::{NAME, line};
use crate::call::{Admission, CallError, CallResult, Outcome, RequestHead, StreamRequest, TopicKind};
use crate::config::{SseConfig, StreamAccess};
use crate::hub::{Client, Form, Hub, HubError, Limits, Resume};
use crate::net::Sockets;
use crate::ports::Topics;
use crate::triggers::http::{
    Content, HostRequest, HostRoute, HttpResponse, ProblemResponse, RETRY_SECONDS, reply_response, strip_hop_by_hop,
};

/// The modules of the worker that owns the connection.
pub trait StreamBackend: Clone + Send + Sync + 'static {
    /// The index of the worker.
    fn worker(&self) -> u32;

    /// Whether an installed module declares streams or may publish to them.
    fn uses_streams(&self) -> bool;

    /// Asks the module that declares the key.
    fn admit(&self, request: StreamRequest) -> impl Future<Output = Admission> + Send;
}

/// The live streams of a host.
pub struct Streams {
    path: String,
    /// Whether the settings have the section `sse`.
    configured: bool,
    access: StreamAccess,
    max_clients: Option<u32>,
    max_clients_per_key: Option<u32>,
    heads: Heads,
    hub: Arc<Hub>,
    sockets: Arc<Sockets>,
    /// The streams of other nodes.
    topics: Arc<dyn Topics>,
}

impl Streams {
    pub fn new(config: &SseConfig, hub: Arc<Hub>, sockets: Arc<Sockets>, topics: Arc<dyn Topics>) -> Streams {
        Streams {
            path: config.path.clone(),
            configured: config.configured,
            access: config.keys,
            max_clients: config.max_clients,
            max_clients_per_key: config.max_clients_per_key,
            heads: Heads::new(config),
            hub,
            sockets,
            topics,
        }
    }

    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Returns the route if a path is that of the streams, and the host serves them.
    pub fn route(self: &Arc<Streams>, path: &str, backend: &impl StreamBackend) -> Option<HostRoute> {
        if path != self.path || !(self.configured || backend.uses_streams()) {
            return None;
        }
        let (streams, backend) = (self.clone(), backend.clone());
        Some(Box::new(move |request| {
            Box::pin(async move {
                let trace = request.trace;
                let answered = streams.answer(request, &backend).await;
                let response = answered.unwrap_or_else(|problem| problem.with_trace(trace).into_response());
                streams.heads.with_origin(response)
            })
        }))
    }

    /// Without `sse.maxClients`, streams leave a fifth of the connections for requests.
    fn limits(&self) -> Limits {
        let share = || u32::try_from(self.sockets.max_connections().saturating_mul(4) / 5).unwrap_or(u32::MAX).max(1);
        let max = self.max_clients.unwrap_or_else(share);
        Limits { max, max_per_topic: self.max_clients_per_key.unwrap_or(max) }
    }

    async fn answer(
        &self,
        mut request: HostRequest,
        backend: &impl StreamBackend,
    ) -> Result<HttpResponse, ProblemResponse> {
        match request.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return Ok(self.heads.options(&request.headers)),
            ref other => return Err(ProblemResponse::method_not_allowed(other, &[Method::GET])),
        }
        if request.has_body {
            return Err(ProblemResponse::bad_request("a request for a stream has no body: send it without one"));
        }
        let accepts = Accepts::of(&request.headers);
        if accepts == Accepts::No {
            return Err(response::not_acceptable());
        }
        let StreamQuery { key, last_event_id } =
            StreamQuery::of(request.uri.query(), &request.headers).map_err(ProblemResponse::bad_request)?;
        if request.stopping.is_cancelled() {
            return self.turn_away(accepts, &HubError::Stopping);
        }
        let mut place = match self.hub.streams.reserve(&key, self.limits()) {
            Ok(place) => place,
            Err(error) => return self.turn_away(accepts, &error),
        };
        let opening = opening(&mut request, &key, last_event_id.as_deref());
        match backend.admit(opening).await {
            Admission::Open => {}
            Admission::Undeclared if self.access == StreamAccess::Any => {}
            Admission::Undeclared => return Err(undeclared(&key)),
            Admission::Called(module, result) => {
                if let Some(response) = self.refusal(accepts, &module, result)? {
                    return Ok(response);
                }
            }
        }
        let head = self.heads.stream(request.version);
        if request.method == Method::HEAD {
            return Ok(head.map(|()| Content::Frames(Box::pin(futures_util::stream::empty()))));
        }
        // The fan-out has the client before the client has the head, and NATS knows of it.
        if !self.topics.is_alone() {
            let followed = self.topics.follow(TopicKind::Stream, &key);
            let since = followed.confirmed().await;
            place.hold(Box::new(followed), since);
        }
        let (client, content) = connection(request.version, request.peer.ip());
        self.hub.streams.attach(place, backend.worker(), last_event_id.map(Resume::Id), client);
        Ok(head.map(|()| content))
    }

    /// Returns the response of a module that does not admit the client. `None` if it does.
    fn refusal(
        &self,
        accepts: Accepts,
        module: &str,
        result: CallResult,
    ) -> Result<Option<HttpResponse>, ProblemResponse> {
        match result {
            Ok(Outcome::Pass(_)) => Ok(None),
            Ok(Outcome::Reply(reply)) if reply.effective_status() < 300 => Ok(None),
            Ok(Outcome::Reply(reply)) => reply_response(reply).map(Some).map_err(|problem| problem.with_module(module)),
            // The next attempt may find the module ready. `NotFound` means that a swap has removed
            // the route.
            Err(
                error @ (CallError::Overloaded(_)
                | CallError::Unavailable(_)
                | CallError::Timeout(_)
                | CallError::Crashed(_)
                | CallError::NotFound(_)),
            ) if accepts == Accepts::Named => {
                tracing::debug!(module, %error, "a client cannot open a stream now");
                Ok(Some(self.heads.later("unavailable")))
            }
            Err(error) => Err(ProblemResponse::of_call(error).with_module(module)),
        }
    }

    /// Answers a client for which the host has no room. `EventSource` never tries again after any
    /// status except 200, so it gets a stream that ends at once.
    fn turn_away(&self, accepts: Accepts, error: &HubError) -> Result<HttpResponse, ProblemResponse> {
        match accepts {
            Accepts::Named => Ok(self.heads.later("full")),
            Accepts::Any | Accepts::No => {
                let error = match error {
                    HubError::Stopping => CallError::Unavailable(error.to_string()),
                    HubError::Full { .. } | HubError::TopicFull { .. } | HubError::TooManyTopics { .. } => {
                        CallError::Overloaded(error.to_string())
                    }
                };
                Err(ProblemResponse::of_call(error).with_retry(RETRY_SECONDS))
            }
        }
    }
}

/// Returns the two ends of a stream: the client for the fan-out, and the content of the response.
fn connection(version: Version, peer: IpAddr) -> (Box<dyn Client>, Content) {
    if version >= Version::HTTP_2 {
        let (client, body) = frames::pair(peer);
        return (Box::new(client), Content::Frames(Box::pin(body)));
    }
    let form = if version == Version::HTTP_11 { Form::Whole } else { Form::Text };
    let (client, handler) = socket::pair(peer, form);
    (Box::new(client), Content::Socket(handler))
}

/// Builds the request that the module sees, from the head of the request.
fn opening(request: &mut HostRequest, key: &str, last_event_id: Option<&str>) -> StreamRequest {
    let mut headers = std::mem::take(&mut request.headers);
    strip_hop_by_hop(&mut headers);
    StreamRequest {
        key: key.into(),
        last_event_id: last_event_id.map(Arc::from),
        query: request.uri.query().unwrap_or_default().to_owned(),
        head: Box::new(RequestHead {
            headers,
            path: request.uri.path().to_owned(),
            authority: std::mem::take(&mut request.authority),
            peer: request.peer,
        }),
        trace: request.trace,
        subdomain: request.subdomain.take(),
    }
}

fn undeclared(key: &str) -> ProblemResponse {
    let key = line(key, NAME);
    ProblemResponse::forbidden(format!(
        "no module declares the stream key `{key}`, and sse.keys opens only declared ones: use another key"
    ))
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::super::event::EventMessage;
    use super::*;
    use crate::call::{StreamEvent, Trace};
    use crate::config::{HubConfig, WebSocketConfig};
    use crate::events::EventLog;
    use crate::hub::{Reach, SessionSettings, TopicSettings};
    use crate::net::Descriptors;
    use crate::ports::NoTopics;
    use crate::triggers::http::HostBody;

    /// A worker whose modules declare no keys.
    #[derive(Clone)]
    struct NoModules;

    impl StreamBackend for NoModules {
        fn worker(&self) -> u32 {
            0
        }

        fn uses_streams(&self) -> bool {
            false
        }

        async fn admit(&self, _: StreamRequest) -> Admission {
            Admission::Undeclared
        }
    }

    /// The streams of a host with the default settings that accepts this number of connections.
    fn streams(connections: usize) -> Streams {
        let config = SseConfig::default();
        let settings = TopicSettings::new(&config, std::time::Duration::from_secs(60));
        let topics = TopicSettings::of_sessions(&WebSocketConfig::default(), settings.idle_timeout, settings.drain);
        let encoder = Arc::new(());
        let sessions = SessionSettings { topics, node: "n".to_owned(), max_values: 1, max_channels: 1, encoder };
        let hub = Hub::new(&HubConfig::default(), settings, sessions, 1, Arc::new(EventLog::new(true, true)));
        Streams::new(&config, hub, Arc::new(Sockets::new(Descriptors::read(), connections, 0)), Arc::new(NoTopics))
    }

    fn request(version: Version) -> HostRequest {
        HostRequest {
            method: Method::GET,
            uri: "/stream?connectKey=a".parse().unwrap(),
            version,
            headers: HeaderMap::new(),
            has_body: false,
            authority: "h".to_owned(),
            scheme: "http",
            peer: ([127, 0, 0, 1], 1).into(),
            body: HostBody::none(),
            trace: Trace::fresh(),
            subdomain: None,
            stopping: tokio_util::sync::CancellationToken::new(),
        }
    }

    #[tokio::test]
    async fn a_client_is_in_the_hub_before_it_gets_the_head_of_its_response() {
        for version in [Version::HTTP_10, Version::HTTP_11, Version::HTTP_2] {
            let streams = streams(10);
            let response = streams.answer(request(version), &NoModules).await.ok().unwrap();
            let message = Arc::new(EventMessage::new(StreamEvent::from("x"), 9, "x").unwrap());
            let reached = streams.hub.streams.publish("a", message, Reach::Node);
            assert_eq!(reached, 1, "{version:?} {:?}", response.status());
        }
    }

    #[tokio::test]
    async fn by_default_streams_leave_a_fifth_of_the_connections_for_requests() {
        for (connections, max) in [(1, 1), (2, 1), (10, 8), (10_000, 8_000)] {
            assert_eq!(streams(connections).limits(), Limits { max, max_per_topic: max });
        }
    }
}
