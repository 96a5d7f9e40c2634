//! Installs and removes the modules that the embedding program has in memory.
//!
//! A module in memory hides a folder of the same name. It is loaded, swapped, retained and rolled
//! back like a folder; only its files never change by themselves.

use std::sync::Arc;

use super::embedded::Embedded;
use super::error::SwapError;
use super::module_error::ModuleError;
use super::outcome::ReloadResult;
use super::pending::ReloadOptions;
use super::swapper::Swapper;
use crate::config::Config;
use crate::registry::{Candidate, Module, folder_digest};

impl Swapper {
    /// Adds modules before [`Swapper::load_all`].
    pub fn embed(&self, modules: Vec<Module>) {
        modules.into_iter().for_each(|module| self.embedded.set(module));
    }

    /// Installs a module, or replaces the one with its name. If that fails, the previous generation
    /// keeps serving. Continues when the future is dropped.
    pub fn install_embedded(self: &Arc<Swapper>, module: Module) -> impl Future<Output = ReloadResult> + Send + use<> {
        let checked = module.check_name().map_err(|error| SwapError::from(ModuleError::from(error)));
        let name = module.name().to_owned();
        let reload = checked.map(|()| {
            self.embedded.set(module);
            self.reload(&name, ReloadOptions::CHANGE)
        });
        async { reload?.await }
    }

    /// Removes a module that is in memory. A folder of the same name then serves instead. Continues
    /// when the future is dropped.
    pub fn remove_embedded(self: &Arc<Swapper>, module: &str) -> impl Future<Output = ReloadResult> + Send + use<> {
        let removal = match self.embedded.remove(module) {
            true => {
                let (swapper, module) = (self.clone(), module.to_owned());
                let reload = self.reload(&module, ReloadOptions::CHANGE);
                Ok(self.runtime.spawn(async move {
                    let result = reload.await;
                    swapper.embedded.forget(&module);
                    result
                }))
            }
            false => Err(SwapError::NotInMemory(module.to_owned())),
        };
        async { removal?.await.unwrap_or(Err(SwapError::Lost("removal"))) }
    }

    pub(super) fn read_embedded(&self, module: &Module, config: &Config) -> Result<Candidate, ModuleError> {
        Ok(self.loader.read_from_memory(module.manifest()?, module.component().clone(), config)?)
    }

    /// The digest of the files that a module should run: those in memory, or its folder.
    pub(super) fn source_digest(&self, module: &str, config: &Config) -> String {
        match self.embedded.get(module) {
            Some(Embedded::Module(embedded)) => embedded.digest(),
            Some(Embedded::Removed) | None => {
                folder_digest(&config.modules_dir.join(module), config.engine.max_component)
            }
        }
    }
}
