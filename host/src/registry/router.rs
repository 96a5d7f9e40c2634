//! Finds the route of a module that serves a method and a path.
//!
//! The router splits a path on `/` and then percent-decodes each segment, so that `%2F` stays
//! inside its segment. It does not normalise paths: `.` and `..` are ordinary segments, and an
//! empty segment matches no route. A literal beats a `{param}`, segment by segment from the left.
//! When the best path has no route with the method, the router tries the next one.
//!
//! Every match clones the route's `Arc`. So build one router per isolate, with its own `Arc`s, so
//! that workers do not share reference counters.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::access::Access;
use super::segment::{Segment, decode_segment};
use crate::call::{self, MAX_SEGMENTS, bounds};

/// A route to add to a router.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    pub method: Method,
    /// Empty for the root of the module.
    pub path: Vec<Segment>,
    pub route: Arc<call::Route>,
    pub access: Access,
}

/// The result of a lookup.
#[derive(Debug)]
pub enum RouteLookup {
    Route(MatchedRoute),
    /// The path has routes, but only with these methods, sorted by name and without duplicates.
    MethodNotAllowed(Vec<Method>),
    NotFound,
    /// A malformed percent escape, or segments that are not UTF-8.
    BadPath,
}

/// A route and the values of its parameters.
#[derive(Debug)]
pub struct MatchedRoute {
    pub route: Arc<call::Route>,
    pub access: Access,
    /// The name and value of each parameter, in the order of the path.
    pub params: Vec<(String, String)>,
}

/// The routes of one generation.
#[derive(Debug, Default)]
pub struct Router {
    /// The routes whose path has no parameters, by the text of the path. Most requests need only
    /// this map.
    literal: HashMap<String, Vec<Leaf>>,
    root: Node,
}

/// A node of the tree: the segments that may follow one prefix.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    param: Option<Box<Node>>,
    leaves: Vec<Leaf>,
}

/// A route at the end of its path.
#[derive(Debug, Clone)]
struct Leaf {
    method: Method,
    route: Arc<call::Route>,
    access: Access,
    /// The names of the parameters, in the order of the path.
    names: Vec<String>,
}

impl Router {
    /// Builds a router. Of two routes with the same method and shape the first one counts. A route
    /// with more than [`MAX_SEGMENTS`] is left out, because the tree would become as deep. A
    /// manifest with either is rejected before.
    pub fn new(routes: impl Iterator<Item = RouteSpec>) -> Router {
        let mut router = Router::default();
        for spec in routes.filter(|spec| spec.path.len() <= MAX_SEGMENTS) {
            router.add(spec);
        }
        router
    }

    fn add(&mut self, spec: RouteSpec) {
        let RouteSpec { method, path, route, access } = spec;
        let text = literal_text(&path);
        let mut names = Vec::new();
        let mut node = &mut self.root;
        for segment in path {
            node = match segment {
                Segment::Literal(text) => node.literals.entry(text).or_default(),
                Segment::Param(name) => {
                    names.push(name);
                    node.param.get_or_insert_default()
                }
            };
        }
        let leaf = Leaf { method, route, access, names };
        if let Some(text) = text {
            self.literal.entry(text).or_default().push(leaf.clone());
        }
        node.leaves.push(leaf);
    }

    /// Finds the route of a request from outside. `path` is the part after `/api/<module>/`, as the
    /// client sent it. `HEAD` finds a `GET` route.
    pub fn find(&self, method: &Method, path: &str) -> RouteLookup {
        // Most paths are literal and need no decoding. The tree decodes the segments of all others.
        if let Some(leaves) = self.literal.get(path)
            && let Some(leaf) = leaves.iter().find(|leaf| serves(&leaf.method, method))
        {
            return leaf.matched(&[]);
        }
        self.walk(path, |paths| paths.iter().position(|path| serves(&path.leaf.method, method)))
    }

    /// Finds the route of a call from inside. Without a method it finds the `POST` route, or else
    /// the only route.
    pub fn find_inside(&self, method: Option<&Method>, path: &str) -> RouteLookup {
        if let Some(method) = method {
            return self.find(method, path);
        }
        self.walk(path, |paths| {
            let post = paths.iter().position(|path| path.leaf.method == Method::POST);
            post.or_else(|| {
                let first = paths.first()?;
                paths.iter().all(|path| path.leaf.method == first.leaf.method).then_some(0)
            })
        })
    }

