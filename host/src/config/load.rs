//! Turns [`Sources`] into a checked [`Config`].

use std::collections::HashSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::limits::Limits;
use super::redis::DEFAULT;
use super::settings::{Config, Settings};
use super::sources::{FILE_NAME, Flags, Sources};
use super::{formats, schema, variables};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::merge::overlay;
use crate::document::shape::{self, Nulls};
use crate::document::source;
use crate::document::tree::{Member, Node, Path as KeyPath, Value, quoted};
use crate::document::units::Time;

/// The environment if neither a flag nor a variable names one.
pub const DEFAULT_ENVIRONMENT: &str = "development";

/// Finds the file, reads it and merges the other sources into it. Returns a configuration in any
/// case: a section with a fault has its defaults.
pub fn load_with_faults(sources: &Sources) -> (Config, Faults) {
    let dir = if sources.dir.as_os_str().is_empty() { Path::new(".") } else { &sources.dir };
    let file = match &sources.config {
        Some(file) => Some(file.clone()),
        None => Some(dir.join(FILE_NAME)).filter(|file| file.exists()),
    };
    let (text, unread) = match file.as_deref().map(source::read).transpose() {
        Ok(text) => (text, Faults::default()),
        Err(fault) => (None, fault.into()),
    };
    let root = match file.as_deref().and_then(Path::parent) {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => dir,
    };
    let (mut config, mut faults) = assemble(text.as_deref(), file.as_deref(), root, sources);
    config.file = file.map(|file| absolute(&file));
    config.sources = Some(sources.clone());
    faults.extend(unread);
    (config, faults)
}

/// Loads from a text in place of the file. `root` is the folder that the file would be in.
pub fn from_text(text: Option<&str>, root: &Path, sources: &Sources) -> Result<Config, Faults> {
    let (config, faults) = assemble(text, None, root, sources);
    if faults.is_empty() { Ok(config) } else { Err(faults) }
}

fn assemble(text: Option<&str>, file: Option<&Path>, root: &Path, sources: &Sources) -> (Config, Faults) {
    let shown = file.map_or_else(|| Arc::from(FILE_NAME), source::shown);
    let empty = || Node::object(&ValueOrigin::Default);
    let (mut tree, mut faults) = match text.map(|text| source::parse(text, &shown)) {
        None => (empty(), Faults::default()),
        Some(Ok(parsed)) => parsed,
        Some(Err(faults)) => (empty(), faults),
    };
    faults.extend(schema::check(&tree, &KeyPath::default(), schema::config(), Nulls::Remove));
    let mut warnings = Vec::new();
    let environment = environment(sources, &mut faults);
    let section = take_section(&mut tree, &environment, &mut warnings);

    let (overrides, unknown) = variables::read(&sources.variables);
    warnings.extend(unknown);
    let flags = flags(sources);
    for layer in [&overrides, &flags] {
        faults.extend(schema::check(layer, &KeyPath::default(), schema::config(), Nulls::Remove));
    }
    for layer in [Some(&tree), section.as_ref(), Some(&overrides), Some(&flags)].into_iter().flatten() {
        warnings.extend(shape::warnings(layer, schema::config(), Nulls::Remove));
    }
    let defaults = serde_json::to_value(Settings::default()).unwrap_or_default();
    let mut effective = Node::from_json(defaults, &ValueOrigin::Default);
    // The user's layers are merged with each other before they are laid over the defaults, so that
    // the default applies to a key that a null removes.
    let mut user = Node::object(&ValueOrigin::Default);
    for layer in [Some(tree), section, Some(overrides), Some(flags)].into_iter().flatten() {
        overlay(&mut user, layer);
    }
    overlay(&mut effective, user);

    let settings = Settings::read(&effective);
    relations(&settings, &effective, &mut faults);
    warnings.extend(Relation::new(&effective, &faults).clients());
    if faults.is_empty() && effective.read::<Settings>().is_none() {
        faults.push(Fault::new(
            &ValueOrigin::start_of(&shown),
            "",
            "passes all checks but cannot be read: please report this bug",
        ));
    }
    (build(settings, absolute(root), environment, warnings, effective), faults.sorted())
}

