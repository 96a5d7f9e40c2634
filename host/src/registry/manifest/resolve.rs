//! Combines a manifest with the operator's settings for the module.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::model::Manifest;
use super::patterns::PatternKind;
use super::schedules::{self, Off, Schedule};
use super::subscriptions::{DeclaredSubscription, NatsSource, Source, SourceKind};
use crate::call::Payload;
use crate::config::capabilities::{ALL, Capability};
use crate::config::{Config, Limits, ModuleConfig};
use crate::document::fault::{Fault, Faults};
use crate::document::merge::overlay_json;
use crate::document::shape::did_you_mean;
use crate::document::tree::{Node, Path as KeyPath};
use crate::document::units::Size;

/// Returns the values that guests read: those of `module.json`, overlaid by the operator's and then
/// by those of the subdomain. Objects merge, arrays and scalars replace, `null` removes.
pub fn effective_config(manifest: &Manifest, operator: &ModuleConfig, subdomain: Option<&str>) -> Value {
    let mut values = Map::new();
    overlay_json(&mut values, &manifest.config);
    overlay_json(&mut values, &operator.config);
    if let Some(section) = subdomain.and_then(|name| operator.subdomains.get(name)) {
        overlay_json(&mut values, &section.config);
    }
    values.into()
}

/// Returns the limits of an instance: the defaults, overlaid by `module.json` and then by the
/// operator's. The ceiling `limits.max` lowers a default above it; a written value above it is a
/// fault.
pub fn effective_limits(manifest: &Manifest, config: &Config) -> Result<Limits, Faults> {
    let ceiling = &config.limits.max;
    let operator = config.module(&manifest.name).limits;
    let limits = Limits::default().capped(ceiling).with(&manifest.limits).with(&operator);
    let mut faults = Faults::default();
    for exceeded in limits.exceeding(ceiling) {
        let own = KeyPath::of(&["limits", exceeded.key]);
        let over = KeyPath::of(&["modules", &manifest.name, "limits", exceeded.key]);
        let (node, path) = match config.effective.at(&over) {
            Some(node) => (node, over),
            None => (manifest.source.nearest(&own), own),
        };
        let highest = config.origin(&KeyPath::of(&["limits", "max", exceeded.key]));
        let message = format!(
            "must be at most {}, the operator's ceiling limits.max.{} ({highest}), found {}: ask for less, or raise the ceiling",
            exceeded.ceiling, exceeded.key, exceeded.requested
        );
        faults.push(Fault::new(&node.origin, path, message));
    }
    if let Some(fault) = oversized_queues(manifest, config, &limits) {
        faults.push(fault);
    }
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
}

/// The queues of a module's subscriptions, if they exceed `limits.subscriptionQueues` together.
fn oversized_queues(manifest: &Manifest, config: &Config, limits: &Limits) -> Option<Fault> {
    let most = limits.subscription_queues;
    let with_queue =
        manifest.subscriptions.values().filter(|one| one.route().is_some() && one.is_in(&config.environment));
    let sum = with_queue.fold(0u64, |sum, one| sum.saturating_add(one.settings.bytes));
    let path = KeyPath::of(&["subscriptions"]);
    let message = || {
        format!(
            "have queues of {} together, but limits.subscriptionQueues is {}: make `queue.bytes` smaller, or raise the \
             limit",
            Size::from(sum),
            Size::from(most)
        )
    };
    (sum > most).then(|| Fault::new(&manifest.source.nearest(&path).origin, path, message()))
}

/// Checks that the operator has given `/` to a module that asks for it.
pub fn check_mount(manifest: &Manifest, config: &Config) -> Result<(), Faults> {
    let name = &manifest.name;
    if manifest.mount.is_none() || config.http.mount.as_ref() == Some(name) {
        return Ok(());
    }
    let path = KeyPath::of(&["mount"]);
    let given = match &config.http.mount {
        Some(other) => format!("`http.mount` of fanfare.json gives to {other}"),
        None => "`http.mount` of fanfare.json gives to no module".to_owned(),
    };
    let message = format!("asks for `/`, which {given}: remove `mount`, or set `http.mount` to \"{name}\"");
    Err(Fault::new(&manifest.source.nearest(&path).origin, path, message).into())
}

