//! The servers of a cluster, read from `cluster.servers`, and which of them this node is.
//!
//! [`Servers::of`] reads the tree, in which each value has its place in the file, so that errors
//! name it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use serde_json::{Map, Value as Json};

use super::formats;
use super::servers::{KNOWN, MAX_SERVERS, Ports, ServerEntry, this_machine};
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::merge::overlay;
use crate::document::shape::{did_you_mean, list, nearest};
use crate::document::tree::{Member, Node, Path as KeyPath, Value, quoted};

/// The names that an id must not have, because `stateDir` has files and folders of these names.
const RESERVED: &[&str] = &["build", "cache", "dirs", "generations", "lock", "schedules"];

/// The most bytes of the keys of an entry that the host does not know, as JSON.
pub const MAX_SERVER_SETTINGS: usize = 16 << 10;

/// The keys of the file that an entry cannot override.
const FIXED: &[&str] = &["$schema", "cluster", "environments", "node"];

/// One server of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerConfig {
    /// The id of the node.
    pub id: String,
    /// The server type.
    pub server: String,
    /// The machine.
    pub host: String,
    /// The port of the admin listener.
    pub port: u16,
    /// Whether clients connect to it.
    pub frontend: bool,
    /// The port for clients.
    pub client_port: Option<u16>,
    /// The modules that it serves. `None` means all.
    pub modules: Option<Vec<String>>,
    /// More arguments for `fanfare serve`.
    pub args: Vec<String>,
    /// The keys of the entry that the host does not know.
    pub settings: Map<String, Json>,
    /// The place of the entry in the settings.
    pub(crate) place: KeyPath,
    /// The entry, with the keys that all entries of the type have.
    node: Arc<Node>,
}

impl ServerConfig {
    /// Whether it serves a module, if its folder has it.
    pub fn serves(&self, module: &str) -> bool {
        self.modules.as_ref().is_none_or(|modules| modules.iter().any(|name| name == module))
    }

    /// Where a key of the entry is, or else the entry.
    pub(super) fn origin(&self, key: &str) -> ValueOrigin {
        self.node.get(key).map_or_else(|| self.node.origin.clone(), |value| value.origin.clone())
    }

    /// What the server overrides, with its place.
    pub(super) fn overrides(&self) -> Option<(&Node, KeyPath)> {
        Some((self.node.get("overrides")?, self.place.key("overrides")))
    }

    /// Whether two servers are on one machine, as far as the names tell.
    fn machine(&self) -> String {
        match is_loopback(&self.host) {
            true => this_machine(),
            false => self.host.to_ascii_lowercase(),
        }
    }

    /// The settings of this server. `lower` are those that it overrides.
    pub(super) fn layer(&self, lower: &Node) -> Node {
        let mut layer = self.node.get("overrides").cloned().unwrap_or_else(|| Node::object(&self.node.origin));
        let address = |layer: &Node, section: &str, port: u16| {
            let path = KeyPath::of(&[section, "listen"]);
            let text = [layer, lower].into_iter().find_map(|tree| tree.at(&path)?.as_text());
            let ip = text.and_then(formats::address).map_or(IpAddr::from(Ipv4Addr::LOCALHOST), |address| address.ip());
            SocketAddr::new(ip, port).to_string()
        };
        // A node without clients binds no port for them.
        let client_port = self.client_port.filter(|_| self.frontend).unwrap_or_default();
        let values = [
            (["node", "id"], self.id.clone(), self.origin("id")),
            (["node", "server"], self.server.clone(), self.origin("id")),
            (["admin", "listen"], address(&layer, "admin", self.port), self.origin("port")),
            (["http", "listen"], address(&layer, "http", client_port), self.origin("clientPort")),
        ];
        for ([section, key], text, origin) in values {
            let mut inner = Node::object(&origin);
            insert(&mut inner, key, Node::new(&origin, Value::Text(text)), &origin);
            let mut outer = Node::object(&origin);
            insert(&mut outer, section, inner, &origin);
            overlay(&mut layer, outer);
        }
        layer
    }
}

fn insert(object: &mut Node, name: &str, node: Node, origin: &ValueOrigin) {
    if let Value::Object(members) = &mut object.value {
        members.push(Member { name: name.to_owned(), origin: origin.clone(), node });
    }
}

/// Whether a name means this machine on every machine.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// The servers of all types, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Servers {
    pub(super) list: Vec<ServerConfig>,
    pub(super) warnings: Vec<Fault>,
}