fn build(settings: Settings, root: PathBuf, environment: String, warnings: Vec<Fault>, effective: Node) -> Config {
    // A path on the command line is relative to the current folder, not to the file.
    let flag = effective.at(&KeyPath::of(&["modulesDir"])).filter(|node| matches!(node.origin, ValueOrigin::Flag(_)));
    let modules_dir = flag.map(|_| absolute(Path::new(&settings.modules_dir)));
    let mut config = Config::new(settings, root, environment, effective);
    let sections = config.effective.members().iter();
    config.sse.configured =
        sections.into_iter().any(|section| section.name == "sse" && section.origin != ValueOrigin::Default);
    Config { modules_dir: modules_dir.unwrap_or_else(|| config.modules_dir.clone()), warnings, ..config }
}

fn absolute(path: &Path) -> PathBuf {
    // Collecting the components removes a trailing slash, so that `a/` and `a` are the same path.
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).components().collect()
}

fn environment(sources: &Sources, faults: &mut Faults) -> String {
    let variable = sources.variables.get("FANFARE_ENV").filter(|name| !name.is_empty());
    let (name, origin) = match (&sources.environment, variable) {
        (Some(name), Some(variable)) if name == variable => (name.clone(), ValueOrigin::Variable("FANFARE_ENV".into())),
        (Some(name), _) => (name.clone(), ValueOrigin::Flag("--env".into())),
        (None, Some(name)) => (name.clone(), ValueOrigin::Variable("FANFARE_ENV".into())),
        (None, None) => (DEFAULT_ENVIRONMENT.to_owned(), ValueOrigin::Default),
    };
    if let Err(rule) = formats::check("environment", &name) {
        faults.push(Fault::new(&origin, "", format!("must be {rule}, found {}", quoted(&name))));
    }
    name
}

/// Removes `$schema` and `environments` from the tree, and returns the section that applies.
fn take_section(tree: &mut Node, name: &str, warnings: &mut Vec<Fault>) -> Option<Node> {
    tree.remove("$schema");
    let mut environments = tree.remove("environments")?;
    if let Some(mut section) = environments.remove(name) {
        mark(&mut section, &Arc::from(name));
        return Some(section).filter(|section| !section.is_null());
    }
    let names: Vec<&str> = environments.members().iter().map(|member| member.name.as_str()).collect();
    if name != DEFAULT_ENVIRONMENT && !names.is_empty() {
        let message = format!("no section for the environment {}{}", quoted(name), shape::did_you_mean(name, &names));
        warnings.push(Fault::new(&environments.origin, "environments", message));
    }
    None
}

/// Records the section's name in the origins of its values.
fn mark(node: &mut Node, name: &Arc<str>) {
    if let ValueOrigin::File { environment, .. } = &mut node.origin {
        *environment = Some(name.clone());
    }
    match &mut node.value {
        Value::Object(members) => members.iter_mut().for_each(|Member { node, .. }| mark(node, name)),
        Value::List(items) => items.iter_mut().for_each(|item| mark(item, name)),
        _ => {}
    }
}

fn flags(sources: &Sources) -> Node {
    let Flags { modules, workers, listen, admin } = &sources.flags;
    let given = [
        ("--modules", "FANFARE_MODULES_DIR", modules),
        ("--workers", "FANFARE_WORKERS", workers),
        ("--listen", "FANFARE_HTTP_LISTEN", listen),
        ("--admin", "FANFARE_ADMIN_LISTEN", admin),
    ];
    let mut tree = Node::object(&ValueOrigin::Default);
    for (flag, variable, text) in given {
        let (Some(text), Some(key)) = (text, variables::known().get(variable)) else { continue };
        // The command line fills the flag from the variable, so an equal value is the variable's.
        if sources.variables.get(variable) != Some(text) {
            let origin = ValueOrigin::Flag(flag.into());
            variables::insert(&mut tree, &key.path, Node::new(&origin, key.value(text)), &origin);
        }
    }
    tree
}

/// Checks the rules about several values. Skips a rule if one of its values has a fault already.
fn relations(settings: &Settings, tree: &Node, faults: &mut Faults) {
    let relation = Relation::new(tree, faults);
    let found = [relation.listeners(), relation.credentials(), relation.backoff(), relation.ping(), relation.silence()];
    let found = found.into_iter().flatten().chain(relation.headers()).chain(relation.events());
    let found = found.chain(relation.redis(settings));
    let web_sockets = settings.websocket.faults(&settings.sse.path);
    let found = found.chain(web_sockets.into_iter().map(|(path, message)| relation.fault(&path, message)));
    found.chain(relation.ceilings(settings)).for_each(|fault| faults.push(fault));
}

/// Whether two listeners cannot both bind their addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() != 0 && one.port() == other.port() && (all || one.ip() == other.ip())
}

struct Relation<'a> {
    tree: &'a Node,
    faulty: HashSet<String>,
}

