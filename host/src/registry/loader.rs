//! Loads a folder as a generation in two steps: it reads and checks a candidate, then compiles it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use prometheus_client::metrics::counter::Counter;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    Disks, Exports, Generation, Isolation, Manifest, Outside, PlaceKinds, Schedule, component, instantiation, manifest,
};
use crate::blocking::run_blocking;
use crate::call::Blame;
use crate::config::capabilities::Denials;
use crate::config::{Config, EngineConfig, Limits};
use crate::document::{Fault, Faults, ValueOrigin};
use crate::engine::pool::TABLE_ELEMENTS;
use crate::engine::{Cache, CacheError, CompileError, Compiled, Compiler, ComponentSource, Engine};
use crate::files::{hex, relative};
use crate::outgoing::{Client, Outgoing};
use crate::stores::Stores;

/// Why a module cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Refused(Faults),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error("{}: {}", relative(.path).display(), .faults.join("; "))]
    Component { path: PathBuf, faults: Vec<String> },
}

impl LoadError {
    pub fn fault(&self) -> Blame {
        match self {
            LoadError::Component { .. } => Blame::Guest,
            LoadError::Cache(CacheError::Compile(error)) => match error {
                CompileError::Refused { .. } | CompileError::TooLarge { .. } | CompileError::Timeout(_) => Blame::Guest,
                // Of the operator, because a compiler that died may have reached
                // engine.compileMemory.
                CompileError::Read { .. } | CompileError::Unwritten { .. } | CompileError::Died { .. } => {
                    Blame::Operator
                }
                CompileError::Spawn { .. } => Blame::Host,
            },
            LoadError::Cache(CacheError::Load(_)) => Blame::Host,
            LoadError::Refused(_) | LoadError::Cache(CacheError::File { .. } | CacheError::Shared { .. }) => {
                Blame::Operator
            }
        }
    }

    /// Whether the same load can succeed once the machine has room: on the disk of `stateDir`, or
    /// for the compiler's process.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            LoadError::Cache(
                CacheError::File { .. }
                    | CacheError::Compile(CompileError::Spawn { .. } | CompileError::Unwritten { .. })
            )
        )
    }
}

/// Decides which isolates besides the workers install a module.
pub type PlacesOf = fn(&Manifest) -> PlaceKinds;

/// Loads candidates and generations.
pub struct Loader {
    pub engine: Engine,
    pub cache: Cache,
    pub compiler: Compiler,
    pub settings: EngineConfig,
    /// Whether the environment opens routes with the middleware `test`.
    pub test_routes: bool,
    /// [`Manifest::places`], except in tests of modules in brokers and the master.
    pub places_of: PlacesOf,
    /// Counts the components refused because an instance would need too much.
    pub refused: Counter,
    /// What the requests of all modules to other servers share.
    pub outgoing: Arc<Outgoing>,
    /// The stores that modules share.
    pub stores: Arc<Stores>,
    /// The folders to which modules write.
    pub disks: Disks,
}

/// A module that was read and checked, with the operator's settings, and is not compiled yet.
#[derive(Clone)]
pub struct Candidate {
    pub manifest: Manifest,
    /// The bytes of the component.
    pub component: Bytes,
    /// The digest of the generation that it becomes.
    pub digest: String,
    component_digest: String,
    /// Whether the component has no file.
    in_memory: bool,
    limits: Limits,
    schedules: Arc<[Schedule]>,
    config: Value,
    subdomains: BTreeMap<String, Value>,
    outside: Arc<Outside>,
}

impl Candidate {
    /// Whether loading this candidate would change nothing about `generation`.
    pub fn matches(&self, generation: &Generation) -> bool {
        (&self.digest, &self.limits, &self.config, &self.subdomains, &self.schedules, &self.outside)
            == (
                &generation.digest,
                &generation.limits,
                &generation.config,
                &generation.subdomains,
                &generation.schedules,
                &generation.outside,
            )
    }
}

/// Returns the digest of a generation, from its component's digest and its manifest's bytes.
pub fn digest(component_digest: &str, manifest: &[u8]) -> String {
    hex(&Sha256::new().chain_update(component_digest).chain_update(manifest).finalize())
}

