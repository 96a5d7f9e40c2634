//! Modules as they are on disk: manifests, components, and what becomes of both, generations.
//!
//! It loads, and never commands: who runs a generation, and when, is for others to say.

pub mod component;
pub mod manifest;
mod roster;
pub mod router;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
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

/// Why a module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Refused(Faults),
    #[error("{path}: {source}")]
    Read { path: PathBuf, source: io::Error },
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
        let read = |source| LoadError::Read { path: path.clone(), source };
        let component_digest = cache::digest_of(&mut File::open(&path).map_err(read)?).map_err(read)?;
        let loaded = self.cache.load(&self.engine, &self.compiler, &path, &component_digest, threads).await?;
        let async_lifts = component::async_lifts(&std::fs::read(&path).map_err(read)?);
        let exports = component::inspect(&self.engine, &loaded.component, async_lifts)
            .map_err(|faults| LoadError::Component { path: path.clone(), faults })?;
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

    /// Whether an instance takes one call at a time: asked for, or because the component blocks.
    pub fn is_serial(&self) -> bool {
        self.limits.concurrency == 1 || self.exports.serial
    }

    /// The values its guests see.
    pub fn config(&self, subdomain: Option<&str>) -> &Value {
        subdomain.and_then(|name| self.subdomains.get(name)).unwrap_or(&self.config)
    }

    /// The routes in the manifest's order, as `Arc`s of its own for each isolate, so that workers do not count in one place.
    pub fn routes(&self) -> Vec<Arc<Route>> {
        let route = |route: &manifest::Route| Route {
            handler: route.handler.as_str().into(),
            text: format!("{} {}", route.method, route.text).into(),
        };
        self.manifest.routes.iter().map(route).map(Arc::new).collect()
    }

    /// A router over what [`Generation::routes`] gave.
    pub fn router(&self, routes: &[Arc<Route>]) -> Router {
        Router::new(self.manifest.routes.iter().zip(routes).map(|(spec, route)| RouteSpec {
            method: spec.method.clone(),
            path: spec.path.clone(),
            route: route.clone(),
            access: Access {
                inner: spec.middlewares.contains(&Middleware::Inner),
                test: spec.middlewares.contains(&Middleware::Test),
            },
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
            let rule = format!(
                "must be a handler of the component, found `{}`{near}; it has {}",
                route.handler,
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            faults.push(Fault::new(&self.manifest.source.nearest(&key).origin, key, rule));
        }
        faults
    }
}
