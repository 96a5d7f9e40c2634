//! The part of a manifest that the in-memory host reads, and how it finds the route of a path.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::chain::is_built_in;
use super::channel_entry::ChannelEntry;
use super::clients::SocketMatch;
use super::events::SubscriptionEntry;
use super::schedules::ScheduleEntry;
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
    pub streams: BTreeMap<String, StreamTarget>,
    #[serde(default)]
    pub channels: BTreeMap<String, ChannelEntry>,
    #[serde(default)]
    pub schedules: BTreeMap<String, ScheduleEntry>,
    #[serde(default)]
    pub subscriptions: BTreeMap<String, SubscriptionEntry>,
    #[serde(default)]
    pub sockets: BTreeMap<String, SocketTarget>,
    #[serde(default)]
    pub hooks: BTreeMap<String, Target>,
    #[serde(default)]
    pub filters: Filters,
    #[serde(default)]
    pub config: serde_json::Map<String, serde_json::Value>,
}

#[derive(Deserialize)]
pub(super) struct Target {
    pub path: String,
    /// Of a broadcast, `durable` if a stream keeps it.
    #[serde(default)]
    pub delivery: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct SocketTarget {
    /// Empty for the module itself.
    #[serde(default)]
    pub module: String,
    pub path: String,
}

/// The routes around the routes of clients' messages.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Filters {
    pub before: Vec<String>,
    pub after: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct StreamTarget {
    pub path: Option<String>,
}

#[derive(Clone, Deserialize)]
pub(super) struct Route {
    /// In upper or lower case. `None` in a route that accepts every method.
    #[serde(default = "post")]
    pub method: Option<String>,
    pub path: String,
    pub handler: String,
    #[serde(default, deserialize_with = "one_or_many")]
    pub middlewares: Vec<String>,
}

impl Route {
    /// The middlewares that are routes, in their order.
    pub fn chain(&self) -> impl Iterator<Item = &str> {
        self.middlewares.iter().map(String::as_str).filter(|name| !is_built_in(name))
    }
}

/// Accepts a single name instead of a list.
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
pub(super) struct RouteRequest<'a> {
    pub method: Option<&'a str>,
    pub path: &'a str,
    pub query: &'a str,
}

impl<'a> RouteRequest<'a> {
    pub fn parse(text: &'a str) -> Self {
        let (method, rest) = match text.split_once(' ') {
            Some((method, rest)) => (Some(method), rest),
            None => (None, text),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        RouteRequest { method, path, query }
    }
}

/// The route that a request resolves to, with its parameters.
pub(super) struct MatchedRoute {
    pub handler: String,
    pub inner: bool,
    pub session: bool,
    /// The middlewares that are routes, as the manifest writes them.
    pub chain: Vec<String>,
    /// The method and the path, as the manifest writes the path.
    pub text: String,
    pub method: Method,
    pub params: Vec<(String, String)>,
}

impl Manifest {
    /// Returns the route that admits readers of a key: that of the key itself, or else of the
    /// longest prefix.
    pub fn admitting_route(&self, key: &str) -> Option<&str> {
        best(&self.streams, key)?.path.as_deref()
    }

    /// Returns the entry of a channel: that of the channel itself, or else of the longest prefix.
    pub fn channel(&self, name: &str) -> Option<&ChannelEntry> {
        best(&self.channels, name)
    }

    /// Finds the socket of a path. A literal segment wins over a `{name}`.
    pub fn socket(&self, path: &str) -> Result<SocketMatch, CallError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let segments: Vec<String> = path.split('/').map(decode).collect();
        let matching = self.sockets.iter().filter_map(|(pattern, target)| {
            let params = match_path(pattern, &segments)?;
            let SocketTarget { module, path } = target.clone();
            Some(SocketMatch { pattern: pattern.clone(), module, route: path, params, query: query.to_owned() })
        });
        let best = matching.min_by_key(|found| shape(&found.pattern).iter().map(Option::is_none).collect::<Vec<_>>());
        best.ok_or_else(|| CallError::NotFound(format!("the module has no socket `{path}`")))
    }

    /// Finds the route of a path. A literal segment wins over a `{name}`. Without a method it
    /// selects `POST`, or the only method that the path has.
    pub fn find(&self, request: &RouteRequest) -> Result<MatchedRoute, CallError> {
        let segments: Vec<String> = request.path.split('/').map(decode).collect();
        let mut matching: Vec<(&Route, Vec<(String, String)>)> =
            self.routes.iter().filter_map(|route| Some((route, match_path(&route.path, &segments)?))).collect();
        // Fewest parameters first, then the latest first parameter: literals win from the left.
        matching.sort_by_key(|(route, params)| (params.len(), !route.path.find('{').unwrap_or(usize::MAX)));
        let has =
            |route: &Route, method: &str| route.method.as_deref().is_none_or(|own| own.eq_ignore_ascii_case(method));
        let shape = matching.first().map(|(route, _)| shape(&route.path));
        matching.retain(|(route, _)| Some(self::shape(&route.path)) == shape);
        let index = match request.method {
            Some(method) => matching.iter().position(|(route, _)| has(route, method)),
            None if matching.len() == 1 => Some(0),
            None => matching.iter().position(|(route, _)| has(route, "post")),
        };
        let Some(index) = index else {
            let method = request.method.unwrap_or("POST");
            return Err(CallError::NotFound(format!("the module has no route `{method} {}`", request.path)));
        };
        let (route, params) = matching.swap_remove(index);
        let method = request.method.or(route.method.as_deref()).unwrap_or("post");
        Ok(MatchedRoute {
            handler: route.handler.clone(),
            inner: route.middlewares.iter().any(|name| name == "inner"),
            session: route.middlewares.iter().any(|name| name == "session"),
            chain: route.chain().map(str::to_owned).collect(),
            text: format!("{} {}", method.to_ascii_uppercase(), route.path),
            method: method_of(method),
            params,
        })
    }
}

/// The value for a name: its own, or that of the pattern `prefix/*` with the longest prefix.
fn best<'a, T>(patterns: &'a BTreeMap<String, T>, name: &str) -> Option<&'a T> {
    let by_prefix = || {
        let mut prefixes = name.match_indices('/').rev().map(|(at, _)| format!("{}*", &name[..=at]));
        prefixes.find_map(|pattern| patterns.get(&pattern))
    };
    patterns.get(name).or_else(by_prefix)
}

fn shape(path: &str) -> Vec<Option<&str>> {
    path.split('/').map(|segment| (!segment.starts_with('{')).then_some(segment)).collect()
}

fn match_path(path: &str, segments: &[String]) -> Option<Vec<(String, String)>> {
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
    // In a path `+` is a plus, so decode the percent escapes only.
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
        match manifest.find(&RouteRequest::parse(route)) {
            Ok(route) => format!("{} {:?}", route.handler, route.params),
            Err(error) => error.kind().to_owned(),
        }
    }

    #[test]
    fn a_literal_segment_wins_and_the_method_is_optional() {
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
