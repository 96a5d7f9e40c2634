//! Loads modules from disk: a manifest and a component become a generation.
//!
//! This part only loads. The parts above decide which generation runs, and when.

mod access;
mod chain;

pub mod component;
mod component_info;
mod disk_usage;
mod generation_store;
mod instance_cost;
mod instantiation;
mod loader;
pub mod manifest;
mod module;
mod outside;
mod patterns;
mod roster;
pub mod router;
pub mod segment;
pub mod served_imports;
mod socket_routes;
mod timing;
mod toolchain;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use wasmtime::component::Component;

pub use access::{Access, AccessError};
pub use chain::NoManifest;
pub use component::{Exports, HttpVersion, WasiHttp};
pub use component_info::{ComponentInfo, ComponentInfoError, component_info};
pub use disk_usage::{DiskUsage, Disks, Reserved};
pub use generation_store::{GenerationStore, GenerationStoreError, Pin, folder_digest};
pub use instance_cost::InstanceCost;
#[cfg(any(test, fuzzing))]
pub use instantiation::analyse;
pub use loader::{Candidate, LoadError, Loader, PlacesOf};
pub use manifest::{
    Action, DeclaredSubscription, Deliver, Feed, NatsSource, Overflow, RedisSource, RedisTopic, Source, SourceKind,
    SubscriptionSettings,
};
pub use manifest::{
    Durable, Isolation, Manifest, MatchedSocket, PatternKind, PlaceKinds, Rollout, Schedule, ScheduleKind, SocketRoute,
};
#[cfg(test)]
pub use manifest::{Middleware, Off};
pub use module::Module;
pub use outside::Outside;
pub use patterns::{KeyOwner, PatternClaim, PatternTable};
pub use roster::{ModuleState, Note, Roster};
pub use router::{MatchedRoute, RouteLookup, RouteSpec, Router};
#[cfg(any(test, fuzzing))]
pub use timing::Timing;

use crate::call::text::{NAME, line};
use crate::call::{Route, RouteName};
use crate::config::capabilities::{Denials, TABLE};
use crate::config::{Capabilities, Limits};
use crate::document::shape::did_you_mean;
use crate::document::{Fault, Faults, KeyPath};
use crate::outgoing::{Client, Sockets};
use crate::stores::Store;

/// One loaded version of a module. It never changes.
pub struct Generation {
    pub module: Arc<str>,
    /// The digest of the component's and the manifest's bytes, in hexadecimal.
    pub digest: String,
    pub manifest: Manifest,
    pub limits: Limits,
    /// The capabilities that the module asks for. All of them are granted.
    pub capabilities: Arc<Capabilities>,
    pub component: Component,
    /// The component for the pool, if its instances serve one call each and fit into it.
    pub pooled: Option<Component>,
    /// The resources of the host that each instance of the component needs.
    pub cost: InstanceCost,
    pub exports: Exports,
    pub isolation: Isolation,
    /// Whether the environment opens routes with the middleware `test`.
    test_routes: bool,
    places: PlaceKinds,
    /// The schedules with the operator's settings, in the order of their names.
    pub schedules: Arc<[Schedule]>,
    config: Value,
    subdomains: BTreeMap<String, Value>,
    /// What the module reaches beyond the host.
    pub outside: Arc<Outside>,
    /// Sends its requests to other servers. `None` without the capability `http`.
    pub client: Option<Client>,
    /// The endpoints of its sockets.
    pub sockets: Sockets,
    /// Its stores, by name.
    pub stores: BTreeMap<String, Arc<dyn Store>>,
    /// What the module has in the folders that it may write to.
    pub disk: Arc<DiskUsage>,
    /// The refusals that the log has already.
    pub denials: Denials,
    /// For [`Generation::access_inside`], which few modules need.
    inside: OnceLock<Router>,
}

/// An error names at most this number of handlers of a component.
const SHOWN: usize = 32;

/// The first 12 digits of a digest, which are enough to tell generations apart.
pub fn short(digest: &str) -> &str {
    digest.get(..12).unwrap_or(digest)
}

