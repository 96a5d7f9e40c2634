//! Rules about several settings at once.

use std::collections::HashSet;
use std::net::SocketAddr;

use serde::de::DeserializeOwned;

use super::cluster::ClusterConfig;
use super::formats;
use super::limits::Limits;
use super::module::SecretConfig;
use super::redis::DEFAULT;
use super::settings::Settings;
use crate::document::fault::{Fault, Faults, ValueOrigin};
use crate::document::shape::did_you_mean;
use crate::document::tree::{Member, Node, Path as KeyPath, quoted};
use crate::document::units::Time;

/// Checks the rules about several values. Skips a rule if one of its values has a fault already.
pub fn check(settings: &Settings, tree: &Node, faults: &mut Faults) {
    let relation = Relation::new(tree, faults);
    let found = [relation.listeners(), relation.credentials(), relation.backoff(), relation.ping(), relation.silence()];
    let found = found.into_iter().flatten().chain(relation.headers()).chain(relation.events());
    let found = found.chain(relation.redis(settings)).chain(relation.secrets(settings));
    let found = found.chain(relation.stores(settings)).chain(relation.cluster(settings));
    let web_sockets = settings.websocket.faults(&settings.sse.path);
    let found = found.chain(web_sockets.into_iter().map(|(path, message)| relation.fault(&path, message)));
    found.chain(relation.ceilings(settings)).for_each(|fault| faults.push(fault));
}

/// Warns of values that fit each other, but may not be meant.
pub fn warning(tree: &Node, faults: &Faults) -> Option<Fault> {
    Relation::new(tree, faults).clients()
}

/// Whether two listeners cannot both bind their addresses.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let all = one.is_ipv4() == other.is_ipv4() && (one.ip().is_unspecified() || other.ip().is_unspecified());
    one.port() != 0 && one.port() == other.port() && (all || one.ip() == other.ip())
}

/// The values that rules look at.
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
            let message = formats::excludes(&format!("events.tokenFile ({})", quoted(&file)));
            faults.push(self.fault(&key("tokenVariable"), message));
        }
        let Some(listen) = self.address(&key("listen")) else { return faults };
        if text("connect").is_some() {
            let message = formats::excludes(&format!("events.listen ({listen})"));
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
    /// A node that is silent for one heartbeat is not gone. There is one way to log in to NATS.
    /// Each entry says one way to find a node, and its server type exists.
    fn routers(&self, cluster: &ClusterConfig) -> Vec<Fault> {
        let types: Vec<&str> = cluster.servers.keys().map(String::as_str).collect();
        let mut faults = Vec::new();
        for (server, router) in &cluster.routers {
            let path = KeyPath::of(&["cluster", "routers", server]);
            let ways = (router.session.is_some(), router.module.is_some(), router.path.is_some());
            if !matches!(ways, (true, false, false) | (false, true, true)) {
                faults.push(self.fault(&path, "must have `session`, or both `module` and `path`".to_owned()));
            }
            if !types.is_empty() && !types.contains(&server.as_str()) {
                let near = did_you_mean(server, &types);
                let message = format!("there is no such server type in cluster.servers{near}: rename or remove it");
                faults.push(self.fault(&path, message));
            }
        }
        faults
    }

    fn cluster(&self, settings: &Settings) -> Vec<Fault> {
        let key = |name: &str| KeyPath::of(&["cluster", name]);
        let cluster = &settings.cluster;
        let mut faults = Vec::new();
        let mut rule = |name, others: &[&str], broken: bool, message: String| {
            let sound = |name: &&str| !self.faulty.contains(&key(name).to_string());
            if broken && others.iter().chain([&name]).all(sound) {
                faults.push(self.fault(&key(name), message));
            }
        };
        let least = cluster.heartbeat * 2;
        let message = format!("must be at least twice heartbeat ({}), found {}", Time(least), Time(cluster.gone_after));
        rule("goneAfter", &["heartbeat"], cluster.gone_after < least, message);
        let password = cluster.password_file.is_some() || cluster.password_variable.is_some();
        rule("username", &[], cluster.username.is_some() && !password, "needs passwordFile or passwordVariable".into());
        let ways = [
            ("username", cluster.username.is_some()),
            ("passwordFile", cluster.password_file.is_some()),
            ("passwordVariable", cluster.password_variable.is_some()),
            ("tokenFile", cluster.token_file.is_some()),
            ("tokenVariable", cluster.token_variable.is_some()),
            ("nkeyFile", cluster.nkey_file.is_some()),
            ("credentialsFile", cluster.credentials_file.is_some()),
        ];
        let set: Vec<&str> = ways.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect();
        match set.as_slice() {
            [] | [_] | ["username", "passwordFile" | "passwordVariable"] => {}
            [first, .., last] => rule(last, &[], true, formats::excludes(first)),
        }
        if matches!(set.as_slice(), ["passwordFile" | "passwordVariable"]) {
            rule(set.first().copied().unwrap_or_default(), &[], true, "needs username".to_owned());
        }
        let plain = cluster.addresses().first().is_some_and(|server| !server.tls);
        let files = [("ca", &cluster.ca), ("certificate", &cluster.certificate), ("key", &cluster.key)];
        for (name, file) in files {
            let message = "needs a `nats` whose addresses begin with `tls://`".to_owned();
            rule(name, &["nats"], file.is_some() && plain, message);
        }
        rule("certificate", &[], cluster.certificate.is_some() && cluster.key.is_none(), "needs key".to_owned());
        rule("key", &[], cluster.key.is_some() && cluster.certificate.is_none(), "needs certificate".to_owned());
        faults.extend(self.routers(cluster));
        faults
    }

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
            rule("passwordVariable", both, formats::excludes("passwordFile"));
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

    /// A store names a connection that exists.
    fn stores(&self, settings: &Settings) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (name, store) in &settings.keyvalue.0 {
            let path = KeyPath::of(&["keyvalue", name]);
            let mut rule = |key: &str, message: String| {
                let key = path.key(key);
                if !self.faulty.contains(&key.to_string()) {
                    faults.push(self.fault(&key, message));
                }
            };
            match &store.redis {
                Some(connection) if !settings.redis.0.contains_key(connection) => {
                    let known: Vec<&str> = settings.redis.0.keys().map(String::as_str).collect();
                    let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
                    let found = quoted(connection);
                    rule("redis", format!("must be a connection of `redis`, which has {known}, found {found}"));
                }
                None if store.prefix.is_some() => rule("prefix", "needs `redis`, which names the server".to_owned()),
                _ => {}
            }
        }
        faults
    }

    /// A secret of a module is in one place.
    fn secrets(&self, settings: &Settings) -> Vec<Fault> {
        let all = settings
            .modules
            .iter()
            .flat_map(|(module, section)| section.secrets.iter().map(move |(name, secret)| (module, name, secret)));
        let fault = |(module, name, secret): (&String, &String, &SecretConfig)| {
            let rule = match (&secret.file, &secret.variable) {
                (None, None) => "must have `file` or `variable`, which say where the secret is",
                (Some(_), Some(_)) => "must not have both `file` and `variable`: remove one",
                _ => return None,
            };
            let path = KeyPath::of(&["modules", module, "secrets", name]);
            let sound = !self.faulty.iter().any(|faulty| faulty.starts_with(&path.to_string()));
            sound.then(|| self.fault(&path, rule.to_owned()))
        };
        all.filter_map(fault).collect()
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
