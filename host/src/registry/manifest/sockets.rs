//! The WebSockets that a module declares: patterns of paths, and the routes that receive messages.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::call::RouteName;
use crate::config::formats::{ModuleName, RouteRef, SubProtocol};
use crate::registry::segment::{Segment, decode_segment};

/// The most sockets of a module.
pub const MOST: usize = 64;

/// The most sub-protocols of a socket.
const MOST_PROTOCOLS: usize = 16;

/// The sockets of a checked manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sockets {
    by_pattern: BTreeMap<String, Socket>,
    /// The patterns, so that the first one that matches is the best.
    order: Vec<String>,
}

/// A socket in a checked manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    pub path: Vec<Segment>,
    pub route: SocketRoute,
    /// The sub-protocols that it accepts.
    pub protocols: Vec<String>,
    /// The largest message of a client in bytes, if it is less than `websocket.maxMessage`.
    pub max_message: Option<u64>,
}

/// The route that receives the messages of a socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SocketRoute {
    /// One of this module, by its index in `routes`.
    Own(usize),
    /// One of another module, which may be on other nodes only. The name has the module.
    Other(RouteName),
}

impl SocketRoute {
    /// The index of a route of this module.
    pub fn own(&self) -> Option<usize> {
        match self {
            SocketRoute::Own(index) => Some(*index),
            SocketRoute::Other(_) => None,
        }
    }

    /// The name of a route of another module.
    pub fn other(&self) -> Option<&RouteName> {
        match self {
            SocketRoute::Own(_) => None,
            SocketRoute::Other(name) => Some(name),
        }
    }
}

/// A socket whose pattern matches a path.
#[derive(Debug, PartialEq, Eq)]
pub struct MatchedSocket<'a> {
    pub pattern: &'a str,
    pub socket: &'a Socket,
    /// The name and value of each parameter, in the order of the path.
    pub params: Vec<(String, String)>,
}

impl Sockets {
    pub fn new(by_pattern: BTreeMap<String, Socket>) -> Sockets {
        // As in a router, a literal beats a parameter, segment by segment from the left.
        let rank = |socket: &Socket| -> Vec<bool> {
            socket.path.iter().map(|segment| matches!(segment, Segment::Param(_))).collect()
        };
        let mut order: Vec<_> = by_pattern.iter().map(|(pattern, socket)| (rank(socket), pattern.clone())).collect();
        order.sort();
        Sockets { order: order.into_iter().map(|(_, pattern)| pattern).collect(), by_pattern }
    }

    pub fn is_empty(&self) -> bool {
        self.by_pattern.is_empty()
    }

    /// The patterns and their sockets, sorted by pattern.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Socket)> {
        self.by_pattern.iter().map(|(pattern, socket)| (pattern.as_str(), socket))
    }

    /// Returns the socket with this pattern.
    pub fn get(&self, pattern: &str) -> Option<&Socket> {
        self.by_pattern.get(pattern)
    }

    /// Finds the socket of a request. `path` is the part after `/api/<module>/`, as the client sent
    /// it.
    pub fn find(&self, path: &str) -> Option<MatchedSocket<'_>> {
        let parts = || path.split('/').filter(|_| !path.is_empty());
        let segments: Vec<Cow<'_, str>> = parts().map(decode_segment).collect::<Option<_>>()?;
        self.order.iter().find_map(|pattern| {
            let (pattern, socket) = self.by_pattern.get_key_value(pattern)?;
            Some(MatchedSocket { pattern, socket, params: params(&socket.path, &segments)? })
        })
    }
}

