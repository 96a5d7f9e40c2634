//! Answers a request: chooses the route, reads the body, runs the call, and builds the response.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONNECTION, CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::backend::Backend;
use super::body::{self, MaxBody};
use super::buffer_lease::BufferLease;
use super::content::{Content, HttpResponse, OwnOrigin};
use super::exchange::{self, IncomingExchange, call_problem};
use super::host_body::HostBody;
use super::host_response::{allow, options};
use super::host_route::{HostRequest, HostRoute};
use super::problem_response::ProblemResponse;
use super::reply;
use super::request::{ParsedHeaders, asks_for_websocket, has_token, strip_hop_by_hop, subdomain};
use super::response_body;
use super::settings::Settings;
use super::stopping::Stopping;
use crate::call::{CallError, HttpRequest, MAX_PATH, METHODS, RequestHead, TriggerKind, bounds, panic_text};
use crate::registry::router::{MatchedRoute, RouteLookup};
use crate::registry::segment::decode_segment;

/// The fix that errors about unknown paths and modules suggest.
const USE_API_PATH: &str = "use a path like `/api/<module>/<path>`";

/// Answers the requests of one connection.
pub(super) struct Responder<B> {
    pub(super) settings: Arc<Settings>,
    pub(super) backend: B,
    pub(super) peer: SocketAddr,
    /// `http` or `https`.
    pub(super) scheme: &'static str,
    pub(super) stopping: Stopping,
}

