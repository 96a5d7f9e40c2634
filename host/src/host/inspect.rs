//! Loads modules without running a host: what `fanfare check` asks of their components.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{StartError, loader};
use crate::config::{Config, LimitsPatch};
use crate::isolate::{self, GuestLinker, Ids, NodeFacts, Services};
use crate::ports::Ports;
use crate::registry::{Exports, Loader, Manifest};
use crate::swap::{self, ModuleError, Progress, Turn};

/// Everything that loading needs, and nothing that serves.
pub struct Inspector {
    config: Arc<Config>,
    loader: Loader,
    linker: GuestLinker,
    services: Services,
    progress: Arc<dyn Progress>,
}

/// What a component turned out to be.
#[derive(Debug, Clone)]
pub struct Seen {
    pub exports: Exports,
    /// `None`: it does not say.
    pub handlers: Option<Vec<String>>,
}

impl Inspector {
    /// `compiler` is a program that answers `compile`, such as the `fanfare` binary.
    pub fn new(config: &Config, compiler: PathBuf, progress: Arc<dyn Progress>) -> Result<Inspector, StartError> {
        let loader = loader(config, compiler, Manifest::places)?;
        let linker = isolate::linker(&loader.engine).map_err(StartError::Engine)?;
        let node = Arc::new(NodeFacts {
            id: config.node.id.clone(),
            server: config.node.server.clone(),
            workers: 0,
            brokers: 0,
        });
        let services = Services {
            engine: loader.engine.clone(),
            node,
            ports: Ports::none(),
            restart: config.isolate.clone(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            ids: Ids::default(),
            probe: None,
        };
        Ok(Inspector { config: Arc::new(config.clone()), loader, linker, services, progress })
    }

    /// Every fault of a module's component, one a line: how it is compiled, what it exports, imports and handles.
    pub async fn inspect(&self, manifest: Manifest) -> Result<(), ModuleError> {
        let turn = Turn { progress: &*self.progress, place: 1, of: 1 };
        swap::load(manifest, &self.config, &self.loader, &self.linker, &self.services, &turn).await.map(drop)
    }

    /// The same of a component without a module around it, with all that the operator's ceiling allows.
    pub async fn component(&self, file: &Path) -> Result<Seen, ModuleError> {
        let mut manifest = Manifest::from_text(Path::new("/component"), r#"{ "component": "file.wasm" }"#)?;
        manifest.component = file.to_owned();
        manifest.limits = LimitsPatch::from(self.config.limits.max.clone());
        let turn = Turn { progress: &*self.progress, place: 1, of: 1 };
        let program = swap::load(manifest, &self.config, &self.loader, &self.linker, &self.services, &turn).await?;
        let handlers = isolate::check(&program, &self.services).await;
        let handlers = handlers.map_err(|crash| ModuleError::Check { component: file.to_owned(), crash })?;
        Ok(Seen { exports: program.generation.exports.clone(), handlers })
    }
}
