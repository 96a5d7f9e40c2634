//! Decides how to answer a request: finds its route, or the answer if it needs none.

use std::borrow::Cow;

use http::header::{ACCESS_CONTROL_REQUEST_METHOD, ALLOW, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};

use super::backend::Backend;
use super::content::{HttpResponse, OwnOrigin};
use super::host_response::{allow, options};
use super::host_route::HostRoute;
use super::problem_response::ProblemResponse;
use super::settings::Settings;
use crate::call::{CallError, MAX_PATH, METHODS, TriggerKind, bounds};
use crate::registry::router::{MatchedRoute, RouteLookup};
use crate::registry::segment::decode_segment;

/// The fix that errors about unknown paths and modules suggest.
const USE_API_PATH: &str = "use a path like `/api/<module>/<path>`";

/// How to answer a request, decided before the host reads the body.
pub(super) enum RequestPlan<'a, M> {
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

/// Decides how the requests of a connection are answered.
pub(super) struct Planner<'a, B> {
    pub settings: &'a Settings,
    pub backend: &'a B,
}

impl<B: Backend> Planner<'_, B> {
    /// Finds the route, or answers the request if it needs none. `opens_socket` says that the
    /// client asks for a WebSocket.
    pub(super) fn plan<'a>(
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
    pub(super) fn answer_preflight(&self, headers: &HeaderMap, response: &mut HttpResponse) {
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
