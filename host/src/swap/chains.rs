//! Checks middlewares that are routes of other modules, and loads modules again that waited for
//! one.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::embedded::Embedded;
use super::module_error::ModuleError;
use super::pending::ReloadOptions;
use super::swapper::Swapper;
use crate::blocking::run_blocking;
use crate::document::Faults;
use crate::registry::manifest::{Manifest, ManifestError};
use crate::registry::{Candidate, ModuleState, NoManifest};

impl Swapper {
    /// Checks the middlewares of a candidate, and those of other modules that are routes of it.
    pub(super) async fn check_chains(self: &Arc<Swapper>, candidate: &Candidate) -> Result<(), ModuleError> {
        let manifest = &candidate.manifest;
        let (mut faults, mut needed) = (Faults::default(), BTreeSet::new());
        for other in self.roster.installed().iter().filter(|other| *other.module != *manifest.name) {
            let found = manifest.check_dependent(&other.manifest);
            if !found.is_empty() {
                needed.insert(other.module.to_string());
            }
            found.into_iter().for_each(|fault| faults.push(fault));
        }
        if manifest.chained().next().is_some() {
            let (swapper, manifest) = (self.clone(), manifest.clone());
            // This may read the manifests of modules that are not loaded yet.
            let found = run_blocking(move || manifest.check_chains(|module| swapper.manifest_of(module))).await;
            if !found.is_empty() {
                needed.extend(candidate.manifest.chained().filter_map(|(_, name)| name.module.clone()));
            }
            found.into_iter().for_each(|fault| faults.push(fault));
        }
        if faults.is_empty() {
            return Ok(());
        }
        self.pending.needed.lock().insert(candidate.manifest.name.clone(), needed);
        Err(ManifestError { faults }.into())
    }

    /// The manifest of the installed generation of a module, or else the one that will be loaded.
    fn manifest_of(&self, module: &str) -> Result<Arc<Manifest>, NoManifest> {
        if let Some(ModuleState::Installed(generation)) = self.roster.state(module) {
            return Ok(Arc::new(generation.manifest.clone()));
        }
        let manifest = match self.embedded.get(module) {
            Some(Embedded::Module(module)) => module.manifest().ok(),
            _ => {
                let dir = self.config.modules_dir.join(module);
                if !dir.is_dir() {
                    return Err(NoManifest::Missing);
                }
                Manifest::load(&dir).ok()
            }
        };
        manifest.map(Arc::new).ok_or(NoManifest::Refused)
    }

    /// Loads the modules again that were rejected because of this one: it lacked a middleware, or
    /// had one that they lack. Called when another generation of this module serves, or none.
    pub(super) fn retry_dependents(self: &Arc<Swapper>, module: &str) {
        let mut needed = self.pending.needed.lock();
        needed.remove(module);
        let waiting = needed.extract_if(.., |_, modules| modules.contains(module));
        let waiting: Vec<String> = waiting.map(|(name, _)| name).collect();
        drop(needed);
        for name in waiting {
            // The reload logs its result.
            drop(self.reload(&name, ReloadOptions::RETRY));
        }
    }

    /// Warns of the modules that need a removed one.
    pub(super) fn warn_dependents(&self, removed: &str) {
        for generation in self.roster.installed() {
            let is_removed = |module: &Option<String>| module.as_deref() == Some(removed);
            if let Some((_, name)) = generation.manifest.chained().find(|(_, name)| is_removed(&name.module)) {
                tracing::warn!(
                    module = %generation.module,
                    "the middleware {name} was removed: calls of the routes that name it return `unavailable`"
                );
            }
        }
    }
}
