//! Loads modules: all of them at start, and one for a reload.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;

use super::disk::Selection;
use super::error::SwapError;
use super::installed::InstalledModule;
use super::module_error::ModuleError;
use super::progress::CompileReporter;
use super::swapper::Swapper;
use crate::blocking::run_blocking;
use crate::config::Config;
use crate::isolate::{self, GuestLinker, Program, Services, Slot};
use crate::registry::manifest::{Manifest, ManifestError, folder_names};
use crate::registry::{Candidate, Loader, ModuleState, Note, PatternClaim, short};

/// A module that was loaded at start.
struct LoadedModule {
    program: Program,
    /// The candidate from the module's folder, to be retained once it serves. `None` for a
    /// generation that is retained already.
    candidate: Option<Candidate>,
    note: Option<Note>,
    claim: PatternClaim,
}

impl Swapper {
    /// Loads every module of `modulesDir` and every module in memory. Waits until each has tried to
    /// start once in every worker.
    pub async fn load_all(self: &Arc<Swapper>) -> io::Result<()> {
        let path = &self.config.modules_dir;
        let embedded = self.embedded.names();
        let folders = match folder_names(path) {
            Ok(names) => names.into_iter().filter(|name| self.config.serves(name)).collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if embedded.is_empty() {
                    tracing::warn!(dir = %path.display(), "modulesDir does not exist, so no modules are loaded");
                }
                Vec::new()
            }
            Err(error) => return Err(error),
        };
        self.report_strays().await;
        let names: BTreeSet<String> = folders.into_iter().chain(embedded).collect();
        let _compiling = self.compiling.acquire().await;
        let mut guards = Vec::with_capacity(names.len());
        for name in &names {
            self.roster.set(name, ModuleState::Loading);
            guards.push(self.lock_module(name).await);
        }
        let mut starting = Vec::new();
        for ((index, name), mut guard) in names.iter().enumerate().zip(guards) {
            let reporter = CompileReporter { progress: &*self.progress, index: index + 1, total: names.len() };
            match self.load_at_start(name, &reporter).await {
                Ok(LoadedModule { program, candidate, note, claim }) => {
                    self.roster.set_note(name, note);
                    let generation = program.generation.clone();
                    let slots = self.install(&mut guard, Arc::new(program));
                    drop(claim);
                    let swapper = self.clone();
                    starting.push(tokio::spawn(async move {
                        let tried = join_all(slots.iter().map(|slot| slot.first_attempt()));
                        // The program may have dropped the future of the start.
                        if swapper.services.stop.run_until_cancelled(tried).await.is_none() {
                            return;
                        }
                        if let Some(candidate) = candidate
                            && slots.iter().all(|slot| slot.is_ready())
                        {
                            swapper.retain(&candidate).await;
                        }
                        swapper.raise_loaded(&generation);
                        drop(guard);
                    }));
                }
                Err(SwapError::Waiting(why)) => {
                    tracing::warn!(module = %name, "waiting for the component: {why}");
                    self.roster.set(name, ModuleState::Waiting(why));
                }
                Err(error) => {
                    tracing::error!(module = %name, fault = error.fault().as_str(), "module rejected: {error}");
                    self.raise_rejected(name, None, &error.to_string());
                    self.retry_after(name, Some(&error));
                    self.roster.set(name, ModuleState::Refused(error.to_string()));
                }
            }
        }
        // A task that panicked has already been reported.
        join_all(starting).await;
        for generation in self.roster.installed() {
            self.retry_dependents(&generation.module);
        }
        self.report_missing_modules().await;
        Ok(())
    }

    /// Loads a module's folder. If that fails, loads the last generation that could be loaded.
    async fn load_at_start(
        self: &Arc<Swapper>,
        module: &str,
        reporter: &CompileReporter<'_>,
    ) -> Result<LoadedModule, SwapError> {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let selected = match self.select_aside(module, self.config.clone(), false, true).await {
            Ok(selection) => self.caught_up(module, selection).await,
            Err(error) => Err(error),
        };
        let error = match selected {
            Ok(Selection { candidate, pinned }) => match self.load_claimed(&candidate, threads, reporter).await {
                Ok((program, claim)) => {
                    let note = pinned.then(|| self.pin_note(module, &candidate.digest));
                    if !pinned {
                        self.set_pin(module, None).await;
                    }
                    let candidate = Some(candidate).filter(|_| !pinned);
                    return Ok(LoadedModule { program, candidate, note, claim });
                }
                Err(error) => error.into(),
            },
            Err(error) => error,
        };
        let (swapper, name) = (self.clone(), module.to_owned());
        let mut others = Vec::new();
        let report = |others: Vec<(String, ModuleError)>| {
            for (generation, why) in others {
                tracing::warn!(%module, %generation, "cannot load this retained generation either: {why}");
            }
        };
        for digest in run_blocking(move || swapper.kept.last_served(&name)).await {
            let loaded = match self.read_retained_aside(module, &digest, self.config.clone()).await {
                Ok(candidate) => self.load_claimed(&candidate, threads, reporter).await,
                Err(why) => Err(why),
            };
            let generation = short(&digest);
            match loaded {
                Ok((program, claim)) => {
                    let why = error.to_string();
                    tracing::warn!(
                        %module, %generation,
                        "cannot load the module's files, the last good generation serves instead: {why}"
                    );
                    report(others);
                    self.raise_rejected(module, Some(&program.generation), &why);
                    self.retry_after(module, Some(&error));
                    let note = Some(Note::LastGood { why });
                    return Ok(LoadedModule { program, candidate: None, note, claim });
                }
                Err(why) => others.push((generation.to_owned(), why)),
            }
        }
        report(others);
        Err(error)
    }

    /// Claims the stream keys and channels of a candidate and loads it.
    async fn load_claimed(
        self: &Arc<Swapper>,
        candidate: &Candidate,
        threads: usize,
        reporter: &CompileReporter<'_>,
    ) -> Result<(Program, PatternClaim), ModuleError> {
        self.check_chains(candidate).await?;
        let claim = self.claim_patterns(candidate)?;
        Ok((self.load(candidate, threads, reporter).await?, claim))
    }

    /// Claims the stream keys and channels of a candidate until the claim is dropped. Fails if
    /// another module declares one of them.
    pub(super) fn claim_patterns(&self, candidate: &Candidate) -> Result<PatternClaim, ModuleError> {
        let claim = self.roster.patterns.claim(&candidate.manifest);
        claim.map_err(|faults| ManifestError { faults }.into())
    }

    pub(super) async fn load(
        &self,
        candidate: &Candidate,
        threads: usize,
        reporter: &CompileReporter<'_>,
    ) -> Result<Program, ModuleError> {
        load_candidate(candidate, threads, &self.loader, &self.linker, &self.services, reporter).await
    }

    /// Installs a program in every isolate that its generation belongs to, and starts its
    /// instances. The module must not be installed yet.
    pub(super) fn install(&self, current: &mut Option<InstalledModule>, program: Arc<Program>) -> Vec<Arc<Slot>> {
        let isolates = self.isolates(&program.generation);
        // Every slot exists before the first instance starts, so that a startup can reach all
        // workers.
        let slots: Vec<_> = isolates.iter().map(|isolate| isolate.install(&program, &self.services)).collect();
        self.roster.set(&program.generation.module, ModuleState::Installed(program.generation.clone()));
        for (isolate, slot) in isolates.iter().zip(&slots) {
            isolate.start(slot, &self.services);
        }
        *current = Some(InstalledModule::new(program));
        slots
    }
}

