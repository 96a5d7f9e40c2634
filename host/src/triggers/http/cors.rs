//! The response headers for browsers on other origins (`http.cors`). They replace those of guests.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::{CorsConfig, CorsRoutes};
use crate::registry::Access;

/// The CORS rules of `fanfare.json`, with their header values built once.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// The allowed origins. `None` allows every origin.
    origins: Option<Vec<String>>,
    headers: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
    /// Whether only routes with the middleware `cors` are open.
    named: bool,
}

impl Cors {
    /// Returns `None` if no origin is configured. The host then sends no CORS headers, and browsers
    /// block scripts of other origins.
    pub(super) fn new(config: &CorsConfig) -> Option<Cors> {
        let any = config.origins.iter().any(|origin| origin == "*");
        (!config.origins.is_empty()).then(|| Cors {
            origins: (!any).then(|| config.origins.clone()),
            headers: HeaderValue::try_from(config.headers.join(", ")).ok().filter(|value| !value.is_empty()),
            credentials: config.credentials && !any,
            max_age: HeaderValue::from(config.max_age.as_secs()),
            named: config.routes == CorsRoutes::Named,
        })
    }

    /// Whether scripts of the allowed origins may call a route.
    pub(super) fn opens(&self, access: Access) -> bool {
        !self.named || access.names_cors()
    }

    /// Whether components that export `wasi:http` are open like routes.
    pub(super) fn opens_components(&self) -> bool {
        !self.named
    }

    /// Returns the value of `Access-Control-Allow-Origin`, or `None` if the request has no origin
    /// or its origin is not allowed.
    pub(super) fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(list) => list.iter().any(|one| one.as_bytes() == origin.as_bytes()).then(|| origin.clone()),
        }
    }

    /// Sets the CORS headers of a response, and removes those that the guest set.
    pub(super) fn apply(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
        headers.remove(ACCESS_CONTROL_ALLOW_ORIGIN);
        headers.remove(ACCESS_CONTROL_ALLOW_CREDENTIALS);
        if self.origins.is_some() {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = allowed {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            if self.credentials {
                headers.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            }
        }
    }

    /// Sets the headers that only the response to a preflight request has. Header names that the
    /// response allows already stay.
    pub(super) fn apply_preflight(&self, methods: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(names) = &self.headers {
            headers.append(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }
}
