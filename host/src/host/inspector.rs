//! Loads modules without running a host, for `fanfare check` and `fanfare inspect`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Map;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::StartError;
use super::loader::loader;
use crate::config::{Config, LimitsPatch, is_development};
use crate::events::EventLog;
use crate::isolate::{self, GuestLinker, Ids, NodeFacts, Services};
use crate::ports::Ports;
use crate::registry::{Exports, Loader, Manifest};
use crate::swap::{self, CompileReporter, ModuleError, Progress};

/// The parts of a host that load modules, without those that serve.
pub struct Inspector {
    config: Arc<Config>,
    loader: Loader,
    linker: GuestLinker,
    services: Services,
    progress: Arc<dyn Progress>,
}

/// The exports and the handlers of a component.
#[derive(Debug, Clone)]
pub struct Inspection {
    pub exports: Exports,
    /// The handlers that its `describe` lists. `None` if it has no `describe`.
    pub handlers: Option<Vec<String>>,
}

impl Inspector {
    /// `compiler` is a program with the command `compile`: the executable `fanfare`.
    pub fn new(config: &Config, compiler: PathBuf, progress: Arc<dyn Progress>) -> Result<Inspector, StartError> {
        let (loader, linker) = loader(config, compiler, Manifest::places)?;
        let node = Arc::new(NodeFacts {
            id: config.node.id.clone(),
            server: config.node.server.clone(),
            workers: 0,
            since: 0,
            brokers: 0,
            frontend: false,
            settings: Map::new(),
        });
        let services = Services {
            engine: loader.engine.clone(),
            node,
            ports: Ports::none(),
            restart: config.isolate.clone(),
            master: config.master.clone(),
            events: Arc::new(EventLog::new(false, false)),
            development: is_development(&config.environment),
            stop_hook: config.shutdown.hook,
            linger: config.swap.linger,
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids: Ids::default(),
            probe: None,
        };
        Ok(Inspector { config: Arc::new(config.clone()), loader, linker, services, progress })
    }

    /// Compiles the component of a module and checks its exports, imports and handlers. The error
    /// lists every fault, one per line.
    pub async fn check(&self, manifest: Manifest) -> Result<(), ModuleError> {
        let reporter = CompileReporter { progress: &*self.progress, index: 1, total: 1 };
        swap::load(manifest, &self.config, &self.loader, &self.linker, &self.services, &reporter).await.map(drop)
    }

    /// Compiles and checks a component that belongs to no module, with the limits of the operator's
    /// ceiling.
    pub async fn inspect(&self, component: &Path) -> Result<Inspection, ModuleError> {
        let mut manifest = Manifest::from_text(Path::new("/component"), r#"{ "component": "file.wasm" }"#)?;
        manifest.component = component.to_owned();
        manifest.alone = true;
        manifest.limits = LimitsPatch::from(self.config.limits.max.clone());
        let reporter = CompileReporter { progress: &*self.progress, index: 1, total: 1 };
        let program = swap::load(manifest, &self.config, &self.loader, &self.linker, &self.services, &reporter).await?;
        let handlers = isolate::check(&program, &self.services).await;
        let handlers = handlers.map_err(|crash| ModuleError::check(component.to_owned(), crash))?;
        Ok(Inspection { exports: program.generation.exports.clone(), handlers })
    }
}
