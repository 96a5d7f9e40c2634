//! The part of a manifest that the host in memory reads, and how a path finds its route.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use crate::failure::CallError;
use crate::types::Method;

#[derive(Default, Deserialize)]
pub(super) struct Manifest {
    #[serde(default)]
    pub routes: Vec<Route>,
    #[serde(default)]
    pub broadcasts: BTreeMap<String, Target>,
    #[serde(default)]
    pub startups: BTreeMap<String, Target>,
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct Target {
    pub path: String,
}

#[derive(Clone, Deserialize)]
pub(super) struct Route {
    /// In any case; `None` in a route that takes every method.
    #[serde(default = "post")]
    pub method: Option<String>,
    pub path: String,
    pub handler: String,
    #[serde(default, deserialize_with = "one_or_many")]
    pub middlewares: Vec<String>,
}

/// Accepts one name in place of a list.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}

#[allow(clippy::unnecessary_wraps)]
fn post() -> Option<String> {
    Some("post".to_owned())
}

/// A route as a caller writes it: `[METHOD ]path[?query]`.
pub(super) struct Wanted<'a> {
    pub method: Option<&'a str>,
    pub path: &'a str,
    pub query: &'a str,
}

impl<'a> Wanted<'a> {
    pub fn parse(text: &'a str) -> Self {
        let (method, rest) = match text.split_once(' ') {
            Some((method, rest)) => (Some(method), rest),
            None => (None, text),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Wanted { method, path, query }
    }
}

pub(super) struct Found {
    pub handler: String,
    pub inner: bool,
    pub method: Method,
    pub params: Vec<(String, String)>,
}

impl Manifest {
    /// The route for a path. A literal segment beats a `{name}`; without a method it is `POST`, else the only one.
    pub fn find(&self, wanted: &Wanted) -> Result<Found, CallError> {
        let segments: Vec<String> = wanted.path.split('/').map(decode).collect();
        let mut fitting: Vec<(&Route, Vec<(String, String)>)> =
            self.routes.iter().filter_map(|route| Some((route, fit(&route.path, &segments)?))).collect();
        // Fewest parameters first, then those that begin latest: literals win from the left.
        fitting.sort_by_key(|(route, params)| (params.len(), !route.path.find('{').unwrap_or(usize::MAX)));
        let has =
            |route: &Route, method: &str| route.method.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(method));
        let shape = fitting.first().map(|(route, _)| shape(&route.path));
        fitting.retain(|(route, _)| Some(self::shape(&route.path)) == shape);
        let place = match wanted.method {
            Some(method) => fitting.iter().position(|(route, _)| has(route, method)),
            None if fitting.len() == 1 => Some(0),
            None => fitting.iter().position(|(route, _)| has(route, "post")),
        };
        let Some(place) = place else {
            let method = wanted.method.unwrap_or("POST");
            return Err(CallError::NotFound(format!("the module has no route `{method} {}`", wanted.path)));
        };
        let (route, params) = fitting.swap_remove(place);
        let method = wanted.method.or(route.method.as_deref()).unwrap_or("post");
        Ok(Found {
            handler: route.handler.clone(),
            inner: route.middlewares.iter().any(|name| name == "inner"),
            method: method_of(method),
            params,
        })
    }
}

fn shape(path: &str) -> Vec<Option<&str>> {
    path.split('/').map(|segment| (!segment.starts_with('{')).then_some(segment)).collect()
}

fn fit(path: &str, segments: &[String]) -> Option<Vec<(String, String)>> {
    let parts: Vec<&str> = path.split('/').collect();
    if parts.len() != segments.len() {
        return None;
    }
    let mut params = Vec::new();
    for (part, segment) in parts.into_iter().zip(segments) {
        match part.strip_prefix('{').and_then(|part| part.strip_suffix('}')) {
            Some(_) if segment.is_empty() => return None,
            Some(name) => params.push((name.to_owned(), segment.clone())),
            None if part == segment => {}
            None => return None,
        }
    }
    Some(params)
}

fn decode(segment: &str) -> String {
    // Only the escapes: in a path, `+` is a plus.
    crate::params::decode(&segment.replace('+', "%2B"))
}

fn method_of(name: &str) -> Method {
    match name.to_ascii_lowercase().as_str() {
        "get" | "head" => Method::Get,
        "post" => Method::Post,
        "put" => Method::Put,
        "patch" => Method::Patch,
        "delete" => Method::Delete,
        _ => Method::Other(name.to_ascii_uppercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(routes: &[(&str, &str)]) -> Manifest {
        let routes = routes.iter().map(|(method, path)| Route {
            method: Some((*method).to_owned()),
            path: (*path).to_owned(),
            handler: format!("{method} {path}"),
            middlewares: Vec::new(),
        });
        Manifest { routes: routes.collect(), ..Manifest::default() }
    }

    fn find(manifest: &Manifest, route: &str) -> String {
        match manifest.find(&Wanted::parse(route)) {
            Ok(found) => format!("{} {:?}", found.handler, found.params),
            Err(error) => error.kind().to_owned(),
        }
    }

    #[test]
    fn a_literal_beats_a_parameter_and_the_method_may_be_left_out() {
        let manifest =
            manifest(&[("get", ""), ("get", "{a}"), ("post", "{a}"), ("get", "x"), ("get", "{a}/y"), ("get", "x/{b}")]);
        assert_eq!(find(&manifest, "GET "), "get  []");
        assert_eq!(find(&manifest, "GET x"), "get x []");
        assert_eq!(find(&manifest, "x"), "get x []");
        assert_eq!(find(&manifest, "a%2Fb+c"), r#"post {a} [("a", "a/b+c")]"#);
        assert_eq!(find(&manifest, "x/y"), r#"get x/{b} [("b", "y")]"#);
        assert_eq!(find(&manifest, "POST x"), "not-found");
        assert_eq!(find(&manifest, "nowhere/at/all"), "not-found");
    }
}