impl Servers {
    /// Reads the servers, and adds what is wrong with them. Skips what breaks the schema, because
    /// the faults have it already.
    pub(super) fn of(tree: &Node, faults: &mut Faults) -> Servers {
        let path = KeyPath::of(&["cluster", "servers"]);
        let mut servers = Servers::default();
        let types = tree.at(&path).map(Node::members).unwrap_or_default();
        for member in types {
            let path = path.key(&member.name);
            let mut shared = member.node.clone();
            let (entries, at) = match (&member.node.value, shared.remove("servers")) {
                (Value::List(entries), _) => {
                    shared = Node::object(&member.node.origin);
                    (entries.clone(), path.clone())
                }
                (Value::Object(_), Some(Node { value: Value::List(entries), .. })) => (entries, path.key("servers")),
                (Value::Object(_), None) => {
                    let message = "must be a list of servers, or have one in `servers`: write the servers of one \
                                   environment to `environments.<name>.cluster.servers`";
                    faults.push(Fault::new(&member.node.origin, &path, message));
                    continue;
                }
                _ => continue,
            };
            for (index, entry) in entries.into_iter().enumerate() {
                let mut merged = shared.clone();
                let origin = entry.origin.clone();
                overlay(&mut merged, entry);
                merged.origin = origin;
                servers.add(&member.name, merged, at.index(index), faults);
            }
        }
        servers.check_ids(faults);
        servers.check_ports(faults);
        servers
    }

    /// Adds the servers of an entry.
    fn add(&mut self, server: &str, node: Node, place: KeyPath, faults: &mut Faults) {
        let mut fault = |key: &str, message: String| {
            let origin = node.get(key).map_or(&node.origin, |value| &value.origin);
            faults.push(Fault::new(origin, place.key(key), message));
        };
        if node.get("port").is_some_and(|port| matches!(&port.value, Value::List(items) if items.len() != 2)) {
            return fault("port", "must be a port, or a range `[first, last]`".to_owned());
        }
        if let Some(overrides) = node.get("overrides") {
            if !matches!(overrides.value, Value::Object(_)) {
                return fault("overrides", format!("must be an object with keys of this file, found {overrides}"));
            }
            if let Some(name) = FIXED.iter().find(|name| overrides.get(name).is_some()) {
                return fault("overrides", format!("must not have `{name}`, which no server overrides: remove it"));
            }
        }
        let Some(entry) = node.read::<ServerEntry>() else { return };
        let (first, last) = match entry.port {
            Ports::One(port) => (port, port),
            Ports::Range(first, last) => (first, last),
        };
        if first > last {
            return fault("port", format!("must be a range `[first, last]` that has a port, found [{first}, {last}]"));
        }
        let count = last - first;
        if entry.frontend && entry.client_port.is_none() {
            return fault(
                "clientPort",
                "is required, because `frontend` is true: add the port for clients, or remove `frontend`".to_owned(),
            );
        }
        if entry.client_port.is_some_and(|port| port.checked_add(count).is_none()) {
            return fault("clientPort", format!("must leave room for {} ports up to 65535: lower it", count + 1));
        }
        if self.list.len() + usize::from(count) >= MAX_SERVERS {
            return fault("port", format!("makes more than {MAX_SERVERS} servers, the most of a cluster: remove some"));
        }
        if entry.host.is_empty()
            || entry.host.len() > 253
            || entry.host.contains(|c: char| c.is_whitespace() || c == '/')
        {
            return fault(
                "host",
                format!("must be an IP address or the name of a machine, found {}", quoted(&entry.host)),
            );
        }
        let size = Json::from(entry.other.clone()).to_string().len();
        if size > MAX_SERVER_SETTINGS {
            return fault(
                "id",
                format!("has {size} bytes of keys for the modules, more than {MAX_SERVER_SETTINGS}: use `options`"),
            );
        }
        for name in entry.other.keys() {
            if let Some(near) = nearest(name, KNOWN) {
                let message = format!("is kept for the modules; did you mean {}?", quoted(near));
                let origin = node.get(name).map_or(&node.origin, |value| &value.origin);
                self.warnings.push(Fault::new(origin, place.key(name), message));
            }
        }
        let node = Arc::new(node.clone());
        for index in 0..=count {
            let id = match entry.port {
                Ports::One(_) => entry.id.clone(),
                Ports::Range(..) => format!("{}{}", entry.id, u64::from(entry.id_start) + u64::from(index)),
            };
            self.list.push(ServerConfig {
                id,
                server: server.to_owned(),
                host: entry.host.clone(),
                port: first.saturating_add(index),
                frontend: entry.frontend,
                client_port: entry.client_port.map(|port| port.saturating_add(index)),
                modules: entry.modules.clone(),
                args: entry.args.clone().unwrap_or_default(),
                settings: entry.other.clone(),
                place: place.clone(),
                node: node.clone(),
            });
        }
    }

