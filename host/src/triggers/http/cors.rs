//! The headers for browsers on other origins (`http.cors`). Guests cannot set them.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_MAX_AGE, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue};

use crate::config::CorsConfig;

/// The rules, ready to be written into headers.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    /// `None`: every origin.
    origins: Option<Vec<String>>,
    headers: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

impl Cors {
    /// Returns `None` without origins: the host then sends no headers, and browsers allow nothing.
    pub(super) fn new(config: &CorsConfig) -> Option<Cors> {
        let any = config.origins.iter().any(|origin| origin == "*");
        (!config.origins.is_empty()).then(|| Cors {
            origins: (!any).then(|| config.origins.clone()),
            headers: HeaderValue::try_from(config.headers.join(", ")).ok().filter(|value| !value.is_empty()),
            credentials: config.credentials && !any,
            max_age: HeaderValue::from(config.max_age.as_secs()),
        })
    }

    /// Returns the origin to allow in the answer, or `None` when the request's is not allowed.
    pub(super) fn allows(&self, request: &HeaderMap) -> Option<HeaderValue> {
        let origin = request.get(ORIGIN)?;
        match &self.origins {
            None => Some(HeaderValue::from_static("*")),
            Some(list) => list.iter().any(|one| one.as_bytes() == origin.as_bytes()).then(|| origin.clone()),
        }
    }

    /// Sets the headers of an answer, in place of those that the guest set.
    pub(super) fn mark(&self, allowed: Option<HeaderValue>, headers: &mut HeaderMap) {
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

    /// Sets the headers that only the answer to a preflight request has.
    pub(super) fn preflight(&self, methods: HeaderValue, headers: &mut HeaderMap) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
        if let Some(names) = &self.headers {
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
        }
        headers.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
    }
}