/// Loads one module: reads, compiles, links and checks it. The error names every fault.
pub async fn load(
    manifest: Manifest,
    config: &Config,
    loader: &Loader,
    linker: &GuestLinker,
    services: &Services,
    reporter: &CompileReporter<'_>,
) -> Result<Program, ModuleError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let candidate = loader.read(manifest, config)?;
    load_candidate(&candidate, threads, loader, linker, services, reporter).await
}

async fn load_candidate(
    candidate: &Candidate,
    threads: usize,
    loader: &Loader,
    linker: &GuestLinker,
    services: &Services,
    reporter: &CompileReporter<'_>,
) -> Result<Program, ModuleError> {
    let component = &candidate.manifest.component;
    let started = Instant::now();
    let name = candidate.manifest.name.clone();
    let loading = loader.load(candidate, threads);
    let (generation, compiled) = reporter.report_during(&name, loading).await?;
    let generation = Arc::new(generation);
    if let Some(compiled) = compiled {
        let functions = compiled.functions.map(tracing::field::display);
        tracing::info!(module = %generation.module, took = ?started.elapsed(), functions, "compiled");
    }
    for warning in generation.manifest.warnings() {
        tracing::warn!(module = %generation.module, "{warning}");
    }
    let unasked = generation.unasked();
    if !unasked.is_empty() {
        // No notice, because most modules import an interface only for calls within themselves.
        tracing::debug!(
            module = %generation.module,
            "imports {} but module.json asks for no such capability: calls beyond the module itself return `forbidden`",
            unasked.join(", ")
        );
    }
    let program = Program::link(linker, generation.clone())
        .map_err(|error| ModuleError::link(component.clone(), format!("{error:#}")))?;
    let handlers = isolate::check(&program, services).await;
    let handlers = handlers.map_err(|crash| ModuleError::check(component.clone(), crash))?;
    let unknown = handlers.map(|names| generation.unknown_handlers(&names)).unwrap_or_default();
    if unknown.is_empty() { Ok(program) } else { Err(ModuleError::handlers(unknown)) }
}
