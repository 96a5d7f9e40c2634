//! Loading modules.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use super::Swapper;
use super::progress::Turn;
use crate::config::Config;
use crate::isolate::{self, Environment, GuestLinker, Program};
use crate::registry::manifest::{Found, Manifest, scan};
use crate::registry::{Loader, ModuleState};

impl Swapper {
    /// Loads every module of `modulesDir` and waits until each has had its first try in every worker.
    pub async fn load_all(&self) -> io::Result<()> {
        let path = &self.config.modules_dir;
        let found = match scan(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(dir = %path.display(), "there is no such folder, so there are no modules: see modulesDir");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        for folder in &found {
            if matches!(folder.found, Found::Ready(_)) {
                self.roster.set(&folder.name, ModuleState::Loading);
            }
        }
        let mut slots = Vec::new();
        let of = found.len();
        for (index, folder) in found.into_iter().enumerate() {
            let turn = Turn { progress: &*self.progress, place: index + 1, of };
            let name = folder.name;
            match folder.found {
                Found::Refused(error) => self.refuse(&name, error.to_string()),
                Found::Waiting(manifest) => {
                    tracing::warn!(module = %name, component = %manifest.component.display(), "waiting for the component: it is not built yet");
                    self.roster.set(&name, ModuleState::Waiting);
                }
                Found::Ready(manifest) => {
                    let loading = load(*manifest, &self.config, &self.loader, &self.linker, &self.environment, &turn);
                    match loading.await {
                        Ok(program) => slots.extend(self.hold(&Arc::new(program))),
                        Err(why) => self.refuse(&name, why),
                    }
                }
            }
        }
        for slot in slots {
            slot.tried().await;
        }
        Ok(())
    }

    fn refuse(&self, name: &str, why: String) {
        tracing::error!(module = %name, "refused: {why}");
        self.roster.set(name, ModuleState::Refused(why));
    }
}

/// One module, from its manifest to something that can be instantiated, or every reason why not.
pub async fn load(
    manifest: Manifest,
    config: &Config,
    loader: &Loader,
    linker: &GuestLinker,
    environment: &Environment,
    turn: &Turn<'_>,
) -> Result<Program, String> {
    let component = manifest.component.display().to_string();
    let begun = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let name = manifest.name.clone();
    let loading = loader.load(manifest, config, threads);
    let loaded = turn.during(&name, loading).await.map_err(|error| error.to_string())?;
    let generation = Arc::new(loaded.generation);
    if loaded.compiled {
        tracing::info!(module = %generation.module, took = ?begun.elapsed(), "compiled");
    }
    let unasked = generation.unasked();
    if !unasked.is_empty() {
        tracing::info!(
            module = %generation.module,
            "imports {} and asks for nothing there (capabilities of module.json): beyond the module itself it answers `forbidden`",
            unasked.join(", ")
        );
    }
    let program = Program::link(linker, generation.clone()).map_err(|error| format!("{component}: {error:#}"))?;
    match isolate::check(&program, environment).await {
        Ok(Some(names)) => {
            let unknown = generation.unknown_handlers(&names);
            if unknown.is_empty() { Ok(program) } else { Err(unknown.to_string()) }
        }
        Ok(None) => Ok(program),
        Err(why) => Err(format!("{component}: {why}")),
    }
}
