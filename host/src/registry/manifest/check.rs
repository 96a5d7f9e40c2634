//! Reads and checks the text of `module.json`.

mod chain;
mod clients;
mod patterns;
mod payloads;
mod rules;
mod triggers;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::Method;

use self::rules::{has, inside_only, without_chain};
use super::durable::Durable;
use super::hooks::{self, Hook, RawMessageHook};
use super::model::{Build, Manifest, ManifestError, Route, Startup};
use super::path;
use super::raw::{
    self, Delivery, FILE_NAME, Isolation, Middleware, RawBroadcast, RawBuild, RawRoute, RawStartup, StartupPlace,
};
use super::reference::resolve_reference;
use super::subscriptions::DeclaredSubscription;
use crate::call::hook;
use crate::config::schema;
use crate::config::{Capabilities, formats};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::shape::{self, Nulls};
use crate::document::source;
use crate::document::tree::{Member, Node, Path as KeyPath, Value, quoted};

impl Manifest {
    /// Reads and checks `module.json` in `dir`. The name of the folder is the name of the module.
    pub fn load(dir: &Path) -> Result<Manifest, ManifestError> {
        load(dir).map_err(|faults| ManifestError { faults })
    }

    /// Checks `text` as if it were `module.json` in `dir`.
    pub fn from_text(dir: &Path, text: &str) -> Result<Manifest, ManifestError> {
        from_text(dir, text).map_err(|faults| ManifestError { faults })
    }

    /// Reads the parts of `module.json` in `dir` that have no faults. The result serves only to
    /// find faults of other kinds at the same time: a route with a fault has no handler. `None` if
    /// the text or the key `component` cannot be read.
    pub fn load_partly(dir: &Path) -> Option<Manifest> {
        let text = source::read(&dir.join(FILE_NAME)).ok()?;
        read(dir, &text).ok()?.0
    }
}

impl Manifest {
    /// Likely mistakes that are not faults: durations without a unit.
    pub fn warnings(&self) -> Vec<Fault> {
        shape::warnings(&self.source, raw::schema(), Nulls::Plain)
    }
}

fn load(dir: &Path) -> Result<Manifest, Faults> {
    let text = source::read(&dir.join(FILE_NAME))?;
    from_text(dir, &text)
}

fn from_text(dir: &Path, text: &str) -> Result<Manifest, Faults> {
    match read(dir, text)? {
        (Some(manifest), faults) if faults.is_empty() => Ok(manifest),
        (_, faults) => Err(faults.sorted()),
    }
}

/// Returns the manifest, and the faults of the parts that it lacks. The error has the faults of a
/// text that is no document.
fn read(dir: &Path, text: &str) -> Result<(Option<Manifest>, Faults), Faults> {
    let shown = source::shown(&dir.join(FILE_NAME));
    let dir: PathBuf = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned()).components().collect();
    let (tree, mut faults) = source::parse(text, &shown)?;
    faults.extend(schema::check(&tree, &KeyPath::default(), raw::schema(), Nulls::Plain));
    let name = name_of(&dir);
    if !formats::is_module(&name) {
        let message =
            format!("the folder's name must be {}, found {}: rename the folder", formats::MODULE_RULE, quoted(&name));
        faults.push(Fault::new(&ValueOrigin::start_of(&shown), "", message));
    }
    let mut check = Check { dir: &dir, tree: &tree, faults };
    let component = check.component();
    let routes = check.routes();
    let (broadcasts, durable) = check.broadcasts(&routes);
    let startups = check.startups(&routes);
    let schedules = check.schedules(&routes);
    let subscriptions = check.subscriptions(&routes);
    let hooks = check.hooks(&routes);
    let streams = check.streams(&routes);
    let channels = check.channels(&routes);
    let sockets = check.sockets(&routes);
    let filters = check.filters(&routes);
    let calls = check.calls();
    let build = check.build();
    let isolation = check.isolation();
    let mut faults = check.faults;
    let is_whole =
        component.is_some() && routes.iter().all(Option::is_some) && tree.read::<raw::RawManifest>().is_some();
    if !is_whole && faults.is_empty() {
        let message = "cannot be read, although no check failed: please report this as a bug";
        faults.push(Fault::new(&ValueOrigin::start_of(&shown), "", message));
    }
    let Some(component) = component else { return Ok((None, faults)) };
    let of = |key: &str| tree.get(key);
    let mut capabilities: Capabilities = of("capabilities").and_then(Node::read).unwrap_or_default();
    let fed = subscriptions.values().filter_map(DeclaredSubscription::fed_keys);
    add_missing(&mut capabilities.sse.0, streams.patterns().map(str::to_owned).chain(fed));
    add_missing(&mut capabilities.channels.0, channels.patterns().map(str::to_owned));
    add_missing(&mut capabilities.subscribe.0, subscriptions.values().filter_map(DeclaredSubscription::outside_topic));
    let manifest = Manifest {
        capabilities: capabilities.foreign(&name),
        file: dir.join(FILE_NAME),
        component,
        // The other parts refer to routes by their index.
        routes: routes.into_iter().map(|route| route.unwrap_or_else(unread)).collect(),
        broadcasts,
        durable,
        startups,
        schedules,
        subscriptions,
        hooks,
        streams,
        channels,
        sockets,
        filters,
        calls,
        build,
        config: of("config").and_then(Node::read).unwrap_or_default(),
        limits: of("limits").and_then(Node::read).unwrap_or_default(),
        isolation,
        mount: of("mount").and_then(Node::read),
        rollout: of("rollout").and_then(Node::read),
        alone: false,
        digest_bytes: Arc::from(text.as_bytes()),
        name,
        dir,
        source: Arc::new(tree),
    };
    Ok((Some(manifest), faults))
}

