//! Loading modules.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use super::disk::Choice;
use super::error::{ModuleError, SwapError};
use super::holding::Holding;
use super::progress::Turn;
use super::swapper::Swapper;
use crate::config::Config;
use crate::files::aside;
use crate::isolate::{self, GuestLinker, Program, Services, Slot};
use crate::registry::manifest::{Manifest, folders};
use crate::registry::{Candidate, Loader, ModuleState, Note, short};

/// What a module is served from after a start.
struct First {
    program: Program,
    /// What is in its folder, to be kept when it serves.
    candidate: Option<Candidate>,
    note: Option<Note>,
}

impl Swapper {
    /// Loads every module of `modulesDir` and waits until each has had its first try in every worker.
    pub async fn load_all(self: &Arc<Swapper>) -> io::Result<()> {
        let path = &self.config.modules_dir;
        let names = match folders(path) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(dir = %path.display(), "there is no such folder, so there are no modules: see modulesDir");
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        let _compiling = self.compiling.acquire().await;
        let mut places = Vec::with_capacity(names.len());
        for name in &names {
            self.roster.set(name, ModuleState::Loading);
            places.push(self.place(name).await);
        }
        let mut tried = Vec::new();
        for ((index, name), mut held) in names.iter().enumerate().zip(places) {
            let turn = Turn { progress: &*self.progress, place: index + 1, of: names.len() };
            match self.first(name, &turn).await {
                Ok(First { program, candidate, note }) => {
                    self.roster.set_note(name, note);
                    let slots = self.hold(&mut held, Arc::new(program));
                    let swapper = self.clone();
                    tried.push(tokio::spawn(async move {
                        join_all(slots.iter().map(|slot| slot.tried())).await;
                        if let Some(candidate) = candidate
                            && slots.iter().all(|slot| slot.is_ready())
                        {
                            swapper.keep(&candidate).await;
                        }
                        drop(held);
                    }));
                }
                Err(SwapError::Waiting(component)) => {
                    tracing::warn!(module = %name, component = %component.display(), "waiting for the component: it is not built yet");
                    self.roster.set(name, ModuleState::Waiting);
                }
                Err(error) => {
                    tracing::error!(module = %name, fault = error.fault().as_str(), "refused: {error}");
                    self.roster.set(name, ModuleState::Refused(error.to_string()));
                }
            }
        }
        // A panic there has been reported by itself.
        join_all(tried).await;
        Ok(())
    }

    /// What is in a module's folder; or, when that cannot be loaded, the last generation that could.
    async fn first(self: &Arc<Swapper>, module: &str, turn: &Turn<'_>) -> Result<First, SwapError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let error = match self.choose_aside(module, self.config.clone(), false, true).await {
            Ok(Choice { candidate, pinned }) => match self.load(&candidate, threads, turn).await {
                Ok(program) => {
                    let note = pinned.then(|| self.pinned(module, &candidate.digest));
                    if !pinned {
                        self.set_pin(module, None).await;
                    }
                    return Ok(First { program, candidate: Some(candidate).filter(|_| !pinned), note });
                }
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        let (swapper, name) = (self.clone(), module.to_owned());
        for digest in aside(move || swapper.kept.last_served(&name)).await {
            let loaded = match self.kept_aside(module, &digest, self.config.clone()).await {
                Ok(candidate) => self.load(&candidate, threads, turn).await,
                Err(why) => Err(why),
            };
            let generation = short(&digest);
            match loaded {
                Ok(program) => {
                    let why = error.to_string();
                    tracing::warn!(%module, %generation, "what is on disk cannot be loaded, the last good generation serves: {why}");
                    let why = why.lines().next().unwrap_or_default().to_owned();
                    return Ok(First { program, candidate: None, note: Some(Note::LastGood { why }) });
                }
                Err(why) => tracing::warn!(%module, %generation, "nor does a kept generation: {why}"),
            }
        }
        Err(error)
    }

    pub(super) async fn load(
        &self,
        candidate: &Candidate,
        threads: usize,
        turn: &Turn<'_>,
    ) -> Result<Program, ModuleError> {
        load_candidate(candidate, threads, &self.loader, &self.linker, &self.services, turn).await
    }

    /// Lets every place that a module lives in hold it, which none has done, and starts the instances.
    pub(super) fn hold(&self, held: &mut Option<Holding>, program: Arc<Program>) -> Vec<Arc<Slot>> {
        let isolates = self.isolates(&program.generation);
        // All hold it before one runs, so that a startup already reaches every worker.
        let slots: Vec<_> = isolates.iter().map(|isolate| isolate.hold(&program, &self.services)).collect();
        self.roster.set(&program.generation.module, ModuleState::Installed(program.generation.clone()));
        for (isolate, slot) in isolates.iter().zip(&slots) {
            isolate.run(slot, &program, &self.services);
        }
        *held = Some(Holding::new(program));
        slots
    }
}

/// One module, from its manifest to something that can be instantiated, or every reason why not.
pub async fn load(
    manifest: Manifest,
    config: &Config,
    loader: &Loader,
    linker: &GuestLinker,
    services: &Services,
    turn: &Turn<'_>,
) -> Result<Program, ModuleError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let candidate = loader.read(manifest, config)?;
    load_candidate(&candidate, threads, loader, linker, services, turn).await
}

async fn load_candidate(
    candidate: &Candidate,
    threads: usize,
    loader: &Loader,
    linker: &GuestLinker,
    services: &Services,
    turn: &Turn<'_>,
) -> Result<Program, ModuleError> {
    let component = &candidate.manifest.component;
    let begun = Instant::now();
    let name = candidate.manifest.name.clone();
    let loading = loader.load(candidate, threads);
    let (generation, compiled) = turn.during(&name, loading).await?;
    let generation = Arc::new(generation);
    if compiled {
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
    let program = Program::link(linker, generation.clone())
        .map_err(|error| ModuleError::Link { component: component.clone(), error: format!("{error:#}") })?;
    let names = isolate::check(&program, services).await;
    let names = names.map_err(|crash| ModuleError::Check { component: component.clone(), crash })?;
    let unknown = names.map(|names| generation.unknown_handlers(&names)).unwrap_or_default();
    if unknown.is_empty() { Ok(program) } else { Err(ModuleError::Handlers(unknown)) }
}
