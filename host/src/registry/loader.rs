//! From a folder to a generation: first read and checked, then compiled.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Generation, Isolation, Manifest, PlaceKinds, component, lifts, manifest};
use crate::call::Fault;
use crate::config::{Config, EngineConfig, Limits};
use crate::document::Faults;
use crate::engine::{Cache, CacheError, CompileError, Compiler, Engine};
use crate::files::{aside, hex};

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

impl LoadError {
    pub fn fault(&self) -> Fault {
        match self {
            LoadError::Component { .. } => Fault::Guest,
            LoadError::Cache(CacheError::Compile(error)) => match error {
                CompileError::Refused { .. } | CompileError::TooLarge { .. } | CompileError::Timeout(_) => Fault::Guest,
                // A compiler that died may have reached engine.compileMemory.
                CompileError::Read { .. } | CompileError::Unwritten { .. } | CompileError::Died { .. } => {
                    Fault::Operator
                }
                CompileError::Spawn(_) => Fault::Host,
            },
            LoadError::Cache(CacheError::Load(_)) => Fault::Host,
            LoadError::Refused(_) | LoadError::Cache(CacheError::File { .. } | CacheError::Shared { .. }) => {
                Fault::Operator
            }
        }
    }
}

/// Says which isolates besides the workers hold a module.
pub type Placing = fn(&Manifest) -> PlaceKinds;

/// Turns manifests into generations.
pub struct Loader {
    pub engine: Engine,
    pub cache: Cache,
    pub compiler: Compiler,
    pub settings: EngineConfig,
    /// Whether the environment opens routes with the middleware `test`.
    pub test_routes: bool,
    /// [`Manifest::places`], except in tests of modules in brokers and the master.
    pub placing: Placing,
    /// Components refused because an instance would cost too much.
    pub refused: Counter,
}

/// A module as it is on disk and in the operator's configuration, not compiled yet.
#[derive(Clone)]
pub struct Candidate {
    pub manifest: Manifest,
    /// The bytes of the component.
    pub component: Bytes,
    /// What its generation will be called.
    pub digest: String,
    component_digest: String,
    limits: Limits,
    config: Value,
    subdomains: BTreeMap<String, Value>,
}

impl Candidate {
    /// Whether nothing would be different.
    pub fn is(&self, generation: &Generation) -> bool {
        (&self.digest, &self.limits, &self.config, &self.subdomains)
            == (&generation.digest, &generation.limits, &generation.config, &generation.subdomains)
    }
}

/// The digest of a generation: of its component's digest and its manifest's bytes.
pub fn digest(component_digest: &str, manifest: &[u8]) -> String {
    hex(&Sha256::new().chain_update(component_digest).chain_update(manifest).finalize())
}

impl Loader {
    /// Reads a module's component, and checks the manifest against the operator's word.
    pub fn read(&self, manifest: Manifest, config: &Config) -> Result<Candidate, LoadError> {
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
        let component = Bytes::from(self.compiler.read(&manifest.component).map_err(CacheError::from)?);
        let component_digest = hex(&Sha256::digest(&component));
        let operator = config.module(&manifest.name);
        let subdomains = operator.subdomains.keys();
        Ok(Candidate {
            digest: digest(&component_digest, &manifest.digest_bytes),
            component_digest,
            component,
            limits,
            config: manifest::effective_config(&manifest, &operator, None),
            subdomains: subdomains
                .map(|name| (name.clone(), manifest::effective_config(&manifest, &operator, Some(name))))
                .collect(),
            manifest,
        })
    }

    /// Whether it can be loaded without compiling.
    pub fn is_compiled(&self, candidate: &Candidate) -> bool {
        self.cache.holds(&self.engine, &candidate.component_digest)
    }

    /// Its generation, and whether the component had to be compiled first.
    pub async fn load(&self, candidate: &Candidate, threads: usize) -> Result<(Generation, bool), LoadError> {
        let Candidate { manifest, component, component_digest, .. } = candidate;
        let path = &manifest.component;
        let refused = |faults| LoadError::Component { path: path.clone(), faults };
        // Before anything is compiled. What is damaged gets its reason from the compiler.
        let bytes = component.clone();
        let (made, is_whole) = aside(move || {
            let made = lifts::follow(&bytes);
            let is_whole = made.is_some() || component::is_whole(&bytes);
            (made, is_whole)
        })
        .await;
        let heavy = match &made {
            Some(made) => made.weight.faults(&self.settings),
            None if is_whole => vec![lifts::UNFOLLOWED.to_owned()],
            None => Vec::new(),
        };
        if !heavy.is_empty() {
            self.refused.inc();
            return Err(refused(heavy));
        }
        let loaded = self.cache.load(&self.engine, &self.compiler, path, component_digest, threads).await?;
        let made = made.ok_or_else(|| refused(vec![lifts::UNFOLLOWED.to_owned()]))?;
        let exports = component::exports(&self.engine, &loaded.component, &made.async_exports);
        let exports = exports.map_err(refused)?;
        if exports.snapshot && manifest.isolation == Isolation::Fresh {
            let fault = "exports snapshot beside `\"isolation\": \"fresh\"` in module.json: an instance that stays for one call has nothing to hand over";
            return Err(refused(vec![fault.to_owned()]));
        }
        let generation = Generation {
            module: manifest.name.as_str().into(),
            digest: candidate.digest.clone(),
            limits: candidate.limits.clone(),
            capabilities: Arc::new(manifest.capabilities.clone()),
            component: loaded.component,
            weight: made.weight,
            exports,
            test_routes: self.test_routes,
            places: (self.placing)(manifest),
            config: candidate.config.clone(),
            subdomains: candidate.subdomains.clone(),
            manifest: manifest.clone(),
        };
        Ok((generation, loaded.compiled))
    }
}
