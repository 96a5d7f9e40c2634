//! Answers a request: reads the body, runs the call, and builds the response.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::CONNECTION;
use http::request::Parts;
use http::{HeaderValue, Method, Request, StatusCode, Version};
use hyper::body::{Body as _, Incoming};

use super::backend::Backend;
use super::body::{self, MaxBody};
use super::buffer_lease::BufferLease;
use super::content::{Content, HttpResponse, OwnOrigin};
use super::exchange::{self, IncomingExchange, call_problem};
use super::host_body::HostBody;
use super::host_route::HostRequest;
use super::plan::{Planner, RequestPlan};
use super::problem_response::ProblemResponse;
use super::reply;
use super::request::{ParsedHeaders, asks_for_websocket, has_token, strip_hop_by_hop, subdomain};
use super::response_body;
use super::settings::Settings;
use super::stopping::Stopping;
use crate::call::{HttpRequest, RequestHead, panic_text};

/// Answers the requests of one connection.
pub(super) struct Responder<B> {
    pub(super) settings: Arc<Settings>,
    pub(super) backend: B,
    pub(super) peer: SocketAddr,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    pub(super) stopping: Stopping,
}

impl<B: Backend> Responder<B> {
    /// Answers a request, even if the host panics meanwhile. `spill` allows the call to run in
    /// another worker.
    pub(super) async fn respond(
        &self,
        request: Request<Incoming>,
        spill: bool,
        lease: &mut BufferLease,
    ) -> HttpResponse {
        let (head, body) = request.into_parts();
        let (is_head, version) = (head.method == Method::HEAD, head.version);
        let parsed = ParsedHeaders::of(&head.headers);
        let trace = parsed.trace;
        let asks_to_close = parsed.hop_by_hop && has_token(&head.headers, &CONNECTION, "close");
        let cors = self.settings.cors.as_ref();
        let mut allowed = cors.and_then(|cors| cors.allowed_origin(&head.headers));
        let run = self.run(head, parsed, body, spill, lease, &mut allowed);
        let answered = AssertUnwindSafe(run).catch_unwind().await;
        let answered = answered.unwrap_or_else(|panic| {
            let panic = panic_text(panic.as_ref());
            tracing::error!(panic, %trace, "the host panicked while it answered a request");
            self.backend.panicked(panic);
            Err(ProblemResponse::internal())
        });
        let into_response = |problem: ProblemResponse| problem.with_trace(trace).into_response();
        let mut response = answered.unwrap_or_else(into_response);
        if let Err(problem) = response_body::reserve(&response, lease) {
            response = into_response(problem);
        }
        if version >= Version::HTTP_2 {
            response.headers_mut().remove(CONNECTION);
        } else if response.status() != StatusCode::SWITCHING_PROTOCOLS
            && (asks_to_close || lease.announces_close() || ends_with_its_socket(&response))
        {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some(cors) = cors
            && response.extensions().get::<OwnOrigin>().is_none()
        {
            cors.apply(allowed, response.headers_mut());
        }
        if is_head {
            reply::remove_body(&mut response);
        }
        response
    }

    /// Answers a request. Clears `allowed`, the origin that may read the response, if `http.cors`
    /// does not open the route.
    async fn run(
        &self,
        head: Parts,
        mut parsed: ParsedHeaders,
        body: Incoming,
        spill: bool,
        lease: &mut BufferLease,
        allowed: &mut Option<HeaderValue>,
    ) -> Result<HttpResponse, ProblemResponse> {
        let Parts { method, uri, version, mut headers, .. } = head;
        // HTTP/2 can reset a single stream, and a client that waits for `100 Continue` sends no
        // body.
        let drain = version < Version::HTTP_2 && !parsed.expects_continue;
        let Some(authority) = parsed.take_authority(&uri, version) else {
            body::discard(body, drain);
            return Err(ProblemResponse::bad_request(
                "the request must have exactly one `Host` header, with a text value",
            ));
        };
        if let Some(coding) = parsed.coding {
            body::discard(body, drain);
            return Err(ProblemResponse::unknown_coding(&coding));
        }
        let planner = Planner { settings: &self.settings, backend: &self.backend };
        let opens_socket = parsed.hop_by_hop && method == Method::GET && asks_for_websocket(&headers);
        let (name, module, matched) = match planner.plan(&method, &uri, &headers, opens_socket, allowed) {
            Ok(RequestPlan::Call { name, module, matched }) => (name, module, matched),
            Ok(RequestPlan::Exchange { name, module, prefix }) => {
                let (uri, scheme, trace, subdomain) = (&uri, self.scheme, parsed.trace, self.subdomain(&authority));
                #[rustfmt::skip]
                let incoming = IncomingExchange {
                    method, uri, prefix, headers, scheme, authority, subdomain, trace, spill, body, drain,
                };
                let mut answered = exchange::answer(&self.backend, &self.settings, &module, incoming).await;
                if let (Some(cors), Ok(response)) = (&self.settings.cors, &mut answered)
                    && !cors.opens_components()
                {
                    response.extensions_mut().insert(OwnOrigin);
                }
                return answered.map_err(|problem| problem.with_module(&name));
            }
            Ok(RequestPlan::Respond(response)) => {
                body::discard(body, drain);
                return Ok(response);
            }
            Ok(RequestPlan::HostRoute(route)) => {
                let has_body = !body.is_end_stream();
                let body = HostBody::new(body, drain, self.settings.body_timeout, lease);
                let (peer, scheme, trace) = (self.peer, self.scheme, parsed.trace);
                let stopping = self.stopping.announced.clone();
                let subdomain = self.subdomain(&authority);
                let is_head = method == Method::HEAD;
                let preflight = (method == Method::OPTIONS).then(|| headers.clone());
                #[rustfmt::skip]
                let request = HostRequest {
                    method, uri, version, headers, has_body, authority, scheme, peer, body, trace, subdomain, stopping,
                };
                let mut response = route(request).await;
                if let Some(headers) = preflight {
                    planner.answer_preflight(&headers, &mut response);
                }
                return check_detach(response, version, has_body || is_head);
            }
            Err(problem) => {
                body::discard(body, drain);
                return Err(problem);
            }
        };
        let max = MaxBody::of(self.settings.max_body, self.backend.max_payload(&module));
        let without_body = lease.size();
        let payload = body::payload(body, &headers, max, self.settings.body_timeout, drain, lease).await;
        // From here on the body counts as the payload of the call, which has limits of its own.
        lease.shrink_to(without_body);
        let payload = payload.map_err(|problem| problem.with_module(&name))?;
        if parsed.hop_by_hop {
            strip_hop_by_hop(&mut headers);
        }
        let subdomain = self.subdomain(&authority);
        let head = Box::new(RequestHead { headers, path: uri.path().to_owned(), authority, peer: self.peer });
        let query = uri.query().unwrap_or_default().to_owned();
        let request = HttpRequest { method, query, payload, head, trace: parsed.trace, subdomain, spill };
        let replied = match self.backend.call(&module, matched, request).await {
            Ok(outcome) => reply::response(outcome.into_reply()),
            Err(error) => Err(call_problem(&self.backend, &module, error)),
        };
        replied.map_err(|problem| problem.with_module(&name))
    }

    fn subdomain(&self, authority: &str) -> Option<Arc<str>> {
        self.settings.domain.as_ref().and_then(|domain| subdomain(authority, domain))
    }
}

/// Whether a response must announce the end of its connection, because it takes over the socket and
/// does not say otherwise.
fn ends_with_its_socket(response: &HttpResponse) -> bool {
    matches!(response.body(), Content::Socket(_)) && !response.headers().contains_key(CONNECTION)
}

/// Rejects a response that takes over a socket which HTTP still needs, because the request has a
/// body, it is a `HEAD`, or the connection is HTTP/2. `is_head_or_has_body` concerns the request.
fn check_detach(
    response: HttpResponse,
    version: Version,
    is_head_or_has_body: bool,
) -> Result<HttpResponse, ProblemResponse> {
    let detaches = matches!(response.body(), Content::Socket(_));
    if detaches && is_head_or_has_body {
        return Err(ProblemResponse::bad_request("this route accepts neither `HEAD` nor a request body"));
    }
    if detaches && version >= Version::HTTP_2 {
        tracing::error!("a route of the host tried to take over the socket of an HTTP/2 connection");
        return Err(ProblemResponse::internal());
    }
    Ok(response)
}