/// Stands for a route that has a fault.
fn unread() -> Route {
    Route {
        method: Method::GET,
        path: Vec::new(),
        handler: String::new(),
        middlewares: Vec::new(),
        chain: Vec::new(),
        takes: None,
        gives: None,
        query: None,
        text: String::new(),
    }
}

/// Adds what a list does not have.
fn add_missing(list: &mut Vec<String>, items: impl Iterator<Item = String>) {
    for item in items {
        if !list.contains(&item) {
            list.push(item);
        }
    }
}

/// Returns the name of a folder, which is the name of the module in it.
pub(super) fn name_of(dir: &Path) -> String {
    let full = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let full: PathBuf = full.components().collect();
    full.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Checks the rules that the schema cannot express. Each part is read on its own, so that a fault
/// in one part hides no fault in another.
pub(super) struct Check<'a> {
    dir: &'a Path,
    pub(super) tree: &'a Node,
    faults: Faults,
}

impl<'a> Check<'a> {
    pub(super) fn fault(&mut self, origin: &ValueOrigin, path: &KeyPath, message: String) {
        self.faults.push(Fault::new(origin, path, message));
    }

    pub(super) fn members(&self, key: &str) -> &'a [Member] {
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

    /// Returns every route, with `None` in place of one that has a fault.
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
        let place = KeyPath::of(&["routes"]).index(index);
        if let Err(rule) = &parsed {
            let origin = node.get("path").unwrap_or(node).origin.clone();
            self.fault(&origin, &place.key("path"), rule.to_string());
        }
        let raw: RawRoute = node.read()?;
        let middlewares: Vec<Middleware> = raw.middlewares.iter().filter_map(|name| Middleware::of(name)).collect();
        for (pair, why) in [
            (("inner", "session"), "no call could reach the route"),
            (("inner", "cors"), "no script can call an inner route"),
            (("session", "cors"), "a script cannot call such a route with a request"),
        ] {
            let has = |name: &str| Middleware::of(name).is_some_and(|one| middlewares.contains(&one));
            if has(pair.0) && has(pair.1) {
                let origin = node.get("middlewares").unwrap_or(node).origin.clone();
                let message = format!("must not have both `{}` and `{}`: {why}", pair.0, pair.1);
                self.fault(&origin, &place.key("middlewares"), message);
            }
        }
        Some(Route {
            method: formats::method(&raw.method)?,
            path: parsed.ok()?,
            handler: raw.handler,
            middlewares,
            chain: self.chain(index, node, &raw.middlewares),
            takes: self.payload(node, &place, "takes"),
            gives: self.payload(node, &place, "gives"),
            query: self.payload(node, &place, "query"),
            text: raw.path,
        })
    }

    /// Returns the routes of the broadcasts, and those that a stream keeps.
    fn broadcasts(&mut self, routes: &[Option<Route>]) -> (BTreeMap<String, usize>, BTreeMap<String, Durable>) {
        let (mut broadcasts, mut durable) = (BTreeMap::new(), BTreeMap::new());
        for member in self.members("broadcasts") {
            let route = self.reference(routes, "broadcasts", member);
            let Some(RawBroadcast { delivery, attempts, backoff, .. }) = member.node.read() else { continue };
            if let Some(route) = route {
                broadcasts.insert(member.name.clone(), route);
            }
            if delivery == Delivery::Durable {
                let default = Durable::default();
                let (attempts, backoff) = (attempts.unwrap_or(default.attempts), backoff.unwrap_or(default.backoff));
                durable.insert(member.name.clone(), Durable { attempts, backoff });
                continue;
            }
            let message = "is for broadcasts that are kept: add `\"delivery\": \"durable\"`, or remove it";
            self.attempts_of_none(member, &KeyPath::of(&["broadcasts", &member.name]), message);
        }
        (broadcasts, durable)
    }

    /// Reports the settings of attempts of an entry that makes only one.
    fn attempts_of_none(&mut self, member: &Member, path: &KeyPath, message: &str) {
        for key in ["attempts", "backoff"] {
            if let Some(node) = member.node.get(key) {
                self.fault(&node.origin, &path.key(key), message.to_owned());
            }
        }
    }

    fn startups(&mut self, routes: &[Option<Route>]) -> BTreeMap<String, Startup> {
        let mut startups = BTreeMap::new();
        for member in self.members("startups") {
            let route = self.reference(routes, "startups", member);
            if has(routes, route, Middleware::Test) {
                let path = KeyPath::of(&["startups", &member.name, "path"]);
                let rule = "must be a route without the middleware `test`: a startup runs in every environment";
                self.fault(&member.node.origin, &path, rule.to_owned());
            }
            if let Some(Err(rule)) = route.map(|route| without_chain(routes, route, "startup")) {
                self.fault(&member.node.origin, &KeyPath::of(&["startups", &member.name, "path"]), rule);
            }
            if let (Some(route), Some(RawStartup { place, .. })) = (route, member.node.read()) {
                startups.insert(member.name.clone(), Startup { route, everywhere: place == StartupPlace::All });
            }
        }
        startups
    }

    /// Returns the hooks by their names.
    fn hooks(&mut self, routes: &[Option<Route>]) -> BTreeMap<&'static str, Hook> {
        let mut hooks = BTreeMap::new();
        for member in self.members("hooks") {
            let Some((name, places)) = hooks::known(&member.name) else { continue };
            let Some(route) = self.reference(routes, "hooks", member) else { continue };
            if let Err(rule) = inside_only(routes, route, "hook") {
                self.fault(&member.node.origin, &KeyPath::of(&["hooks", name, "path"]), rule);
                continue;
            }
            let is_empty = |list: &Node| matches!(&list.value, Value::List(items) if items.is_empty());
            if name == hook::MASTER_MESSAGE && member.node.get("in").is_some_and(is_empty) {
                let path = KeyPath::of(&["hooks", name, "in"]);
                let rule = "must name `worker`, `broker` or both, found an empty list";
                self.fault(&member.node.origin, &path, rule.to_owned());
                continue;
            }
            let message = member.node.read::<RawMessageHook>().filter(|_| name == hook::MASTER_MESSAGE);
            let places = message.map_or(places, |message| message.places());
            hooks.insert(name, Hook { route, places });
        }
        hooks
    }

    /// Returns the index of the route that the `path` of an entry refers to.
    pub(super) fn reference(&mut self, routes: &[Option<Route>], section: &str, member: &Member) -> Option<usize> {
        let node = member.node.get("path")?;
        let path = KeyPath::of(&[section, &member.name, "path"]);
        let index = self.referenced(routes, &node.origin, &path, node.as_text()?)?;
        if section != "sockets" && has(routes, Some(index), Middleware::Session) {
            let rule = "must be a route without the middleware `session`: only messages of clients reach such a route";
            self.fault(&node.origin, &path, rule.to_owned());
            return None;
        }
        Some(index)
    }

    /// Returns the index of the route that the reference `text` means.
    pub(super) fn referenced(
        &mut self,
        routes: &[Option<Route>],
        origin: &ValueOrigin,
        path: &KeyPath,
        text: &str,
    ) -> Option<usize> {
        if self.faults.is_full() {
            return None;
        }
        let found = resolve_reference(text, routes);
        found.unwrap_or_else(|error| {
            self.fault(origin, path, error.to_string());
            None
        })
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
            let message = "must be \"resident\" for a module with broadcasts, found \"fresh\": an instance that lives for one call cannot receive a broadcast";
            self.fault(&node.origin, &KeyPath::of(&["isolation"]), message.to_owned());
        }
        isolation
    }
}