impl Relation<'_> {
    fn new<'a>(tree: &'a Node, faults: &Faults) -> Relation<'a> {
        Relation { tree, faulty: faults.list().iter().map(|fault| fault.key.clone()).collect() }
    }

    fn value<T: DeserializeOwned>(&self, path: &KeyPath) -> Option<T> {
        let node = self.tree.at(path)?;
        let sound = !self.faulty.contains(&path.to_string());
        sound.then(|| node.read()).flatten()
    }

    /// The address of a listener.
    fn address(&self, path: &KeyPath) -> Option<SocketAddr> {
        formats::address(&self.value::<String>(path)?)
    }

    fn fault(&self, path: &KeyPath, message: String) -> Fault {
        Fault::new(&self.place(path), path, message)
    }

    fn place(&self, path: &KeyPath) -> ValueOrigin {
        self.tree.nearest(path).origin.clone()
    }

    fn listeners(&self) -> Option<Fault> {
        let (listen, admin) = (KeyPath::of(&["http", "listen"]), KeyPath::of(&["admin", "listen"]));
        let (http, other) = (self.address(&listen)?, self.address(&admin)?);
        let same = overlap(http, other);
        let place = self.place(&listen);
        same.then(|| {
            self.fault(
                &admin,
                format!("must not overlap http.listen ({http}, {place}), found {other}: use another port"),
            )
        })
    }

    /// The event service has a listener that overlaps no other, or uses another service. Without a
    /// token, only processes of this machine may reach it.
    fn events(&self) -> Vec<Fault> {
        let key = |name| KeyPath::of(&["events", name]);
        let text = |name| self.value::<String>(&key(name));
        let mut faults = Vec::new();
        if let (Some(file), Some(_)) = (text("tokenFile"), text("tokenVariable")) {
            let message = format!("must not be set together with events.tokenFile ({}): remove one", quoted(&file));
            faults.push(self.fault(&key("tokenVariable"), message));
        }
        let Some(listen) = self.address(&key("listen")) else { return faults };
        if text("connect").is_some() {
            let message = format!("must not be set together with events.listen ({listen}): remove one");
            faults.push(self.fault(&key("connect"), message));
        }
        let has_token = text("tokenFile").is_some() || text("tokenVariable").is_some();
        if !listen.ip().is_loopback() && !has_token {
            let message = format!(
                "must be a loopback address such as 127.0.0.1 while the service has no token, found {listen}: set \
                 events.tokenFile or events.tokenVariable"
            );
            faults.push(self.fault(&key("listen"), message));
        }
        for name in ["http", "admin"] {
            let path = KeyPath::of(&[name, "listen"]);
            if let Some(other) = self.address(&path)
                && overlap(listen, other)
            {
                let place = self.place(&path);
                let message = format!("must not overlap {path} ({other}, {place}), found {listen}: use another port");
                faults.push(self.fault(&key("listen"), message));
            }
        }
        faults
    }

    fn credentials(&self) -> Option<Fault> {
        let path = KeyPath::of(&["http", "cors", "credentials"]);
        let origins: Vec<String> = self.value(&KeyPath::of(&["http", "cors", "origins"]))?;
        let both = self.value(&path)? && origins.iter().any(|origin| origin == "*");
        both.then(|| {
            self.fault(
                &path,
                "must be false while http.cors.origins has \"*\", found true: list the origins instead of \"*\""
                    .to_owned(),
            )
        })
    }

    /// A host for streams only may be meant like this.
    fn clients(&self) -> Option<Fault> {
        let (path, other) = (KeyPath::of(&["sse", "maxClients"]), KeyPath::of(&["http", "maxConnections"]));
        let (clients, connections): (u64, u64) = (self.value(&path)?, self.value(&other)?);
        let place = self.place(&other);
        (clients >= connections).then(|| {
            let message = format!(
                "is not lower than http.maxConnections ({connections}, {place}), found {clients}: streams over \
                 HTTP/1.x that are idle can take every connection, so lower it or raise http.maxConnections"
            );
            self.fault(&path, message)
        })
    }

    /// A shorter interval would only keep the host busy.
    fn ping(&self) -> Option<Fault> {
        let path = KeyPath::of(&["sse", "pingInterval"]);
        let interval: Time = self.value(&path)?;
        (1..100)
            .contains(&interval.number())
            .then(|| self.fault(&path, format!("must be 0 to send no pings, or at least 100ms, found {interval}")))
    }

    /// A client that answers every ping must never be silent for too long.
    fn silence(&self) -> Option<Fault> {
        let (ping, timeout) = (KeyPath::of(&["websocket", "pingInterval"]), KeyPath::of(&["websocket", "pingTimeout"]));
        let (interval, most): (Time, Time) = (self.value(&ping)?, self.value(&timeout)?);
        let place = self.place(&ping);
        (most <= interval).then(|| {
            let message = format!("must be longer than websocket.pingInterval ({interval}, {place}), found {most}");
            self.fault(&timeout, message)
        })
    }

    /// Header names are the same in upper and lower case, but the file can have both.
    fn headers(&self) -> Vec<Fault> {
        let path = KeyPath::of(&["sse", "headers"]);
        let members = self.tree.at(&path).map(Node::members).unwrap_or_default();
        let mut seen: Vec<(String, &str)> = Vec::new();
        let mut faults = Vec::new();
        for Member { name, .. } in members {
            let lower = name.to_ascii_lowercase();
            match seen.iter().find(|(other, _)| *other == lower) {
                Some((_, first)) => {
                    faults.push(
                        self.fault(&path.key(name), format!("is the same header as {}: remove one", quoted(first))),
                    );
                }
                None => seen.push((lower, name)),
            }
        }
        faults
    }

    fn backoff(&self) -> Option<Fault> {
        let (first, last) =
            (KeyPath::of(&["isolate", "restartBackoff"]), KeyPath::of(&["isolate", "restartBackoffMax"]));
        let (least, most): (Time, Time) = (self.value(&first)?, self.value(&last)?);
        let place = self.place(&first);
        (most < least).then(|| {
            self.fault(&last, format!("must be at least isolate.restartBackoff ({least}, {place}), found {most}"))
        })
    }

    /// The rules of each connection to Redis.
    fn redis(&self, settings: &Settings) -> Vec<Fault> {
        let section = KeyPath::of(&["redis"]);
        let is_one = self.tree.at(&section.key("url")).is_some() || self.tree.at(&section.key(DEFAULT)).is_none();
        let mut faults = Vec::new();
        for (name, connection) in &settings.redis.0 {
            let path = if name == DEFAULT && is_one { section.clone() } else { section.key(name) };
            if connection.url.is_empty() && !self.faulty.contains(&path.key("url").to_string()) {
                // The section itself comes from the defaults.
                let member = self.tree.at(&path).and_then(|node| node.members().first());
                let place = member.map_or_else(|| self.place(&path), |member| member.node.origin.clone());
                let message = "is required, such as \"redis://127.0.0.1:6379\"".to_owned();
                faults.push(Fault::new(&place, path.key("url"), message));
            }
            let mut rule = |key: &str, broken: bool, message: String| {
                let key = path.key(key);
                if broken && !self.faulty.contains(&key.to_string()) {
                    faults.push(self.fault(&key, message));
                }
            };
            let both = connection.password_file.is_some() && connection.password_variable.is_some();
            rule("passwordVariable", both, "must not be set together with passwordFile: remove one".to_owned());
            let plain = connection.address().is_some_and(|address| !address.tls);
            let needless = connection.ca.is_some() && plain;
            rule("ca", needless, "needs a `url` that begins with `rediss://`".to_owned());
            let (least, most) = (Time(connection.reconnect), Time(connection.reconnect_max));
            let message = format!("must be at least reconnect ({least}), found {most}");
            let sound = !self.faulty.contains(&path.key("reconnect").to_string());
            rule("reconnectMax", sound && connection.reconnect_max < connection.reconnect, message);
        }
        faults
    }

    /// Compares the operator's limits for each module with the ceiling.
    fn ceilings(&self, settings: &Settings) -> Vec<Fault> {
        let ceiling = &settings.limits.max;
        let mut faults = Vec::new();
        for Member { name, node, .. } in self.tree.get("modules").map(Node::members).unwrap_or_default() {
            let Some(patch) = node.get("limits").and_then(Node::read) else { continue };
            for exceeded in Limits::default().capped(ceiling).with(&patch).exceeding(ceiling) {
                let highest = KeyPath::of(&["limits", "max", exceeded.key]);
                if self.faulty.contains(&highest.to_string()) {
                    continue;
                }
                let message = format!(
                    "must be at most {}, the ceiling {highest} ({}), found {}: lower it, or raise the ceiling",
                    exceeded.ceiling,
                    self.place(&highest),
                    exceeded.requested
                );
                faults.push(self.fault(&KeyPath::of(&["modules", name, "limits", exceeded.key]), message));
            }
        }
        faults
    }
}