/// Returns how a manifest and the exports of its component contradict each other.
fn misfits(manifest: &Manifest, exports: &Exports, isolation: Isolation) -> Vec<String> {
    let mut faults = Vec::new();
    if exports.snapshot && isolation == Isolation::Fresh {
        faults.push("exports snapshot, but module.json has `\"isolation\": \"fresh\"`: an instance that lives for one call has no state to hand over; remove one of the two".to_owned());
    }
    if exports.http.is_none() && manifest.mount.is_some() {
        let fault = "exports no wasi:http, but module.json has `mount`: remove `mount`, or export wasi:http/handler";
        faults.push(fault.to_owned());
    }
    if !exports.has_handler() && !manifest.routes.is_empty() {
        let fault = "exports no fanfare:module/handler@0.1.0, but module.json has routes, which only a handler can serve: remove `routes`, or export a handler too";
        faults.push(fault.to_owned());
    }
    let mut schedules = manifest.schedules.iter();
    let command = schedules.find(|(_, schedule)| schedule.command().is_some()).map(|(name, _)| name);
    match command {
        Some(name) if exports.command.is_none() => faults.push(format!(
            "exports no wasi:cli/run, but the schedule `{name}` of module.json has `command`: use `path` and a route, or build the component as a command"
        )),
        Some(name) if isolation != Isolation::Fresh => faults.push(format!(
            "has instances that stay, but the schedule `{name}` of module.json has `command`, which needs an instance for each run: add `\"isolation\": \"fresh\"`"
        )),
        None if !exports.has_handler() && exports.http.is_none() && !manifest.alone => faults.push(
            "exports only wasi:cli/run, which runs as a schedule, but module.json has none: add `\"schedules\": { \"run\": { \"interval\": \"1h\", \"command\": [] } }`".to_owned()
        ),
        _ => {}
    }
    faults
}

impl Loader {
    /// Checks the manifest against the operator's settings, and reads the component of a module.
    pub fn read(&self, manifest: Manifest, config: &Config) -> Result<Candidate, LoadError> {
        let read = |file: &Path| Ok(Bytes::from(self.compiler.read(file).map_err(CacheError::from)?));
        self.candidate(manifest, config, false, read)
    }

    /// Like [`Loader::read`], with a component that is in memory.
    pub fn read_from_memory(
        &self,
        manifest: Manifest,
        component: Bytes,
        config: &Config,
    ) -> Result<Candidate, LoadError> {
        let read = |file: &Path| {
            self.compiler.check_size(file, component.len() as u64).map_err(CacheError::from)?;
            Ok(component)
        };
        self.candidate(manifest, config, true, read)
    }

    /// Creates a candidate. `read` reads its component.
    fn candidate(
        &self,
        manifest: Manifest,
        config: &Config,
        in_memory: bool,
        read: impl FnOnce(&Path) -> Result<Bytes, LoadError>,
    ) -> Result<Candidate, LoadError> {
        let mut faults = Faults::default();
        for missing in [
            manifest::check_grants(&manifest, config),
            manifest::check_brokers(&manifest, config),
            manifest::check_subjects(&manifest, config),
            manifest::check_mount(&manifest, config),
        ] {
            missing.err().into_iter().for_each(|missing| faults.extend(missing));
        }
        let limits = match manifest::effective_limits(&manifest, config) {
            Ok(limits) => limits,
            Err(above) => {
                faults.extend(above);
                Limits::default()
            }
        };
        let schedules = manifest::effective_schedules(&manifest, config, &limits).unwrap_or_else(|wrong| {
            faults.extend(wrong);
            Vec::new()
        });
        let outside = Outside::resolve(&manifest, config).unwrap_or_else(|unread| {
            faults.extend(unread);
            Outside::default()
        });
        if !faults.is_empty() {
            return Err(LoadError::Refused(faults));
        }
        for unknown in manifest::unknown_schedules(&manifest, config) {
            tracing::warn!("{unknown}");
        }
        let component = read(&manifest.component)?;
        let component_digest = hex(&Sha256::digest(&component));
        let operator = config.module(&manifest.name);
        let subdomains = operator.subdomains.keys();
        Ok(Candidate {
            digest: digest(&component_digest, &manifest.digest_bytes),
            component_digest,
            component,
            in_memory,
            limits,
            schedules: schedules.into(),
            config: manifest::effective_config(&manifest, &operator, None),
            subdomains: subdomains
                .map(|name| (name.clone(), manifest::effective_config(&manifest, &operator, Some(name))))
                .collect(),
            outside: Arc::new(outside),
            manifest,
        })
    }

