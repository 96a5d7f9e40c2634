//! Combines a manifest with the operator's settings for the module.

use serde_json::{Map, Value};

use super::model::Manifest;
use crate::config::capabilities::{ALL, Capability};
use crate::config::{Config, Limits, ModuleConfig};
use crate::document::fault::{Fault, Faults};
use crate::document::merge::overlay_json;
use crate::document::tree::{Node, Path as KeyPath};

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
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
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
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The place of a request for a capability: an entry of `capabilities`, or a pattern in `streams`,
/// which asks for `sse`.
fn place_of_request(manifest: &Manifest, kind: &Capability, name: Option<&str>) -> KeyPath {
    let path = KeyPath::of(&["capabilities", kind.key]);
    let Some(name) = name else { return path };
    let items = manifest.source.at(&path).map(Node::items).unwrap_or_default();
    match items.iter().position(|item| item.as_text() == Some(name)) {
        Some(index) => path.index(index),
        None => KeyPath::of(&["streams", name]),
    }
}