/// The values of the parameters, if the path matches.
fn params(pattern: &[Segment], path: &[Cow<'_, str>]) -> Option<Vec<(String, String)>> {
    if pattern.len() != path.len() {
        return None;
    }
    let mut params = Vec::new();
    for (segment, part) in pattern.iter().zip(path) {
        match segment {
            Segment::Literal(text) if text == part => {}
            Segment::Param(name) if !part.is_empty() => params.push((name.clone(), part.clone().into_owned())),
            _ => return None,
        }
    }
    Some(params)
}

/// A WebSocket: the route that receives the messages of its clients.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(rename = "Socket")]
#[expect(dead_code, reason = "the schema needs every field; the checks read some from the tree")]
pub struct RawSocket {
    /// The module of the route. A node that does not have the module sends the messages to one that
    /// does, as `cluster.routers` of `fanfare.json` says. Default this module.
    #[serde(default)]
    #[schemars(with = "Option<ModuleName>")]
    pub module: Option<String>,
    /// The route that receives each message of a client, as `[METHOD ]path`. Without a method it is
    /// the `post` route with that path, or else the only route with that path. It has the
    /// middleware `session`. A reply with a payload is one message to the client. Required.
    #[schemars(with = "RouteRef")]
    pub path: String,
    /// The sub-protocols that the socket accepts, at most 16. The host chooses the first one of the
    /// client that is in the list. Default none.
    #[serde(default)]
    #[schemars(with = "Vec<SubProtocol>", extend("maxItems" = MOST_PROTOCOLS))]
    pub protocols: Vec<String>,
    /// The largest message of a client in bytes, if it is less than `websocket.maxMessage` of
    /// `fanfare.json`. Default `websocket.maxMessage`.
    #[serde(default, with = "crate::document::units::optional_size")]
    #[schemars(with = "Option<crate::document::units::Size>", extend("minimum" = 1))]
    pub max_message: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::registry::manifest::{Manifest, ManifestError};

    fn load(sockets: &str) -> Result<Manifest, ManifestError> {
        let routes = r#"[{ "path": "live/message", "handler": "a", "middlewares": "session" },
            { "path": "open", "handler": "b" },
            { "path": "", "handler": "c", "middlewares": "session" }]"#;
        let text = format!(r#"{{ "component": "a.wasm", "routes": {routes}, "sockets": {sockets} }}"#);
        Manifest::from_text(Path::new("/modules/chat"), &text)
    }

    fn faults(sockets: &str) -> Vec<String> {
        let faults = load(sockets).unwrap_err().faults;
        faults.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect()
    }

    #[test]
    fn a_literal_segment_beats_a_parameter() {
        let sockets = r#"{ "live/{room}": { "path": "live/message" }, "live/main": { "path": "" },
            "{any}/main": { "path": "" }, "": { "path": "" } }"#;
        let manifest = load(sockets).unwrap();
        let find = |path| {
            let found = manifest.sockets.find(path)?;
            Some((found.pattern.to_owned(), found.socket.route.own()?, found.params))
        };
        let params = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        assert_eq!(find("live/main"), Some(("live/main".into(), 2, vec![])));
        assert_eq!(find("live/a%2Fb"), Some(("live/{room}".into(), 0, params("room", "a/b"))));
        assert_eq!(find("b/main"), Some(("{any}/main".into(), 2, params("any", "b"))));
        assert_eq!(find(""), Some((String::new(), 2, vec![])));
        for other in ["live", "live/", "live/a/b", "live/%", "live/main/"] {
            assert_eq!(find(other), None, "{other}");
        }
    }

    #[test]
    fn a_socket_has_sub_protocols_and_a_largest_message() {
        let manifest = load(r#"{ "a": { "path": "", "protocols": ["v2", "v1"], "maxMessage": "1KiB" } }"#).unwrap();
        let socket = manifest.sockets.get("a").unwrap();
        assert_eq!(
            (socket.protocols.as_slice(), socket.max_message),
            (["v2", "v1"].map(str::to_owned).as_slice(), Some(1024))
        );
        assert_eq!(load(r#"{ "a": { "path": "" } }"#).unwrap().sockets.get("a").unwrap().max_message, None);
    }

    #[test]
    fn a_socket_may_name_a_route_of_another_module() {
        let route = |entry: &str| {
            let manifest = load(&format!(r#"{{ "a": {entry} }}"#)).unwrap();
            let route = &manifest.sockets.get("a").unwrap().route;
            (route.own(), route.other().map(ToString::to_string))
        };
        assert_eq!(route(r#"{ "module": "chat", "path": "live/message" }"#), (Some(0), None));
        let other = |name: &str| (None, Some(name.to_owned()));
        assert_eq!(route(r#"{ "module": "game", "path": "open" }"#), other("game/open"));
        assert_eq!(route(r#"{ "module": "game", "path": "get room/{id}" }"#), other("GET game/room/{id}"));
        assert_eq!(route(r#"{ "module": "game", "path": "" }"#), other("game/"));
        for entry in
            [r#"{ "module": "Game", "path": "" }"#, r#"{ "module": "game" }"#, r#"{ "module": 1, "path": "" }"#]
        {
            assert_eq!(faults(&format!(r#"{{ "a": {entry} }}"#)).len(), 1, "{entry}");
        }
        for path in ["/a", "a//b", "HEAD a", "a?b"] {
            let told = faults(&format!(r#"{{ "a": {{ "module": "game", "path": "{path}" }} }}"#));
            assert!(told[0].starts_with("sockets.a.path: "), "{told:?}");
        }
    }

    #[test]
    fn a_socket_with_a_fault_is_rejected_with_its_place() {
        assert_eq!(
            faults(r#"{ "a": { "path": "open" } }"#),
            ["sockets.a.path: must be a route with the middleware `session`: no message of a client reaches another"]
        );
        assert_eq!(
            faults(r#"{ "a": { "path": "opne" } }"#),
            ["sockets.a.path: must be the path of a route of this module; did you mean \"open\"?"]
        );
        assert_eq!(
            faults(r#"{ "/a": { "path": "" } }"#),
            ["sockets./a: the pattern must have no slash at its ends, found \"/a\""]
        );
        assert_eq!(
            faults(r#"{ "a/{b}": { "path": "" }, "a/{c}": { "path": "" } }"#),
            ["sockets[\"a/{c}\"]: matches the same paths as \"a/{b}\": change one of the patterns"]
        );
        assert_eq!(faults(r#"{ "a": { "path": "", "protocols": ["a b"] } }"#).len(), 1);
        assert_eq!(faults(r#"{ "a": { "path": "", "maxMessage": 0 } }"#).len(), 1);
        assert_eq!(faults(r#"{ "a": {} }"#).len(), 1);
        assert_eq!(faults("[]"), ["sockets: must be an object, found an array"]);
    }

    #[test]
    fn the_number_of_sockets_and_of_their_sub_protocols_is_bounded() {
        let sockets = |count: usize| {
            let names: Vec<String> = (0..count).map(|index| format!(r#""s/{index}": {{ "path": "" }}"#)).collect();
            format!("{{{}}}", names.join(","))
        };
        assert!(load(&sockets(64)).is_ok());
        assert!(faults(&sockets(65))[0].contains("sockets: must have at most 64 entries"));
        let protocols = |count: usize| {
            let names: Vec<String> = (0..count).map(|index| format!(r#""v{index}""#)).collect();
            format!(r#"{{ "a": {{ "path": "", "protocols": [{}] }} }}"#, names.join(","))
        };
        assert!(load(&protocols(16)).is_ok());
        assert_eq!(faults(&protocols(17)).len(), 1);
    }
}