/// How to answer a request, decided before the host reads the body.
enum RequestPlan<'a, M> {
    Call {
        name: Cow<'a, str>,
        module: M,
        matched: MatchedRoute,
    },
    /// The module answers through `wasi:http`. It does not see the prefix of the path.
    Exchange {
        name: Cow<'a, str>,
        module: M,
        prefix: &'a str,
    },
    HostRoute(HostRoute),
    Respond(HttpResponse),
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
        let opens_socket = parsed.hop_by_hop && method == Method::GET && asks_for_websocket(&headers);
        let (name, module, matched) = match self.plan(&method, &uri, &headers, opens_socket, allowed) {
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
                    self.answer_preflight(&headers, &mut response);
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

    /// Finds the route, or answers the request if it needs none. `opens_socket` says that the
    /// client asks for a WebSocket.
    fn plan<'a>(
        &self,
        method: &Method,
        uri: &'a Uri,
        headers: &HeaderMap,
        opens_socket: bool,
        allowed: &mut Option<HeaderValue>,
    ) -> Result<RequestPlan<'a, B::Module>, ProblemResponse> {
        if headers.len() > self.settings.max_headers {
            return Err(ProblemResponse::too_many_headers(self.settings.max_headers));
        }
        let of_module = if self.backend.has_only_host_routes() { None } else { uri.path().strip_prefix("/api/") };
        let Some(rest) = of_module else {
            return match self.backend.host_route(uri.path()) {
                Some(route) => Ok(RequestPlan::HostRoute(route)),
                None => self.outside_api(method, uri, headers),
            };
        };
        let (name, path) = match rest.split_once('/') {
            Some((name, path)) => (name, Some(path)),
            None => (rest, None),
        };
        let name = match name.contains('%') {
            true => decode_segment(name).ok_or_else(|| bad_path(uri))?,
            false => Cow::Borrowed(name),
        };
        let module = self.backend.module(&name).map_err(|error| no_module(&name, error))?;
        let length = path.map_or(0, str::len);
        if length > MAX_PATH {
            bounds::PATH.count();
            return Err(ProblemResponse::path_too_long(length).with_module(&name));
        }
        if opens_socket && let Some(route) = path.and_then(|path| self.backend.socket(&module, path)) {
            return Ok(RequestPlan::HostRoute(route));
        }
        let found = self.backend.find(&module, method, path.unwrap_or_default());
        // Other methods have no relative links, and not every client sends a body again.
        if path.is_none() && matches!(*method, Method::GET | Method::HEAD) {
            return Ok(RequestPlan::Respond(redirect(uri)));
        }
        match found {
            RouteLookup::Route(matched) => {
                if self.settings.cors.as_ref().is_some_and(|cors| !cors.opens(matched.access)) {
                    *allowed = None;
                }
                match matched.access.admits(TriggerKind::Http) {
                    Ok(()) => Ok(RequestPlan::Call { name, module, matched }),
                    Err(closed) => Err(ProblemResponse::forbidden(closed.to_string()).with_module(&name)),
                }
            }
            _ if self.backend.has_exchange(&module) => {
                let prefix = path.map_or(uri.path(), |path| prefix_of(uri.path(), path));
                Ok(self.exchange_plan(name, module, prefix, method, headers))
            }
            RouteLookup::MethodNotAllowed(methods) if *method == Method::OPTIONS => {
                let wanted = headers.get(ACCESS_CONTROL_REQUEST_METHOD);
                let wanted = wanted.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
                let asked = wanted.map(|method| self.backend.find(&module, &method, path.unwrap_or_default()));
                if let (Some(cors), Some(RouteLookup::Route(route))) = (&self.settings.cors, asked)
                    && !cors.opens(route.access)
                {
                    *allowed = None;
                    return Ok(RequestPlan::Respond(options(allow(&methods))));
                }
                Ok(RequestPlan::Respond(self.options(&methods, headers)))
            }
            RouteLookup::MethodNotAllowed(methods) => {
                Err(ProblemResponse::method_not_allowed(method, &methods).with_module(&name))
            }
            RouteLookup::NotFound => {
                // A socket says what it needs.
                if let Some(route) = path.and_then(|path| self.backend.socket(&module, path)) {
                    return Ok(RequestPlan::HostRoute(route));
                }
                let detail = match path.unwrap_or_default() {
                    "" => format!("{name} has no route at its root, /api/{name}/"),
                    path => format!("{name} has no route `{path}`"),
                };
                Err(ProblemResponse::not_found(detail).with_module(&name))
            }
            RouteLookup::BadPath => Err(bad_path(uri).with_module(&name)),
        }
    }

    /// Lets a module answer a request, unless it is a preflight request that `http.cors` answers.
    fn exchange_plan<'a>(
        &self,
        name: Cow<'a, str>,
        module: B::Module,
        prefix: &'a str,
        method: &Method,
        headers: &HeaderMap,
    ) -> RequestPlan<'a, B::Module> {
        match self.answers_preflight(method, headers) {
            true => RequestPlan::Respond(self.options(&METHODS, headers)),
            false => RequestPlan::Exchange { name, module, prefix },
        }
    }

    /// Answers a request for a path outside `/api/`.
    fn outside_api<'a>(
        &self,
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<RequestPlan<'a, B::Module>, ProblemResponse> {
        match (uri.path(), &self.settings.mount) {
            // `*` means the whole server (RFC 9112, 3.2.4).
            ("*", _) if *method == Method::OPTIONS => Ok(RequestPlan::Respond(options(allow(&METHODS)))),
            ("*", _) => Err(ProblemResponse::bad_request(format!(
                "the target `*` is for OPTIONS only: send `{method}` to a path like `/api/<module>/<path>`"
            ))),
            (_, Some(name)) if !self.backend.has_only_host_routes() => {
                let module = self.backend.module(name).map_err(|error| no_module(name, error))?;
                match self.backend.is_mounted(&module) {
                    true => Ok(self.exchange_plan(Cow::Owned(name.clone()), module, "", method, headers)),
                    false => Err(no_path(uri.path())),
                }
            }
            (path, _) => Err(no_path(path)),
        }
    }

    fn subdomain(&self, authority: &str) -> Option<Arc<str>> {
        self.settings.domain.as_ref().and_then(|domain| subdomain(authority, domain))
    }

    fn options(&self, methods: &[Method], headers: &HeaderMap) -> HttpResponse {
        let mut response = options(allow(methods));
        self.answer_preflight(headers, &mut response);
        response
    }

    /// Whether the host answers this request with the rules of `http.cors` instead of a module.
    fn answers_preflight(&self, method: &Method, headers: &HeaderMap) -> bool {
        let allows = || {
            let cors = self.settings.cors.as_ref().filter(|cors| cors.opens_components());
            cors.is_some_and(|cors| cors.allowed_origin(headers).is_some())
        };
        *method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) && allows()
    }

    /// Adds what browsers ask for before they send a request of another origin, if `http.cors`
    /// allows it. `headers` are those of the `OPTIONS` request, and the response has `Allow`.
    fn answer_preflight(&self, headers: &HeaderMap, response: &mut HttpResponse) {
        if let Some(cors) = &self.settings.cors
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && cors.allowed_origin(headers).is_some()
            && response.extensions().get::<OwnOrigin>().is_none()
            && let Some(allow) = response.headers().get(ALLOW).cloned()
        {
            cors.apply_preflight(allow, response.headers_mut());
        }
    }
}

/// Returns what comes before `/<path>` in the whole path of a request.
fn prefix_of<'a>(whole: &'a str, path: &str) -> &'a str {
    whole.strip_suffix(path).and_then(|prefix| prefix.strip_suffix('/')).unwrap_or_default()
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

/// Redirects to the root of the module, where relative links work.
fn redirect(uri: &Uri) -> HttpResponse {
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", uri.path());
    let mut response = HttpResponse::new(format!("the module's root is {location}\n").into());
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn no_path(path: &str) -> ProblemResponse {
    ProblemResponse::not_found(format!("the path `{path}` does not exist: {USE_API_PATH}"))
}

fn no_module(name: &str, error: CallError) -> ProblemResponse {
    match (name, error) {
        ("", _) => ProblemResponse::not_found(format!("the path names no module: {USE_API_PATH}")),
        (_, CallError::NotFound(why)) => ProblemResponse::not_found(format!("{why}: {USE_API_PATH}")),
        (name, error) => ProblemResponse::of_call(error).with_module(name),
    }
}

fn bad_path(uri: &Uri) -> ProblemResponse {
    let fix = "write `%` only before two hexadecimal digits, and encode text as UTF-8";
    ProblemResponse::bad_request(format!("cannot decode the path `{}`: {fix}", uri.path()))
}
