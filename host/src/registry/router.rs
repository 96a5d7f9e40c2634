//! Which route of a module answers a method and a path. Pure.
//!
//! A path is split on `/`, then each segment is percent-decoded, so that `%2F` stays inside its segment. Nothing is
//! folded: no dots, no double slashes; an empty segment matches nothing. A literal beats a `{param}`, segment by
//! segment from the left, and where a shape lacks the method the next one is tried.
//!
//! Every match clones the route's `Arc`: build one router per isolate, with its own `Arc`s, so that workers do not
//! write to the same counter.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use http::Method;

use super::access::Access;
use super::segment::{Segment, decode_segment};
use crate::call::{self, MAX_SEGMENTS, bounds};

/// A route as the router takes it.
#[derive(Debug, Clone)]
pub struct RouteSpec {
    pub method: Method,
    /// Empty for the root of the module.
    pub path: Vec<Segment>,
    pub route: Arc<call::Route>,
    pub access: Access,
}

/// What a lookup brings.
#[derive(Debug)]
pub enum Found {
    Route(Matched),
    /// The path is there with these methods, sorted by name and each once.
    MethodNotAllowed(Vec<Method>),
    NotFound,
    /// A malformed percent escape, or segments that are not UTF-8.
    BadPath,
}

/// A route and what its params stand for.
#[derive(Debug)]
pub struct Matched {
    pub route: Arc<call::Route>,
    pub access: Access,
    /// In the order of the path.
    pub params: Vec<(String, String)>,
}

/// The routes of one generation.
#[derive(Debug, Default)]
pub struct Router {
    /// The ends of all paths without params, by their text: the common case needs one look.
    literal: HashMap<String, Vec<End>>,
    root: Node,
}

/// What may follow one prefix of segments.
#[derive(Debug, Default)]
struct Node {
    literals: HashMap<String, Node>,
    param: Option<Box<Node>>,
    ends: Vec<End>,
}

/// A route at the end of its path.
#[derive(Debug, Clone)]
struct End {
    method: Method,
    route: Arc<call::Route>,
    access: Access,
    /// The names of the params, in the order of the path.
    names: Vec<String>,
}

impl Router {
    /// Of two routes of the same method and shape the first one counts, and one of more than
    /// [`MAX_SEGMENTS`] is left out, because it would make the tree as deep; the manifest refuses
    /// both.
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
        let end = End { method, route, access, names };
        if let Some(text) = text {
            self.literal.entry(text).or_default().push(end.clone());
        }
        node.ends.push(end);
    }

    /// For a request from outside. `path` is what follows `/api/<module>/`, as it was sent. `HEAD` finds `GET`.
    pub fn find(&self, method: &Method, path: &str) -> Found {
        // Most paths are literal and need no decoding. Escaped ones take the tree, where segments are decoded.
        if let Some(ends) = self.literal.get(path)
            && let Some(end) = of_method(ends, method)
        {
            return end.matched(&[]);
        }
        self.walk(path, |candidates| candidates.iter().position(|found| of_method_is(&found.end.method, method)))
    }

    /// For a call from inside. Without a method `POST` is meant, else the only one there is.
    pub fn find_inside(&self, method: Option<&Method>, path: &str) -> Found {
        if let Some(method) = method {
            return self.find(method, path);
        }
        self.walk(path, |candidates| {
            let post = candidates.iter().position(|found| found.end.method == Method::POST);
            post.or_else(|| {
                let first = candidates.first()?;
                candidates.iter().all(|found| found.end.method == first.end.method).then_some(0)
            })
        })
    }

    /// Collects all that the path may mean, best first, and lets `choose` take one.
    fn walk(&self, path: &str, choose: impl FnOnce(&[Candidate<'_>]) -> Option<usize>) -> Found {
        let Some(segments) = decode(path) else {
            return Found::BadPath;
        };
        if segments.len() > MAX_SEGMENTS {
            bounds::PATH.count();
            return Found::NotFound;
        }
        let mut candidates = Vec::new();
        self.root.collect(&segments, &mut Vec::new(), &mut candidates);
        if candidates.is_empty() {
            return Found::NotFound;
        }
        match choose(&candidates).and_then(|index| candidates.get(index)) {
            Some(found) => found.end.matched(&found.values),
            None => {
                let mut methods: Vec<Method> = candidates.iter().map(|found| found.end.method.clone()).collect();
                methods.sort_by(|a, b| a.as_str().cmp(b.as_str()));
                methods.dedup();
                Found::MethodNotAllowed(methods)
            }
        }
    }
}

/// A route that a path may mean, and the segments its params would take.
struct Candidate<'a> {
    end: &'a End,
    values: Vec<&'a str>,
}

