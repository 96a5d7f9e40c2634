//! From the text of `module.json` to a checked [`Manifest`].

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Method;

use super::model::{Build, Manifest, ManifestError, Route, Startup};
use super::path;
use super::raw::{self, FILE_NAME, Isolation, Place, RawBroadcast, RawBuild, RawRoute, RawStartup};
use crate::config::schema;
use crate::config::{Capabilities, formats};
use crate::document::fault::{Fault, Faults, Origin};
use crate::document::shape::{self, Nulls};
use crate::document::source;
use crate::document::tree::{Member, Node, Path as KeyPath, quoted};
use crate::registry::segment::Segment;

impl Manifest {
    /// Reads `module.json` in `dir`; the folder's name is the module's.
    pub fn load(dir: &Path) -> Result<Manifest, ManifestError> {
        load(dir).map_err(|faults| ManifestError { faults })
    }

    /// The same from text in place of the file.
    pub fn from_text(dir: &Path, text: &str) -> Result<Manifest, ManifestError> {
        from_text(dir, text).map_err(|faults| ManifestError { faults })
    }
}

/// Reads the file in `dir`.
fn load(dir: &Path) -> Result<Manifest, Faults> {
    let text = source::read(&dir.join(FILE_NAME))?;
    from_text(dir, &text)
}

/// Checks `text` as the file in `dir`.
fn from_text(dir: &Path, text: &str) -> Result<Manifest, Faults> {
    let shown = source::shown(&dir.join(FILE_NAME));
    let dir: PathBuf = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).components().collect();
    let (tree, mut faults) = source::parse(text, &shown);
    faults.extend(schema::check(&tree, &KeyPath::default(), raw::schema(), Nulls::Plain));
    let name = name_of(&dir);
    if !formats::is_module(&name) {
        let message =
            format!("the folder's name must be {}, found {}: rename the folder", formats::MODULE_RULE, quoted(&name));
        faults.push(Fault::new(&Origin::start_of(&shown), "", message));
    }
    let mut check = Check { dir: &dir, tree: &tree, faults };
    let component = check.component();
    let routes = check.routes();
    let broadcasts = check.broadcasts(&routes);
    let startups = check.startups(&routes);
    let build = check.build();
    let isolation = check.isolation();
    let faults = check.faults;
    let of = |key: &str| tree.get(key);
    let capabilities: Capabilities = of("capabilities").and_then(Node::read).unwrap_or_default();
    let routes: Option<Vec<Route>> = routes.into_iter().collect();
    let whole = component.zip(routes).zip(tree.read::<raw::RawManifest>());
    match whole {
        Some(((component, routes), _)) if faults.is_empty() => Ok(Manifest {
            capabilities: capabilities.foreign(&name),
            file: dir.join(FILE_NAME),
            component,
            routes,
            broadcasts,
            startups,
            build,
            config: of("config").and_then(Node::read).unwrap_or_default(),
            limits: of("limits").and_then(Node::read).unwrap_or_default(),
            isolation,
            rollout: of("rollout").and_then(Node::read),
            digest_bytes: Arc::from(text.as_bytes()),
            name,
            dir,
            source: Arc::new(tree),
        }),
        None if faults.is_empty() => {
            Err(Fault::new(&Origin::start_of(&shown), "", "cannot be read, and no rule says why: please report this")
                .into())
        }
        _ => Err(faults.sorted()),
    }
}

/// The folder's name, which is the module's.
pub(super) fn name_of(dir: &Path) -> String {
    let full = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let full: PathBuf = full.components().collect();
    full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The rules that the schema does not hold. Each part is read on its own, so that a fault in one hides no other.
struct Check<'a> {
    dir: &'a Path,
    tree: &'a Node,
    faults: Faults,
}

impl<'a> Check<'a> {
    fn fault(&mut self, origin: &Origin, path: &KeyPath, message: String) {
        self.faults.push(Fault::new(origin, path, message));
    }