/// Checks that the operator has granted every capability that the module asks for. Returns a fault
/// for each that is missing, with the command that grants it.
pub fn check_grants(manifest: &Manifest, config: &Config) -> Result<(), Faults> {
    let lacking = manifest.capabilities.lacking(&config.module(&manifest.name).grants);
    let mut faults = Faults::default();
    for (kind, name) in lacking.requests() {
        let path = place_of_request(manifest, kind, name.as_deref());
        let what = match name.as_deref() {
            None => kind.verb.to_owned(),
            Some(ALL) => format!("{} {}", kind.verb, kind.every),
            Some(name) => format!("{} {name}", kind.verb),
        };
        let message = format!("asks to {what}, which is not granted: run `fanfare grant {}`", manifest.name);
        faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
    }
    faults.extend(secrets_without_place(manifest, config));
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// A fault for each secret that is granted and has no place.
fn secrets_without_place(manifest: &Manifest, config: &Config) -> Faults {
    let operator = config.module(&manifest.name);
    let asked = manifest.capabilities.secrets.0.iter().filter(|name| operator.grants.secrets.allow(name));
    let mut faults = Faults::default();
    for name in asked.filter(|name| !operator.secrets.contains_key(*name)) {
        let path = KeyPath::of(&["modules", &manifest.name, "secrets", name]);
        let message = format!(
            "is required, because {} reads the secret {name}: write `{{ \"file\": \"..\" }}` or \
             `{{ \"variable\": \"..\" }}` in fanfare.json",
            manifest.name
        );
        faults.push(Fault::new(&config.origin(&path), path, message));
    }
    faults
}

/// Checks that the settings have each connection that a subscription of the module needs. A running
/// host warns of those that it lacks, and loads the module.
pub fn check_connections(manifest: &Manifest, config: &Config) -> Result<(), Faults> {
    let known: Vec<&str> = config.redis.0.keys().map(String::as_str).collect();
    let mut faults = Faults::default();
    for (name, one) in &manifest.subscriptions {
        if one.source.kind() == SourceKind::Nats && config.cluster.nats.is_none() && one.is_in(&config.environment) {
            let path = KeyPath::of(&["subscriptions", name, "nats"]);
            let message = format!("needs the NATS servers, which fanfare.json does not name: {NATS_EXAMPLE}");
            faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
        }
        let wanted = one.connection().filter(|_| one.is_in(&config.environment));
        let Some(connection) = wanted.filter(|connection| !known.contains(connection)) else { continue };
        let path = KeyPath::of(&["subscriptions", name, "connection"]);
        let message = format!(
            "needs the connection `{connection}`, which `redis` in fanfare.json does not have: add it there, or name another connection{}",
            did_you_mean(connection, &known)
        );
        faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
    }
    for name in manifest.durable.keys().filter(|_| config.cluster.nats.is_none()) {
        let path = KeyPath::of(&["broadcasts", name, "delivery"]);
        let message = format!("durable broadcasts need NATS servers, which fanfare.json does not name: {NATS_EXAMPLE}");
        faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
    }
    for (pattern, _) in manifest.channels.iter().filter(|(_, channel)| channel.settings.is_in_cluster()) {
        if config.cluster.nats.is_some() {
            break;
        }
        let path = KeyPath::of(&["channels", pattern, "history", "keep"]);
        let message = format!(
            "histories that the cluster keeps need NATS servers, which fanfare.json does not name: {NATS_EXAMPLE}"
        );
        faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// How to name NATS servers.
const NATS_EXAMPLE: &str = "set `\"cluster\": { \"nats\": \"nats://127.0.0.1:4222\" }`";

/// Checks that a subscription to NATS stays off the subjects between nodes.
pub fn check_subjects(manifest: &Manifest, config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::default();
    for (name, one) in &manifest.subscriptions {
        let Source::Nats(NatsSource { subject, .. }) = &one.source else { continue };
        if config.cluster.owns(subject) {
            let path = KeyPath::of(&["subscriptions", name, "nats"]);
            let message = format!(
                "must not begin with \"{}.\", because the nodes of the cluster use these subjects: choose others, or \
                 change cluster.name",
                config.cluster.name
            );
            faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// Checks that the host has brokers if a route of the module runs there.
pub fn check_brokers(manifest: &Manifest, config: &Config) -> Result<(), Faults> {
    let mut faults = Faults::default();
    let place = config.origin(&KeyPath::of(&["brokers"]));
    for pattern in manifest.routed_channels().filter(|_| config.brokers == 0) {
        let path = KeyPath::of(&[PatternKind::Channel.section(), pattern, "path"]);
        let message = format!(
            "needs a broker to run the route in, but `brokers` is 0 ({place}): set `brokers` to 1 or more in \
             fanfare.json, or remove `path`"
        );
        faults.push(Fault::new(&manifest.source.nearest(&path).origin, path, message));
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The place of a request for a capability: an entry of `capabilities`, a subscription, which asks
/// for `subscribe` or `sse`, or a pattern in `streams` or `channels`, which asks for `sse` or
/// `channels`.
fn place_of_request(manifest: &Manifest, kind: &Capability, name: Option<&str>) -> KeyPath {
    let path = KeyPath::of(&["capabilities", kind.key]);
    let Some(name) = name else { return path };
    if let Some((guest, _)) = name.split_once(" (").filter(|_| kind.key == "dirs") {
        return path.key(guest);
    }
    let items = manifest.source.at(&path).map(Node::items).unwrap_or_default();
    match items.iter().position(|item| item.as_text() == Some(name)) {
        Some(index) => path.index(index),
        None if kind.key == PatternKind::Channel.capability() => KeyPath::of(&[PatternKind::Channel.section(), name]),
        None => {
            let asks =
                |one: &DeclaredSubscription| [one.fed_keys(), one.outside_topic()].contains(&Some(name.to_owned()));
            match manifest.subscriptions.iter().find(|(_, one)| asks(one)) {
                Some((own, _)) if manifest.streams.patterns().all(|pattern| pattern != name) => {
                    KeyPath::of(&["subscriptions", own])
                }
                _ => KeyPath::of(&["streams", name]),
            }
        }
    }
}

/// Returns the schedules of a module with the operator's settings, in the order of their names:
/// each without a subdomain, and once for each subdomain that names it.
pub fn effective_schedules(manifest: &Manifest, config: &Config, limits: &Limits) -> Result<Vec<Schedule>, Faults> {
    let operator = config.module(&manifest.name);
    let mut faults = Faults::default();
    let mut all_schedules = Vec::new();
    for (name, declared) in &manifest.schedules {
        let over = operator.schedules.get(name).cloned().unwrap_or_default();
        let settings = declared.settings.with(&over);
        let section = KeyPath::of(&["modules", &manifest.name]);
        let mut all = vec![(None, settings.clone(), section.key("schedules").key(name))];
        for (subdomain, section_of) in &operator.subdomains {
            if let Some(own) = section_of.schedules.get(name) {
                let path = section.key("subdomains").key(subdomain).key("schedules").key(name);
                all.push((Some(Arc::<str>::from(subdomain.as_str())), settings.with(own), path));
            }
        }
        for (subdomain, settings, path) in all {
            let own = KeyPath::of(&["schedules", name]);
            let (node, path) = match config.effective.at(&path) {
                Some(node) => (node, path),
                None => (manifest.source.nearest(&own), own),
            };
            let data = settings.data.as_ref().map_or(Payload::None, |data| Payload::Text(data.to_string()));
            if data.len() as u64 > limits.payload {
                let (size, most) = (data.len(), limits.payload);
                let message = format!("must have at most {most} bytes as JSON (limits.payload), found {size}");
                let path = path.key("data");
                faults.push(Fault::new(&node.get("data").unwrap_or(node).origin, path, message));
                continue;
            }
            let runs_here = declared.env.is_empty() || declared.env.contains(&config.environment);
            match schedules::check(declared.kind, &settings) {
                Ok(timing) => all_schedules.push(Schedule {
                    name: name.as_str().into(),
                    subdomain,
                    kind: declared.kind,
                    timing,
                    immediate: settings.immediate.unwrap_or_default(),
                    overlap: settings.overlap.unwrap_or_default(),
                    when_alone: settings.when_alone.unwrap_or_default(),
                    durable: schedules::durable(&settings),
                    off: match (settings.disable, runs_here) {
                        (Some(true), _) => Some(Off::Disabled),
                        (_, false) => Some(Off::Environment),
                        _ => None,
                    },
                    data,
                }),
                Err((key, rule)) => {
                    let origin = key.and_then(|key| node.get(key)).unwrap_or(node).origin.clone();
                    let path = key.map_or(path.clone(), |key| path.key(key));
                    faults.push(Fault::new(&origin, path, rule));
                }
            }
        }
    }
    if faults.is_empty() { Ok(all_schedules) } else { Err(faults) }
}

/// The schedules that the operator names and the module does not have, with their places.
pub fn unknown_schedules(manifest: &Manifest, config: &Config) -> Vec<Fault> {
    let operator = config.module(&manifest.name);
    let section = KeyPath::of(&["modules", &manifest.name]);
    let own = operator.schedules.keys().map(|name| (section.key("schedules").key(name), name));
    let of_subdomains = operator.subdomains.iter().flat_map(|(subdomain, section_of)| {
        let path = section.key("subdomains").key(subdomain).key("schedules");
        section_of.schedules.keys().map(move |name| (path.key(name), name))
    });
    let unknown = own.chain(of_subdomains).filter(|(_, name)| !manifest.schedules.contains_key(*name));
    let known: Vec<&str> = manifest.schedules.keys().map(String::as_str).collect();
    let fault = |(path, name): (KeyPath, &String)| {
        let near = did_you_mean(name, &known);
        let message = format!("has no effect, because {} has no schedule of this name{near}", manifest.name);
        Fault::new(&config.effective.nearest(&path).origin, path, message)
    };
    unknown.map(fault).collect()
}
