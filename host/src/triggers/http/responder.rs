//! From a request to its answer: everything that a request costs besides hyper and the call.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONNECTION, LOCATION};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Uri, Version};
use hyper::body::{Body as _, Incoming};

use super::answer;
use super::backend::Backend;
use super::body::{self, MaxBody};
use super::content::{Answer, Content, HostRequest, HostRoute};
use super::index;
use super::lease::Lease;
use super::problem::{self, Problem};
use super::reply;
use super::request::{Facts, strip_hop_by_hop, subdomain};
use super::settings::Settings;
use super::stopping::Stopping;
use crate::call::{CallError, HttpRequest, MAX_PATH, METHODS, RequestHead, TriggerKind, bounds, panic_text};
use crate::registry::router::{Found, Matched};
use crate::registry::segment::decode_segment;

/// Answers the requests of one connection.
pub(super) struct Responder<B> {
    pub(super) settings: Arc<Settings>,
    pub(super) backend: B,
    pub(super) peer: SocketAddr,
    /// `http` or `https`, as the client connected.
    pub(super) scheme: &'static str,
    pub(super) stopping: Stopping,
}

/// The decision that is made before the body is read.
enum Plan<'a, M> {
    Call { name: Cow<'a, str>, module: M, matched: Matched },
    Host(HostRoute),
    Answer(Answer),
}

impl<B: Backend> Responder<B> {
    /// Answers a request in any case: a panic below fails this request only.
    pub(super) async fn answer(&self, request: Request<Incoming>, spill: bool, lease: &mut Lease) -> Answer {
        let (head, body) = request.into_parts();
        let (is_head, version) = (head.method == Method::HEAD, head.version);
        let facts = Facts::of(&head.headers);
        let trace = facts.trace;
        let cors = self.settings.cors.as_ref().map(|cors| (cors, cors.allows(&head.headers)));
        let answered = AssertUnwindSafe(self.run(head, facts, body, spill, lease)).catch_unwind().await;
        let answered = answered.unwrap_or_else(|panic| {
            tracing::error!(panic = panic_text(panic.as_ref()), %trace, "the host panicked while it answered a request");
            Err(Problem::internal())
        });
        let refuse = |problem: Problem| problem.traced(trace).into_response();
        let mut response = answered.unwrap_or_else(refuse);
        if let Err(problem) = answer::reserve(&response, lease) {
            response = refuse(problem);
        }
        if version >= Version::HTTP_2 {
            response.headers_mut().remove(CONNECTION);
        } else if response.status() != StatusCode::SWITCHING_PROTOCOLS
            && (lease.is_last() || matches!(response.body(), Content::Socket(_)))
        {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if let Some((cors, allowed)) = cors {
            cors.mark(allowed, response.headers_mut());
        }
        if is_head {
            reply::without_body(&mut response);
        }
        response
    }

    async fn run(
        &self,
        head: Parts,
        mut facts: Facts,
        body: Incoming,
        spill: bool,
        lease: &mut Lease,
    ) -> Result<Answer, Problem> {
        let Parts { method, uri, version, mut headers, .. } = head;
        let linger = version < Version::HTTP_2 && !facts.expects_continue;
        let Some(authority) = facts.take_authority(&uri, version) else {
            body::discard(body, linger);
            return Err(Problem::bad_request("a request has one `Host` header, neither none nor several"));
        };
        if let Some(coding) = facts.coding {
            body::discard(body, linger);
            return Err(Problem::unknown_coding(&coding));
        }
        let (name, module, matched) = match self.plan(&method, &uri, &headers, &authority) {
            Ok(Plan::Call { name, module, matched }) => (name, module, matched),
            Ok(Plan::Answer(response)) => {
                body::discard(body, linger);
                return Ok(response);
            }
            Ok(Plan::Host(route)) => {
                let has_body = !body.is_end_stream();
                body::discard(body, linger);
                let (peer, scheme, trace) = (self.peer, self.scheme, facts.trace);
                let ending = self.stopping.announced.clone();
                let is_head = method == Method::HEAD;
                let request = HostRequest { method, uri, version, headers, authority, scheme, peer, trace, ending };
                let response = route(request).await;
                return host_answer(response, version, has_body || is_head);
            }
            Err(problem) => {
                body::discard(body, linger);
                return Err(problem);
            }
        };
        let max = MaxBody::of(self.settings.max_body, self.backend.max_payload(&module));
        let without_body = lease.size();
        let payload = body::payload(body, &headers, max, self.settings.body_timeout, linger, lease).await;
        // From here on the call holds the body, within the limits of calls.
        lease.shrink_to(without_body);
        let payload = payload.map_err(|problem| problem.of(&name))?;
        if facts.hop_by_hop {
            strip_hop_by_hop(&mut headers);
        }
        let subdomain = self.settings.domain.as_ref().and_then(|domain| subdomain(&authority, domain));
        let head = Box::new(RequestHead { headers, path: uri.path().to_owned(), authority, peer: self.peer });
        let query = uri.query().unwrap_or_default().to_owned();
        let request = HttpRequest { method, query, payload, head, trace: facts.trace, subdomain, spill };
        let replied = match self.backend.call(&module, matched, request).await {
            Ok(outcome) => reply::response(outcome.into_reply()),
            Err(error) => Err(Problem::of_call(error)),
        };
        replied.map_err(|problem| problem.of(&name))
    }

    /// Finds the route, or answers a request that needs no route.
    fn plan<'a>(
        &self,
        method: &Method,
        uri: &'a Uri,
        headers: &HeaderMap,
        host: &str,
    ) -> Result<Plan<'a, B::Module>, Problem> {
        if headers.len() > self.settings.max_headers {
            return Err(Problem::many_headers(self.settings.max_headers));
        }
        let Some(rest) = uri.path().strip_prefix("/api/") else {
            return match self.backend.host_route(uri.path()) {
                Some(route) => Ok(Plan::Host(route)),
                None => self.elsewhere(method, uri, host).map(Plan::Answer),
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
            return Err(Problem::long_path(length).of(&name));
        }
        let found = self.backend.find(&module, method, path.unwrap_or_default());
        if path.is_none() {
            return Ok(Plan::Answer(redirect(uri)));
        }
        match found {
            Found::Route(matched) => match matched.access.admits(TriggerKind::Http) {
                Ok(()) => Ok(Plan::Call { name, module, matched }),
                Err(closed) => Err(Problem::forbidden(closed.to_string()).of(&name)),
            },
            Found::MethodNotAllowed(methods) if *method == Method::OPTIONS => {
                Ok(Plan::Answer(self.options(&methods, headers)))
            }
            Found::MethodNotAllowed(methods) => Err(Problem::method_not_allowed(method, &methods).of(&name)),
            Found::NotFound => {
                let detail = format!("the module has no route `{}`", path.unwrap_or_default());
                Err(Problem::not_found(detail).of(&name))
            }
            Found::BadPath => Err(bad_path(uri).of(&name)),
        }
    }

