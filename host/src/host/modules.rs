//! Loading the modules of a host.

use std::sync::Arc;
use std::time::Instant;

use super::StartError;
use super::progress::{Progress, Turn};
use crate::config::Config;
use crate::dispatch::Dispatch;
use crate::isolate::{self, Environment, GuestLinker, Program};
use crate::registry::manifest::{Found, Manifest, scan};
use crate::registry::{Loader, ModuleState, Roster};

/// Loads every module of `modulesDir` and waits until each has had its first try in every worker.
pub(super) async fn load_all(
    roster: &Roster,
    config: &Config,
    loader: &Loader,
    dispatch: &Dispatch,
    environment: &Arc<Environment>,
    progress: &dyn Progress,
) -> Result<(), StartError> {
    let linker = isolate::linker(&loader.engine).map_err(StartError::Engine)?;
    let path = &config.modules_dir;
    let found = match scan(path) {
        Ok(found) => found,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            tracing::warn!(dir = %path.display(), "there is no such folder, so there are no modules: see modulesDir");
            Vec::new()
        }
        Err(source) => return Err(StartError::ModulesDir { path: path.clone(), source }),
    };
    for folder in &found {
        if matches!(folder.found, Found::Ready(_)) {
            roster.set(&folder.name, ModuleState::Loading);
        }
    }
    let mut slots = Vec::new();
    let of = found.len();
    for (index, folder) in found.into_iter().enumerate() {
        let turn = Turn { progress, place: index + 1, of };
        let name = folder.name;
        match folder.found {
            Found::Refused(error) => refuse(roster, &name, error.to_string()),
            Found::Waiting(manifest) => {
                tracing::warn!(module = %name, component = %manifest.component.display(), "waiting for the component: it is not built yet");
                roster.set(&name, ModuleState::Waiting);
            }
            Found::Ready(manifest) => {
                match load(*manifest, config, loader, &linker, environment, &turn).await {
                    Ok(program) => {
                        roster.set(&name, ModuleState::Held(program.generation.clone()));
                        let program = Arc::new(program);
                        // All hold it before one runs, so that a startup already reaches every worker.
                        let workers = dispatch.workers();
                        let held: Vec<_> = workers.iter().map(|isolate| isolate.hold(&program)).collect();
                        for (isolate, slot) in workers.iter().zip(&held) {
                            isolate.run(slot, &program, environment);
                        }
                        slots.extend(held);
                    }
                    Err(why) => refuse(roster, &name, why),
                }
            }
        }
    }
    for slot in slots {
        slot.tried().await;
    }
    Ok(())
}

fn refuse(roster: &Roster, name: &str, why: String) {
    tracing::error!(module = %name, "refused: {why}");
    roster.set(name, ModuleState::Refused(why));
}

/// One module, from its manifest to something that can be instantiated, or every reason why not.
pub(super) async fn load(
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