    fn check_ids(&self, faults: &mut Faults) {
        let mut seen: HashMap<&str, &ServerConfig> = HashMap::new();
        for server in &self.list {
            let mut fault = |message| faults.push(Fault::new(&server.origin("id"), server.place.key("id"), message));
            if let Err(rule) = formats::check("node", &server.id) {
                fault(format!("must be {rule}, found {}", quoted(&server.id)));
            } else if RESERVED.contains(&server.id.as_str()) {
                fault(format!("must not be {}, the name of a file of stateDir: rename the server", quoted(&server.id)));
            } else if let Some(other) = seen.insert(&server.id, server) {
                let (id, place) = (quoted(&server.id), other.origin("id"));
                fault(format!("{id} is the id of another server too ({place}): rename one, or set another idStart"));
            }
        }
    }

    /// No port is used twice on one machine.
    fn check_ports(&self, faults: &mut Faults) {
        let mut seen: HashMap<(String, u16), (&ServerConfig, &str)> = HashMap::new();
        for server in &self.list {
            let client = server.client_port.filter(|_| server.frontend).map(|port| ("clientPort", port));
            for (key, port) in [("port", server.port)].into_iter().chain(client) {
                let Some((other, name)) = seen.insert((server.machine(), port), (server, key)) else { continue };
                let (id, host, place) = (&server.id, &server.host, other.origin(name));
                let message = format!(
                    "gives {id} the port {port}, which is the {name} of {} too ({place}), both on {host}: use another port",
                    other.id
                );
                faults.push(Fault::new(&server.origin(key), server.place.key(key), message));
                break;
            }
        }
    }
}

/// Removes the entries that are the master of mydog, and says what Fanfare has in its place.
pub(super) fn refuse_masters(tree: &mut Node) -> Vec<Fault> {
    const MESSAGE: &str = "is not supported, because a cluster has no master: nodes find each other through the NATS \
                           servers of cluster.nats. Set that, and remove this entry";
    let mut faults = Vec::new();
    let mut refuse = |section: &mut Node, path: &KeyPath| {
        let mut take = |from: &mut Node, path: KeyPath| {
            if let Some(master) = from.remove("master") {
                faults.push(Fault::new(&master.origin, path.key("master"), MESSAGE));
            }
        };
        let is_mydog = |master: &Node| ["id", "host", "port"].iter().any(|key| master.get(key).is_some());
        if section.get("master").is_some_and(is_mydog) {
            take(section, path.clone());
        }
        if let Some(cluster) = section.get_mut("cluster") {
            take(cluster, path.key("cluster"));
            if let Some(servers) = cluster.get_mut("servers") {
                take(servers, path.key("cluster").key("servers"));
            }
        }
    };
    refuse(tree, &KeyPath::default());
    if let Some(Node { value: Value::Object(environments), .. }) = tree.get_mut("environments") {
        for member in environments {
            refuse(&mut member.node, &KeyPath::of(&["environments", &member.name]));
        }
    }
    faults
}

/// The environments of the file that have servers.
pub(super) fn environments(tree: &Node) -> Vec<String> {
    let servers = KeyPath::of(&["cluster", "servers"]);
    let environments = tree.get("environments").map(Node::members).unwrap_or_default().iter();
    environments.filter(|member| member.node.at(&servers).is_some()).map(|member| member.name.clone()).collect()
}

/// The server that this node is. An `id` of the file may name no server, that of a flag or a
/// variable must. `elsewhere` are the environments that have servers.
pub(super) fn own<'a>(
    servers: &'a [ServerConfig],
    id: &Node,
    environment: &str,
    elsewhere: &[String],
) -> Result<Option<&'a ServerConfig>, Fault> {
    let name = id.as_text().unwrap_or_default();
    let own = servers.iter().find(|server| server.id == name);
    let is_free = matches!(id.origin, ValueOrigin::File { .. } | ValueOrigin::Default);
    if own.is_some() || is_free || (servers.is_empty() && elsewhere.is_empty()) {
        return Ok(own);
    }
    let ids: Vec<&str> = servers.iter().map(|server| server.id.as_str()).collect();
    let known = match (ids.as_slice(), elsewhere) {
        ([], [.., _]) => {
            let elsewhere: Vec<&str> = elsewhere.iter().map(String::as_str).collect();
            format!("none: choose another environment with --env ({} have servers)", list(&elsewhere))
        }
        (ids, _) if ids.len() > 20 => format!("{} and {} more", list(ids.get(..20).unwrap_or(ids)), ids.len() - 20),
        (ids, _) => list(ids),
    };
    let message = format!(
        "must be the id of a server in cluster.servers, found {}; the environment {} has {known}{}",
        quoted(name),
        quoted(environment),
        did_you_mean(name, &ids)
    );
    Err(Fault::new(&id.origin, "node.id", message))
}
