//! Modules as they are on disk: manifests, components, and what becomes of both, generations.
//!
//! It loads, and never commands: who runs a generation, and when, is for others to say.

pub mod component;
pub mod manifest;
mod roster;
pub mod router;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;
use sha2::{Digest, Sha256};
use wasmtime::component::Component;

pub use component::Exports;
pub use manifest::{Isolation, Manifest, Middleware};
pub use roster::{ModuleState, Roster};
pub use router::{Access, Found, Matched, RouteSpec, Router};

use crate::call::Route;
use crate::config::shape::did_you_mean;
use crate::config::{Capabilities, Config, Fault, Faults, KeyPath, Limits};
use crate::engine::{Cache, CacheError, Compiler, Engine, cache};

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
    pub exports: Exports,
    config: Value,
    subdomains: BTreeMap<String, Value>,
}

/// How many of a component's handlers an error names.
const SHOWN: usize = 32;

/// Why a module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Refused(Faults),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("{path}: {faults}", faults = .faults.join("; "))]
    Component { path: PathBuf, faults: Vec<String> },
}

/// Turns manifests into generations.
pub struct Loader {
    pub engine: Engine,
    pub cache: Cache,
    pub compiler: Compiler,
}

/// A generation, and whether its component had to be compiled first.
pub struct Loaded {
    pub generation: Generation,
    pub compiled: bool,
}

impl Loader {
    /// Reads and, when needed, compiles a module's component, and checks it against the manifest and the operator's word.
    pub async fn load(&self, manifest: Manifest, config: &Config, threads: usize) -> Result<Loaded, LoadError> {
        let mut faults = Faults::default();
        if let Err(missing) = manifest::check_grants(&manifest, config) {
            faults.extend(missing);
        }
        let limits = match manifest::effective_limits(&manifest, config) {
            Ok(limits) => limits,
            Err(above) => {
                faults.extend(above);
                Limits::default()
            }
        };
        if !faults.is_empty() {
            return Err(LoadError::Refused(faults));
        }
        let path = manifest.component.clone();
        let bytes = self.compiler.read(&path).map_err(CacheError::from)?;
        let component_digest = cache::hex(&Sha256::digest(&bytes));
        let loaded = self.cache.load(&self.engine, &self.compiler, &path, &component_digest, threads).await?;
        let refused = |faults| LoadError::Component { path: path.clone(), faults };
        let exports =
            component::inspect(&self.engine, &loaded.component, component::async_lifts(&bytes)).map_err(refused)?;
        if exports.snapshot && manifest.isolation == Isolation::Fresh {
            let fault = "exports snapshot beside `\"isolation\": \"fresh\"` in module.json: an instance that stays for one call has nothing to hand over";
            return Err(refused(vec![fault.to_owned()]));
        }
        let digest = Sha256::new().chain_update(&component_digest).chain_update(&manifest.digest_bytes).finalize();
        let operator = config.module(&manifest.name);
        let subdomains = operator.subdomains.keys();
        let generation = Generation {
            module: manifest.name.as_str().into(),
            digest: cache::hex(&digest),
            limits,
            capabilities: Arc::new(manifest.capabilities.clone()),
            component: loaded.component,
            exports,
            config: manifest::effective_config(&manifest, &operator, None),
            subdomains: subdomains
                .map(|name| (name.clone(), manifest::effective_config(&manifest, &operator, Some(name))))
                .collect(),
            manifest,
        };
        Ok(Loaded { generation, compiled: loaded.compiled })
    }
}

impl Generation {
    /// Enough of the digest to tell generations apart.
    pub fn short_digest(&self) -> &str {
        self.digest.get(..12).unwrap_or(&self.digest)
    }

    /// What its component imports and its manifest does not ask for, by the key of `capabilities`.
    pub fn unasked(&self) -> Vec<&'static str> {
        let asked = |key: &str| match key {
            "broadcast" => !self.capabilities.broadcast.is_empty(),
            "rpc" => !self.capabilities.rpc.is_empty(),
            _ => false,
        };
        self.exports.imports.iter().copied().filter(|key| !asked(key)).collect()
    }

    /// Who may call the route at an index of the manifest.
    pub fn access(&self, index: usize) -> Access {
        let middlewares = self.manifest.routes.get(index).map(|route| route.middlewares.as_slice()).unwrap_or_default();
        Access { inner: middlewares.contains(&Middleware::Inner), test: middlewares.contains(&Middleware::Test) }
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
    pub fn routes(&self, version: u64) -> Vec<Arc<Route>> {
        let route = |route: &manifest::Route| Route {
            version,
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
        for (index, route) in self.manifest.routes.iter().enumerate() {
            if names.contains(&route.handler) {
                continue;
            }
            let key = KeyPath::of(&["routes"]).index(index).key("handler");
            let known: Vec<&str> = names.iter().map(String::as_str).collect();
            let near = did_you_mean(&route.handler, &known);
            let shown: Vec<String> = names.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
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