impl Node {
    /// Every node is visited at most once, so the cost is bounded by the number of routes, and the
    /// depth by [`MAX_SEGMENTS`].
    fn collect<'a>(&'a self, segments: &'a [Cow<'_, str>], values: &mut Vec<&'a str>, into: &mut Vec<Candidate<'a>>) {
        let Some((segment, rest)) = segments.split_first() else {
            into.extend(self.ends.iter().map(|end| Candidate { end, values: values.clone() }));
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

impl End {
    fn matched(&self, values: &[&str]) -> Found {
        let params = self.names.iter().zip(values).map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
        Found::Route(Matched { route: self.route.clone(), access: self.access, params })
    }
}

fn of_method<'a>(ends: &'a [End], method: &Method) -> Option<&'a End> {
    ends.iter().find(|end| of_method_is(&end.method, method))
}

fn of_method_is(has: &Method, asked: &Method) -> bool {
    has == asked || (*asked == Method::HEAD && *has == Method::GET)
}

/// The text under which a path without params is asked for, if it can be asked for without escapes.
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

/// The segments of a path, none for the root.
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

    /// Routes written `METHOD path`; the handler is the whole text.
    fn router(routes: &[&str]) -> Router {
        Router::new(routes.iter().map(|text| {
            let (method, path) = text.split_once(' ').unwrap();
            RouteSpec {
                method: method.parse().unwrap(),
                path: segments(path),
                route: Arc::new(call::Route { deployment: 0, handler: (*text).into(), text: (*text).into() }),
                access: access(path.starts_with("inner")),
            }
        }))
    }

    fn shown(found: Found) -> String {
        match found {
            Found::Route(matched) => {
                let params: String = matched.params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{}{params}", matched.route.handler)
            }
            Found::MethodNotAllowed(methods) => format!("405 {methods:?}"),
            Found::NotFound => "404".to_owned(),
            Found::BadPath => "400".to_owned(),
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
    fn a_literal_beats_a_param_segment_by_segment_and_gives_way_when_it_leads_nowhere() {
        let routes = ["GET a/{x}", "GET {x}/b", "GET a/b", "GET a/{x}/d", "GET {y}/b/c"];
        check(&routes, "GET a/b", "GET a/b");
        check(&routes, "GET a/z", "GET a/{x} x=z");
        check(&routes, "GET z/b", "GET {x}/b x=z");
        check(&routes, "GET a/b/d", "GET a/{x}/d x=b");
        check(&routes, "GET a/b/c", "GET {y}/b/c y=a");
        check(&routes, "GET a/b/e", "404");
    }

    #[test]
    fn escapes_are_undone_after_splitting() {
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
    fn bad_escapes_and_what_is_not_utf8_are_refused_even_where_nothing_is() {
        for path in ["%", "%4", "%zz", "a/%", "%%41", "%+1", "%ff", "x/y/%C3"] {
            check(&["GET {x}"], &format!("GET {path}"), "400");
        }
    }

    #[test]
    fn nothing_is_folded() {
        let routes = ["GET a/b", "GET {x}/{y}", "GET {x}/{y}/{z}"];
        for path in ["a//b", "/a/b", "a/b/", "//", "a/"] {
            check(&routes, &format!("GET {path}"), "404");
        }
        check(&routes, "GET a/./b", "GET {x}/{y}/{z} x=a y=. z=b");
        check(&routes, "GET ../b", "GET {x}/{y} x=.. y=b");
    }

    #[test]
    fn methods() {
        let routes = ["PUT a", "GET a", "GET {x}", "DELETE {x}", "GET b", "POST only"];
        check(&routes, "HEAD a", "GET a");
        check(&routes, "HEAD only", "GET {x} x=only");
        check(&routes, "DELETE a", "DELETE {x} x=a");
        check(&routes, "POST a", "405 [DELETE, GET, PUT]");
        check(&routes, "OPTIONS b", "405 [DELETE, GET]");
        check(&["POST only"], "HEAD only", "405 [POST]");
    }

    #[test]
    fn inside_post_is_meant_else_the_only_one() {
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
    fn no_path_makes_the_router_deep() {
        let of = |segments: usize| vec!["{a}"; segments].join("/");
        let deep = of(MAX_SEGMENTS);
        let routes = router(&[&format!("GET {deep}"), &format!("GET {}", of(480_000))]);
        assert_eq!(shown(routes.find(&Method::GET, &vec!["x"; 480_000].join("/"))), "404");
        assert!(
            shown(routes.find(&Method::GET, &vec!["x"; MAX_SEGMENTS].join("/"))).starts_with(&format!("GET {deep}"))
        );
    }

    #[test]
    fn access_goes_along() {
        let Found::Route(matched) = router(&["POST inner/x"]).find(&Method::POST, "inner/x") else {
            panic!("not found");
        };
        assert_eq!(matched.access, access(true));
    }
}