    fn members(&self, key: &str) -> &'a [Member] {
        let members = self.tree.get(key).map(Node::members).unwrap_or_default();
        members.get(..raw::MOST).unwrap_or(members)
    }

    fn component(&mut self) -> Option<PathBuf> {
        let node = self.tree.get("component")?;
        let text = node.as_text().filter(|text| formats::check("file-path", text).is_ok())?;
        match path::inside(self.dir, text) {
            Ok(file) if file == self.dir => {
                self.fault(&node.origin, &KeyPath::of(&["component"]), format!("must name a file, found {node}"));
                None
            }
            Ok(file) => Some(file),
            Err(rule) => {
                self.fault(&node.origin, &KeyPath::of(&["component"]), rule.to_string());
                None
            }
        }
    }

    /// Every route, `None` in place of a faulty one.
    fn routes(&mut self) -> Vec<Option<Route>> {
        let nodes = self.tree.get("routes").map(Node::items).unwrap_or_default();
        let nodes = nodes.get(..raw::MOST).unwrap_or(nodes);
        let routes: Vec<_> = nodes.iter().enumerate().map(|(index, node)| self.route(index, node)).collect();
        let mut first: HashMap<(&Method, Vec<Option<&str>>), usize> = HashMap::new();
        for (index, (route, node)) in routes.iter().zip(nodes).enumerate() {
            let Some(route) = route else { continue };
            let earlier = *first.entry((&route.method, path::shape(&route.path))).or_insert(index);
            if let Some(place) = nodes.get(earlier).filter(|_| earlier != index) {
                let origin = node.get("path").unwrap_or(node).origin.clone();
                let message = format!(
                    "{} {} is already routes[{earlier}] ({}): change the method or the path of one of them",
                    route.method,
                    quoted(&route.text),
                    place.origin
                );
                self.fault(&origin, &KeyPath::of(&["routes"]).index(index).key("path"), message);
            }
        }
        routes
    }

    fn route(&mut self, index: usize, node: &Node) -> Option<Route> {
        let text = node.get("path").and_then(Node::as_text)?;
        let parsed = path::parse(text);
        if let Err(rule) = &parsed {
            let origin = node.get("path").unwrap_or(node).origin.clone();
            self.fault(&origin, &KeyPath::of(&["routes"]).index(index).key("path"), rule.to_string());
        }
        let raw: RawRoute = node.read()?;
        Some(Route {
            method: formats::method(&raw.method)?,
            path: parsed.ok()?,
            handler: raw.handler,
            middlewares: raw.middlewares,
            text: raw.path,
        })
    }

    fn broadcasts(&mut self, routes: &[Option<Route>]) -> BTreeMap<String, usize> {
        let mut broadcasts = BTreeMap::new();
        for member in self.members("broadcasts") {
            let route = self.reference(routes, "broadcasts", member);
            if let (Some(route), Some(RawBroadcast { .. })) = (route, member.node.read()) {
                broadcasts.insert(member.name.clone(), route);
            }
        }
        broadcasts
    }

    fn startups(&mut self, routes: &[Option<Route>]) -> BTreeMap<String, Startup> {
        let mut startups = BTreeMap::new();
        for member in self.members("startups") {
            let route = self.reference(routes, "startups", member);
            let found = route.and_then(|index| routes.get(index)?.as_ref());
            if found.is_some_and(|route| route.middlewares.contains(&raw::Middleware::Test)) {
                let path = KeyPath::of(&["startups", &member.name, "path"]);
                let rule = "must be a route without the middleware `test`: a startup runs in every environment";
                self.fault(&member.node.origin, &path, rule.to_owned());
            }
            if let (Some(route), Some(RawStartup { place, .. })) = (route, member.node.read()) {
                startups.insert(member.name.clone(), Startup { route, everywhere: place == Place::All });
            }
        }
        startups
    }

    /// The index of the route that `path` of an entry means.
    fn reference(&mut self, routes: &[Option<Route>], section: &str, member: &Member) -> Option<usize> {
        if self.faults.is_full() {
            return None;
        }
        let node = member.node.get("path")?;
        let found = path::parse_reference(node.as_text()?)
            .map_err(|error| error.to_string())
            .and_then(|(method, segments)| find(routes, method, &segments));
        match found {
            Ok(index) => index,
            Err(rule) => {
                let path = KeyPath::of(&[section, &member.name, "path"]);
                self.fault(&node.origin, &path, rule);
                None
            }
        }
    }

    fn build(&mut self) -> Option<Build> {
        let node = self.tree.get("build")?;
        let watched = node.get("watch").map(Node::items).unwrap_or_default();
        for (index, item) in watched.iter().enumerate() {
            let text = item.as_text().filter(|text| formats::check("file-path", text).is_ok());
            if let Some(Err(rule)) = text.map(|text| path::inside(self.dir, text)) {
                self.fault(&item.origin, &KeyPath::of(&["build", "watch"]).index(index), rule.to_string());
            }
        }
        let RawBuild { command, watch } = node.read()?;
        Some(Build { command, watch: watch.into_iter().map(PathBuf::from).collect() })
    }

    fn isolation(&mut self) -> Isolation {
        let node = self.tree.get("isolation");
        let isolation = node.and_then(Node::read).unwrap_or_default();
        if let (Isolation::Fresh, Some(node), false) = (isolation, node, self.members("broadcasts").is_empty()) {
            let message = "must be \"resident\" for a module with broadcasts, found \"fresh\": an instance that stays for one call has nothing to tell";
            self.fault(&node.origin, &KeyPath::of(&["isolation"]), message.to_owned());
        }
        isolation
    }
}

/// The route meant; `Ok(None)` when it may be one that is faulty itself.
fn find(routes: &[Option<Route>], method: Option<Method>, segments: &[Segment]) -> Result<Option<usize>, String> {
    let wanted = path::shape(segments);
    let same: Vec<(usize, &Method)> = routes
        .iter()
        .enumerate()
        .filter_map(|(index, route)| Some((index, route.as_ref()?)))
        .filter(|(_, route)| path::shape(&route.path) == wanted)
        .map(|(index, route)| (index, &route.method))
        .collect();
    let with = |method: &Method| same.iter().find(|(_, other)| *other == method).map(|(index, _)| *index);
    let found = match (&method, same.as_slice()) {
        (Some(method), _) => with(method),
        (None, [(index, _)]) => Some(*index),
        (None, _) => with(&Method::POST),
    };
    if found.is_some() || routes.iter().any(Option::is_none) {
        return Ok(found);
    }
    let methods: Vec<&str> = same.iter().map(|(_, method)| method.as_str()).collect();
    let texts: Vec<&str> = routes.iter().flatten().map(|route| route.text.as_str()).collect();
    Err(match (&method, methods.as_slice()) {
        (_, []) => {
            format!("must be the path of a route of this module{}", shape::did_you_mean(&written(segments), &texts))
        }
        (Some(method), methods) => {
            format!("must be a route of this module: the path has no method {method}, only {}", methods.join(" and "))
        }
        (None, methods) => format!(
            "must name the method, since the path has several and none is POST: write one of {} before it",
            methods.join(" and ")
        ),
    })
}

fn written(segments: &[Segment]) -> String {
    let part = |segment: &Segment| match segment {
        Segment::Literal(text) => text.clone(),
        Segment::Param(name) => format!("{{{name}}}"),
    };
    segments.iter().map(part).collect::<Vec<_>>().join("/")
}