    /// Collects all routes whose path matches, best first, and lets `choose` pick one.
    fn walk(&self, path: &str, choose: impl FnOnce(&[MatchedPath<'_>]) -> Option<usize>) -> RouteLookup {
        let Some(segments) = decode(path) else {
            return RouteLookup::BadPath;
        };
        if segments.len() > MAX_SEGMENTS {
            bounds::PATH.count();
            return RouteLookup::NotFound;
        }
        let mut paths = Vec::new();
        self.root.collect(&segments, &mut Vec::new(), &mut paths);
        if paths.is_empty() {
            return RouteLookup::NotFound;
        }
        match choose(&paths).and_then(|index| paths.get(index)) {
            Some(path) => path.leaf.matched(&path.values),
            None => {
                let mut methods: Vec<Method> = paths.iter().map(|path| path.leaf.method.clone()).collect();
                methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
                methods.dedup();
                RouteLookup::MethodNotAllowed(methods)
            }
        }
    }
}

/// A route whose path matches, and the segments that its parameters match.
struct MatchedPath<'a> {
    leaf: &'a Leaf,
    values: Vec<&'a str>,
}

impl Node {
    /// Adds all matches below this node, best first. It visits every node at most once, so the
    /// number of routes bounds the cost, and [`MAX_SEGMENTS`] bounds the depth.
    fn collect<'a>(&'a self, segments: &'a [Cow<'_, str>], values: &mut Vec<&'a str>, into: &mut Vec<MatchedPath<'a>>) {
        let Some((segment, rest)) = segments.split_first() else {
            into.extend(self.leaves.iter().map(|leaf| MatchedPath { leaf, values: values.clone() }));
            return;
        };
        if segment.is_empty() {
            return;
        }
        if let Some(node) = self.literals.get(segment.as_ref()) {
            node.collect(rest, values, into);
        }
        if let Some(node) = &self.param {
            values.push(segment);
            node.collect(rest, values, into);
            values.pop();
        }
    }
}

impl Leaf {
    fn matched(&self, values: &[&str]) -> RouteLookup {
        let params = self.names.iter().zip(values).map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        RouteLookup::Route(MatchedRoute { route: self.route.clone(), access: self.access, params })
    }
}

/// Whether a route with the method `has` serves a request with the method `asked`.
fn serves(has: &Method, asked: &Method) -> bool {
    has == asked || (*asked == Method::HEAD && *has == Method::GET)
}

/// Returns the text of a path without parameters, if a client can request it without escapes.
fn literal_text(path: &[Segment]) -> Option<String> {
    let segments: Option<Vec<&str>> = path
        .iter()
        .map(|segment| match segment {
            Segment::Literal(text) if !text.is_empty() && !text.contains(['/', '%']) => Some(text.as_str()),
            _ => None,
        })
        .collect();
    Some(segments?.join("/"))
}