    /// Answers a request for a path that is not below `/api/`.
    fn elsewhere(&self, method: &Method, uri: &Uri, host: &str) -> Result<Answer, Problem> {
        match uri.path() {
            "/" if self.settings.index && matches!(*method, Method::GET | Method::HEAD) => {
                Ok(index::page(&self.backend.index(), self.scheme, host))
            }
            // `*` means the whole server (RFC 9112, 3.2.4).
            "*" if *method == Method::OPTIONS => Ok(no_content(problem::allow(&METHODS))),
            "*" => Err(Problem::bad_request(format!(
                "the target `*` is for OPTIONS only: send `{method}` to a path such as `/api/<module>/<path>`"
            ))),
            path => Err(Problem::not_found(format!("`{path}` is not served: routes are at `/api/<module>/<path>`"))),
        }
    }

    fn options(&self, methods: &[Method], headers: &HeaderMap) -> Answer {
        let allow = problem::allow(methods);
        let mut response = no_content(allow.clone());
        if let Some(cors) = &self.settings.cors
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
            && cors.allows(headers).is_some()
        {
            cors.preflight(allow, response.headers_mut());
        }
        response
    }
}

/// Rejects an answer that takes a socket which HTTP still needs. `has_more`: the request has a
/// body, or its answer has none.
fn host_answer(response: Answer, version: Version, has_more: bool) -> Result<Answer, Problem> {
    let takes = matches!(response.body(), Content::Socket(_));
    if takes && has_more {
        return Err(Problem::bad_request("this route wants another method, and no body"));
    }
    if takes && version >= Version::HTTP_2 {
        tracing::error!("a route of the host wanted the socket of an HTTP/2 connection");
        return Err(Problem::internal());
    }
    Ok(response)
}

fn no_content(allow: HeaderValue) -> Answer {
    let mut response = Answer::default();
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(ALLOW, allow);
    response
}

/// Redirects to the root of the module, where relative links work.
fn redirect(uri: &Uri) -> Answer {
    let mut response = Answer::default();
    *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    if let Ok(location) = HeaderValue::try_from(format!("{}/{query}", uri.path())) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

fn no_module(name: &str, error: CallError) -> Problem {
    match (name, error) {
        ("", _) => Problem::not_found("no module is named: routes are at `/api/<module>/<path>`"),
        (_, CallError::NotFound(why)) => Problem::not_found(format!("{why}: routes are at `/api/<module>/<path>`")),
        (name, error) => Problem::of_call(error).of(name),
    }
}

fn bad_path(uri: &Uri) -> Problem {
    let rule = "`%` is followed by two hexadecimal digits, and what they stand for is UTF-8";
    Problem::bad_request(format!("`{}` cannot be decoded: {rule}", uri.path()))
}