    /// Whether a candidate can be loaded without compiling.
    pub fn is_compiled(&self, candidate: &Candidate) -> bool {
        self.cache.contains(&self.engine, &candidate.component_digest)
    }

    /// Loads a candidate. Returns the generation, and how its component was compiled if the
    /// cache did not have it.
    pub async fn load(
        &self,
        candidate: &Candidate,
        threads: usize,
    ) -> Result<(Generation, Option<Compiled>), LoadError> {
        let Candidate { manifest, component, component_digest, in_memory, .. } = candidate;
        let path = &manifest.component;
        let refused = |faults| LoadError::Component { path: path.clone(), faults };
        // Before the component is compiled. The compiler reports why a damaged file is damaged.
        let bytes = component.clone();
        let (analysis, is_whole) = run_blocking(move || {
            let analysis = instantiation::analyse(&bytes);
            let is_whole = analysis.is_some() || component::is_whole(&bytes);
            (analysis, is_whole)
        })
        .await;
        let too_costly = match &analysis {
            Some(analysis) => analysis.cost.faults(&self.settings),
            None if is_whole => vec![instantiation::TOO_COMPLEX.to_owned()],
            None => Vec::new(),
        };
        if !too_costly.is_empty() {
            self.refused.inc();
            return Err(refused(too_costly));
        }
        let source = ComponentSource { path, bytes: in_memory.then_some(component) };
        let loaded = self.cache.load(&self.engine, &self.compiler, source, component_digest, threads).await?;
        let analysis = analysis.ok_or_else(|| refused(vec![instantiation::TOO_COMPLEX.to_owned()]))?;
        let exports = component::exports(&self.engine, &loaded.component, &analysis.async_exports);
        let exports = exports.map_err(refused)?;
        let isolation = if exports.must_be_fresh() { Isolation::Fresh } else { manifest.isolation };
        let faults = misfits(manifest, &exports, isolation);
        if !faults.is_empty() {
            return Err(refused(faults));
        }
        let limits = &candidate.limits;
        let pooled = match isolation {
            // Each function of an inner component could need a stack of its own.
            Isolation::Fresh if !analysis.is_composed && limits.tables <= TABLE_ELEMENTS => {
                self.cache.load_pooled(&self.engine, component_digest).await
            }
            _ => None,
        };
        let client = self.client(manifest).await.map_err(LoadError::Refused)?;
        let generation = Generation {
            module: manifest.name.as_str().into(),
            digest: candidate.digest.clone(),
            limits: candidate.limits.clone(),
            capabilities: Arc::new(manifest.capabilities.clone()),
            component: loaded.component,
            pooled,
            cost: analysis.cost,
            exports,
            isolation,
            test_routes: self.test_routes,
            places: (self.places_of)(manifest),
            schedules: candidate.schedules.clone(),
            config: candidate.config.clone(),
            subdomains: candidate.subdomains.clone(),
            outside: candidate.outside.clone(),
            client,
            stores: manifest
                .capabilities
                .keyvalue
                .0
                .iter()
                .map(|name| (name.clone(), self.stores.open(name)))
                .collect(),
            sockets: self.outgoing.sockets(&manifest.capabilities.sockets.0),
            disk: Arc::new(self.disks.usage(&candidate.outside, &candidate.limits)),
            denials: Denials::default(),
            manifest: manifest.clone(),
            inside: OnceLock::new(),
        };
        Ok((generation, loaded.compiled))
    }

    /// The client for requests to other servers, if the module has the capability `http`.
    async fn client(&self, manifest: &Manifest) -> Result<Option<Client>, Faults> {
        let origins = manifest.capabilities.http.0.clone();
        if origins.is_empty() {
            return Ok(None);
        }
        let outgoing = self.outgoing.clone();
        let client = run_blocking(move || outgoing.client(origins)).await;
        client.map(Some).map_err(|why| Fault::new(&ValueOrigin::Default, "outgoing.ca", why).into())
    }
}