/// Returns the decoded segments of a path: none for the root.
fn decode(path: &str) -> Option<Vec<Cow<'_, str>>> {
    if path.is_empty() {
        return Some(Vec::new());
    }
    path.split('/').map(decode_segment).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::Middleware;

    fn access(inner: bool) -> Access {
        Access::of(if inner { &[Middleware::Inner] } else { &[] }, true)
    }

    fn segments(path: &str) -> Vec<Segment> {
        let segment = |text: &str| match text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')) {
            Some(name) => Segment::Param(name.to_owned()),
            None => Segment::Literal(decode_segment(text).unwrap().into_owned()),
        };
        if path.is_empty() { Vec::new() } else { path.split('/').map(segment).collect() }
    }

    /// Builds a router of routes written `METHOD path`. The handler of each is the whole text.
    fn router(routes: &[&str]) -> Router {
        Router::new(routes.iter().map(|text| {
            let (method, path) = text.split_once(' ').unwrap();
            RouteSpec {
                method: method.parse().unwrap(),
                path: segments(path),
                route: Arc::new(call::Route {
                    deployment: 0,
                    handler: (*text).into(),
                    text: (*text).into(),
                    chain: Vec::new(),
                }),
                access: access(path.starts_with("inner")),
            }
        }))
    }

    fn shown(found: RouteLookup) -> String {
        match found {
            RouteLookup::Route(matched) => {
                let params: String = matched.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{params}", matched.route.handler)
            }
            RouteLookup::MethodNotAllowed(methods) => format!("405 {methods:?}"),
            RouteLookup::NotFound => "404".to_owned(),
            RouteLookup::BadPath => "400".to_owned(),
        }
    }

    #[track_caller]
    fn check(routes: &[&str], asked: &str, expected: &str) {
        let (method, path) = asked.split_once(' ').unwrap();
        assert_eq!(shown(router(routes).find(&method.parse().unwrap(), path)), expected, "{asked}");
    }

    #[test]
    fn the_root_is_the_empty_path() {
        check(&["GET "], "GET ", "GET ");
        check(&["GET "], "GET /", "404");
        check(&["GET {name}"], "GET ", "404");
        check(&["GET a"], "GET ", "404");
    }

    #[test]
    fn a_literal_beats_a_parameter_unless_it_leads_to_no_route() {
        let routes = ["GET a/{x}", "GET {x}/b", "GET a/b", "GET a/{x}/d", "GET {y}/b/c"];
        check(&routes, "GET a/b", "GET a/b");
        check(&routes, "GET a/z", "GET a/{x} x=z");
        check(&routes, "GET z/b", "GET {x}/b x=z");
        check(&routes, "GET a/b/d", "GET a/{x}/d x=b");
        check(&routes, "GET a/b/c", "GET {y}/b/c y=a");
        check(&routes, "GET a/b/e", "404");
    }

    #[test]
    fn paths_are_split_before_segments_are_decoded() {
        check(&["GET {a}/{b}"], "GET x%2Fy/z%20", "GET {a}/{b} a=x/y b=z ");
        check(&["GET test"], "GET te%73t", "GET test");
        check(&["GET a/b"], "GET a%2Fb", "404");
        check(&["GET a%2Fb"], "GET a%2fb", "GET a%2Fb");
        check(&["GET a%2Fb"], "GET a/b", "404");
        check(&["GET a%25b"], "GET a%25b", "GET a%25b");
        check(&["GET a%25b"], "GET a%b", "400");
        check(&["GET {x}"], "GET gr%C3%BC%C3%9Fe", "GET {x} x=grüße");
    }

    #[test]
    fn malformed_escapes_are_rejected_even_where_no_route_is() {
        for path in ["%", "%4", "%zz", "a/%", "%%41", "%+1", "%ff", "x/y/%C3"] {
            check(&["GET {x}"], &format!("GET {path}"), "400");
        }
    }

    #[test]
    fn paths_are_not_normalised() {
        let routes = ["GET a/b", "GET {x}/{y}", "GET {x}/{y}/{z}"];
        for path in ["a//b", "/a/b", "a/b/", "//", "a/"] {
            check(&routes, &format!("GET {path}"), "404");
        }
        check(&routes, "GET a/./b", "GET {x}/{y}/{z} x=a y=. z=b");
        check(&routes, "GET ../b", "GET {x}/{y} x=.. y=b");
    }

    #[test]
    fn a_request_finds_the_route_with_its_method_or_the_methods_that_exist() {
        let routes = ["PUT a", "GET a", "GET {x}", "DELETE {x}", "GET b", "POST only"];
        check(&routes, "HEAD a", "GET a");
        check(&routes, "HEAD only", "GET {x} x=only");
        check(&routes, "DELETE a", "DELETE {x} x=a");
        check(&routes, "POST a", "405 [DELETE, GET, PUT]");
        check(&routes, "OPTIONS b", "405 [DELETE, GET]");
        check(&["POST only"], "HEAD only", "405 [POST]");
    }

    #[test]
    fn a_call_from_inside_without_a_method_finds_post_or_the_only_route() {
        let routes = router(&["GET a", "POST a", "GET b", "GET {x}", "GET c", "PUT c/d", "DELETE c/d"]);
        let inside = |method: Option<Method>, path| shown(routes.find_inside(method.as_ref(), path));
        assert_eq!(inside(None, "a"), "POST a");
        assert_eq!(inside(None, "b"), "GET b");
        assert_eq!(inside(None, "z"), "GET {x} x=z");
        assert_eq!(inside(None, "c/d"), "405 [DELETE, PUT]");
        assert_eq!(inside(Some(Method::PUT), "c/d"), "PUT c/d");
        assert_eq!(inside(Some(Method::PUT), "a"), "405 [GET, POST]");
        assert_eq!(inside(None, "z/z"), "404");
        assert_eq!(inside(None, "%"), "400");
    }

    #[test]
    fn a_long_path_does_not_make_the_router_deep() {
        let of = |segments: usize| vec!["{a}"; segments].join("/");
        let deep = of(MAX_SEGMENTS);
        let routes = router(&[&format!("GET {deep}"), &format!("GET {}", of(480_000))]);
        assert_eq!(shown(routes.find(&Method::GET, &vec!["x"; 480_000].join("/"))), "404");
        assert!(
            shown(routes.find(&Method::GET, &vec!["x"; MAX_SEGMENTS].join("/"))).starts_with(&format!("GET {deep}"))
        );
    }

    #[test]
    fn a_match_has_the_access_rule_of_its_route() {
        let RouteLookup::Route(matched) = router(&["POST inner/x"]).find(&Method::POST, "inner/x") else {
            panic!("not found");
        };
        assert_eq!(matched.access, access(true));
    }
}
