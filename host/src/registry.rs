//! Modules as they are on disk: manifests, components, and what becomes of both, generations.
//!
//! It loads, and never commands: who runs a generation, and when, is for others to say.

mod access;
mod anatomy;
pub mod component;
mod kept;
mod lifts;
mod loader;
pub mod manifest;
mod roster;
pub mod router;
pub mod segment;
mod weight;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde_json::Value;
use wasmtime::component::Component;

pub use access::Access;
pub use anatomy::{Anatomy, AnatomyError, anatomy};
pub use component::Exports;
pub use kept::{Kept, KeptError, Pin, folder_digest};
#[cfg(any(test, fuzzing))]
pub use lifts::follow;
pub use loader::{Candidate, LoadError, Loader, Placing};
pub use manifest::{Isolation, Manifest, Middleware, PlaceKinds, Rollout};
pub use roster::{ModuleState, Note, Roster};
pub use router::{Found, Matched, RouteSpec, Router};
pub use weight::Weight;

use crate::call::Route;
use crate::call::text::{NAME, line};
use crate::config::{Capabilities, Limits};
use crate::document::shape::did_you_mean;
use crate::document::{Fault, Faults, KeyPath};

/// One loaded version of a module. Never changes.
pub struct Generation {
    pub module: Arc<str>,
    /// Of the component's and the manifest's bytes, in hexadecimal.
    pub digest: String,
    pub manifest: Manifest,
    pub limits: Limits,
    /// What it asked for, all of which is granted.
    pub capabilities: Arc<Capabilities>,
    pub component: Component,
    /// What each instance of the component creates in the host.
    pub weight: Weight,
    pub exports: Exports,
    /// Whether routes with the middleware `test` are open.
    test_routes: bool,
    places: PlaceKinds,
    config: Value,
    subdomains: BTreeMap<String, Value>,
}

/// How many of a component's handlers an error names.
const SHOWN: usize = 32;

/// Enough of a digest to tell generations apart.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

impl Generation {
    /// Enough of the digest to tell generations apart.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }

    /// The isolates that hold it besides the workers.
    pub fn places(&self) -> PlaceKinds {
        self.places
    }

    /// What its component imports and its manifest does not ask for, by the key of `capabilities`.
    pub fn unasked(&self) -> Vec<&'static str> {
        self.exports.imports.iter().copied().filter(|key| !self.capabilities.has(key)).collect()
    }

    /// Who may call the route at an index of the manifest.
    pub fn access(&self, index: usize) -> Access {
        let middlewares = self.manifest.routes.get(index).map(|route| route.middlewares.as_slice()).unwrap_or_default();
        Access::of(middlewares, self.test_routes)
    }

    /// Whether an instance takes one call at a time: asked for, or because the component blocks.
    pub fn is_serial(&self) -> bool {
        self.limits.concurrency == 1 || self.exports.serial
    }

    /// The values its guests see.
    pub fn config(&self, subdomain: Option<&str>) -> &Value {
        subdomain.and_then(|name| self.subdomains.get(name)).unwrap_or(&self.config)
    }

    /// The routes in the manifest's order, as `Arc`s of its own for each isolate, so that workers do not count in one place.
    pub fn routes(&self, deployment: u64) -> Vec<Arc<Route>> {
        let route = |route: &manifest::Route| Route {
            deployment,
            handler: route.handler.as_str().into(),
            text: format!("{} {}", route.method, route.text).into(),
        };
        self.manifest.routes.iter().map(route).map(Arc::new).collect()
    }

    /// A router over what [`Generation::routes`] gave.
    pub fn router(&self, routes: &[Arc<Route>]) -> Router {
        Router::new(self.manifest.routes.iter().zip(routes).enumerate().map(|(index, (spec, route))| RouteSpec {
            method: spec.method.clone(),
            path: spec.path.clone(),
            route: route.clone(),
            access: self.access(index),
        }))
    }

    /// A fault for each handler of the manifest that is not among `names`.
    pub fn unknown_handlers(&self, names: &[String]) -> Faults {
        let mut faults = Faults::default();
        let all: HashSet<&str> = names.iter().map(String::as_str).collect();
        let unknown = |(_, route): &(usize, &manifest::Route)| !all.contains(&*route.handler);
        // Nothing is sought for those that are only counted.
        for (index, route) in self.manifest.routes.iter().enumerate().filter(unknown) {
            if faults.is_full() {
                faults.push(Fault::default());
                continue;
            }
            let key = KeyPath::of(&["routes"]).index(index).key("handler");
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = did_you_mean(&route.handler, &known);
            let shown: Vec<String> = names.iter().take(SHOWN).map(|name| line(name, NAME)).collect();
            let rule = format!(
                "must be a handler of the component, found `{}`{near}; it has {}",
                route.handler,
                match shown.len() {
                    0 => "none".to_owned(),
                    SHOWN => format!("{}, ..", shown.join(", ")),
                    _ => shown.join(", "),
                }
            );
            faults.push(Fault::new(&self.manifest.source.nearest(&key).origin, key, rule));
        }
        faults
    }
}