impl Generation {
    /// The first 12 digits of the digest.
    pub fn short_digest(&self) -> &str {
        short(&self.digest)
    }

    /// The kinds of isolates that have this module installed, besides the workers.
    pub fn places(&self) -> PlaceKinds {
        self.places
    }

    /// The capabilities whose interfaces of the contract the component imports, and that the
    /// manifest does not ask for, by their key in `capabilities`. Toolchains link WASI whether the
    /// guest uses it or not, so such an import says nothing.
    pub fn unasked(&self) -> Vec<&'static str> {
        let of_contract = |key: &&str| {
            let row = TABLE.iter().find(|row| row.key == *key);
            row.is_some_and(|row| row.imports.iter().all(|import| import.starts_with("fanfare:")))
        };
        let imported = self.exports.imports.iter().copied().filter(of_contract);
        imported.filter(|key| !self.capabilities.has(key)).collect()
    }

    /// The access rule of the route at this index of the manifest.
    pub fn access(&self, index: usize) -> Access {
        let middlewares = self.manifest.routes.get(index).map(|route| route.middlewares.as_slice()).unwrap_or_default();
        Access::of(middlewares, self.test_routes)
    }

    /// Whether an instance runs one call at a time, because `limits.concurrency` is 1 or because
    /// the component's exports block.
    pub fn is_serial(&self) -> bool {
        self.limits.concurrency == 1 || self.exports.serial
    }

    /// The configuration that guests read: that of the subdomain, if it has one, else the module's.
    pub fn config(&self, subdomain: Option<&str>) -> &Value {
        subdomain.and_then(|name| self.subdomains.get(name)).unwrap_or(&self.config)
    }

    /// Logs that the host has refused something that the module has not asked for, once for each
    /// target, with the line that grants it.
    pub fn deny(&self, capability: &str, target: &str) {
        self.denials.forbidden(&self.module, capability, Some(target));
    }

    /// Logs a warning about a target of the guest, once for each kind and target.
    pub fn warn_once(&self, kind: &str, target: &str, warning: impl FnOnce() -> String) {
        self.denials.warn_once(&self.module, kind, target, warning);
    }

    /// Creates the routes, in the order of the manifest. Each isolate has its own `Arc`s, so that
    /// workers do not share reference counters.
    pub fn routes(&self, deployment: u64) -> Vec<Arc<Route>> {
        let route = |route: &manifest::Route| Route {
            deployment,
            handler: route.handler.as_str().into(),
            text: format!("{} {}", route.method, route.text).into(),
            chain: route.chain.clone(),
        };
        self.manifest.routes.iter().map(route).map(Arc::new).collect()
    }

    /// Creates a router over the result of [`Generation::routes`].
    pub fn router(&self, routes: &[Arc<Route>]) -> Router {
        Router::new(self.manifest.routes.iter().zip(routes).enumerate().map(|(index, (spec, route))| RouteSpec {
            method: spec.method.clone(),
            path: spec.path.clone(),
            route: route.clone(),
            access: self.access(index),
        }))
    }

    /// Whether a call from inside finds this route.
    pub fn has_route(&self, route: &RouteName) -> bool {
        self.access_inside(route).is_some()
    }

    /// The access rule of the route that a call from inside finds. `None` if it finds none.
    pub fn access_inside(&self, route: &RouteName) -> Option<Access> {
        let router = self.inside.get_or_init(|| self.router(&self.routes(0)));
        match router.find_inside(route.method.as_ref(), &route.path) {
            RouteLookup::Route(matched) => Some(matched.access),
            _ => None,
        }
    }

    /// Returns a fault for each handler of the manifest that is not among `names`.
    pub fn unknown_handlers(&self, names: &[String]) -> Faults {
        let mut faults = Faults::default();
        let all: HashSet<&str> = names.iter().map(String::as_str).collect();
        let unknown = |(_, route): &(usize, &manifest::Route)| {
            // A route with a fault has no handler.
            !route.handler.is_empty() && !all.contains(&*route.handler)
        };
        // Faults beyond the limit are only counted, so the message is not built.
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
