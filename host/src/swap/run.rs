//! One reload of one module: decides what to do, does it, and reports the outcome.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::canary::CanaryResult;
use super::disk::Selection;
use super::error::SwapError;
use super::installed::InstalledModule;
use super::pending::ReloadOptions;
use super::progress::CompileReporter;
use super::scope::SwapScope;
use super::swapper::Swapper;
use crate::api::{ReloadOutcome, Reloaded};
use crate::blocking::run_blocking;
use crate::call::IsolateId;
use crate::events::HostEvent;
use crate::isolate::{Program, Slot};
use crate::ports::{Known, Turn};
use crate::registry::{Candidate, Generation, ModuleState, Note, short};

pub(super) struct Run<'a> {
    pub swapper: &'a Arc<Swapper>,
    pub module: &'a str,
    pub options: ReloadOptions,
    /// Cancelled when a rollback of the module is requested: the run then ends if it is only
    /// preparing.
    pub preempt: CancellationToken,
    /// The turn of this node among the nodes of the cluster.
    pub turn: &'a Turn,
    /// The permit to compile. The run returns it once the module is loaded.
    pub compiling: Mutex<Option<SemaphorePermit<'a>>>,
}

pub(super) enum RunOutcome {
    Done(Reloaded),
    /// The reload ends when the canary ends.
    CanaryStarted(CanaryResult),
}

impl Run<'_> {
    pub async fn run(
        self,
        current: &mut Option<InstalledModule>,
        selected: Result<Selection, SwapError>,
    ) -> Result<RunOutcome, SwapError> {
        let Selection { candidate, pinned } = match selected {
            Ok(selection) => selection,
            Err(SwapError::NoManifest) => return self.remove(current).await.map(RunOutcome::Done),
            Err(SwapError::Waiting(why)) if current.is_none() => return Err(self.await_component(why)),
            Err(error) => return Err(self.reject(current, error)),
        };
        if let Some(error) = self.rejected_elsewhere(current, &candidate, pinned) {
            return Err(self.reject(current, error));
        }
        let digest = candidate.digest.clone();
        let outcome = match current.as_mut() {
            Some(installed) => self.replace(installed, candidate, pinned).await,
            None => self.start(current, candidate).await.map(RunOutcome::Done),
        };
        let mut outcome = outcome.map_err(|error| self.reject(current, error))?;
        if !pinned {
            self.swapper.set_pin(self.module, None).await;
        }
        if let RunOutcome::Done(reloaded) = &mut outcome {
            reloaded.pinned = pinned;
            reloaded.durable = self.swapper.kept.is_saved(self.module);
            self.swapper.note_pin(self.module, pinned.then_some(digest.as_str()));
        }
        Ok(outcome)
    }

    /// Replaces the running generation with this candidate, unless it runs already.
    async fn replace(
        &self,
        installed: &mut InstalledModule,
        candidate: Candidate,
        pinned: bool,
    ) -> Result<RunOutcome, SwapError> {
        if let Some(canary) = installed.canary.as_ref().filter(|canary| !self.options.renew && canary.runs(&candidate))
        {
            return Ok(RunOutcome::CanaryStarted(canary.result.clone()));
        }
        self.swapper.end_canary(self.module, installed).await;
        let same = candidate.matches(&installed.program.generation);
        if same && !self.options.renew && self.runs_everywhere(&installed.program) {
            if let Some(Note::Refused { .. } | Note::LastGood { .. }) = self.swapper.roster.note(self.module) {
                let generation = short(&candidate.digest);
                tracing::info!(module = %self.module, %generation, "the module's files are those of the generation that serves again");
            }
            return Ok(RunOutcome::Done(Run::outcome(self.module, ReloadOutcome::Unchanged, &candidate.digest)));
        }
        // Until the generation is installed or, in a canary, until the canary ends.
        self.swapper.check_chains(&candidate).await?;
        let claim = self.swapper.claim_patterns(&candidate)?;
        let program = Arc::new(self.load(&candidate).await?);
        let workers = self.swapper.dispatch.workers().len();
        let rollout = candidate.manifest.rollout.clone();
        // A canary of another node has tried it.
        let is_tried = self.turn.known.accepted.as_ref() == Some(&candidate.digest);
        let has_canary = !same && !pinned && !is_tried && !self.swapper.has_builder();
        (self.turn.confirm())().await.map_err(SwapError::Overtaken)?;
        match rollout.filter(|rollout| has_canary && rollout.canary < workers) {
            Some(rollout) => {
                let canary = self.start_canary(installed, program, candidate, rollout, claim).await;
                canary.map(RunOutcome::CanaryStarted)
            }
            None => self.swap(installed, program, &candidate, pinned).await.map(RunOutcome::Done),
        }
    }

    pub fn outcome(module: &str, outcome: ReloadOutcome, digest: &str) -> Reloaded {
        Reloaded {
            module: module.to_owned(),
            outcome,
            generation: Some(short(digest).to_owned()),
            from: None,
            running: 0,
            pinned: false,
            durable: true,
            restart: Vec::new(),
            nodes: Vec::new(),
        }
    }

    /// Whether every slot of the module is ready and runs this program. A slot that has failed, or
    /// that could not leave a canary, needs a new instance even when nothing has changed.
    fn runs_everywhere(&self, program: &Program) -> bool {
        let runs = |slot: &Arc<Slot>| Arc::ptr_eq(&slot.deployment().generation, &program.generation);
        self.swapper.slots(self.module).iter().all(|slot| slot.is_ready() && runs(slot))
    }

    /// Whether another node has rejected this candidate, which serves nowhere on this node, and
    /// nobody has asked for it.
    fn rejected_elsewhere(
        &self,
        current: &Option<InstalledModule>,
        candidate: &Candidate,
        pinned: bool,
    ) -> Option<SwapError> {
        let serves = current.as_ref().is_some_and(|installed| candidate.matches(&installed.program.generation));
        if serves || pinned || self.options.renew || self.options.force {
            return None;
        }
        rejected(&self.turn.known, self.module, candidate)
    }

    /// Reports that the component does not exist yet. The module starts once it is built.
    fn await_component(&self, why: String) -> SwapError {
        let roster = &self.swapper.roster;
        let is_known = matches!(roster.state(self.module), Some(ModuleState::Waiting(known)) if known == why);
        // `fanfare dev` says that it builds the module.
        let is_built = self.swapper.is_built(&self.swapper.config.modules_dir.join(self.module));
        if !is_known && !is_built {
            tracing::warn!(module = %self.module, "waiting for the component: {why}");
        }
        roster.set(self.module, ModuleState::Waiting(why.clone()));
        SwapError::Waiting(why)
    }

    /// Reports why the reload changes nothing.
    fn reject(&self, current: &Option<InstalledModule>, error: SwapError) -> SwapError {
        let (why, fault) = (error.to_string(), error.fault().as_str());
        let roster = &self.swapper.roster;
        if self.options.retry && self.is_known(current, &why) {
            return error;
        }
        self.swapper.raise_rejected(
            self.module,
            current.as_ref().map(|installed| &*installed.program.generation),
            &why,
        );
        match current {
            Some(installed) => {
                let generation = installed.program.generation.short_digest();
                tracing::error!(
                    module = %self.module, %generation, fault,
                    "reload rejected, the previous generation keeps serving: {why}"
                );
                let kept = self.swapper.revoked(&installed.program.generation);
                if let Some(kept) = &kept {
                    tracing::warn!(module = %self.module, %generation, "{kept}");
                }
                roster.set_note(self.module, Some(Note::Refused { why, kept }));
            }
            None => {
                tracing::error!(module = %self.module, fault, "module rejected: {why}");
                roster.set(self.module, ModuleState::Refused(why));
            }
        }
        error
    }

    /// Whether the status has this reason already.
    fn is_known(&self, current: &Option<InstalledModule>, why: &str) -> bool {
        let roster = &self.swapper.roster;
        match (current, roster.state(self.module)) {
            (Some(_), _) => match roster.note(self.module) {
                Some(Note::Refused { why: known, .. } | Note::LastGood { why: known }) => known == why,
                _ => false,
            },
            (None, Some(ModuleState::Refused(known))) => known == why,
            _ => false,
        }
    }

    /// Swaps in all isolates at once.
    async fn swap(
        &self,
        installed: &mut InstalledModule,
        program: Arc<Program>,
        candidate: &Candidate,
        pinned: bool,
    ) -> Result<Reloaded, SwapError> {
        let started = Instant::now();
        let from = installed.program.generation.clone();
        self.swapper.raise_swap_started(&from, &program.generation);
        let scope = || self.swapper.scope(&program.generation);
        let mut switched = self.swapper.switch(&program, &from, scope(), true, &self.preempt).await;
        if let Err(why) = &switched
            && self.options.force
            && from.exports.snapshot
        {
            tracing::warn!(module = %self.module, "forced to swap without the state: {why}");
            switched = self.swapper.switch(&program, &from, scope(), false, &self.preempt).await;
        }
        let (running, drain) = switched?;
        installed.draining.push(drain);
        installed.program = program.clone();
        self.swapper.roster.set(self.module, ModuleState::Installed(program.generation.clone()));
        if !pinned {
            self.swapper.retain(candidate).await;
        }
        let (generation, from) = (program.generation.short_digest(), from.short_digest());
        let what = match self.options.rollback {
            true => format!("rolled back {from} -> {generation}"),
            false if from == generation => format!("restarted generation {generation}"),
            false => format!("swapped {from} -> {generation}"),
        };
        let cause = self.options.cause();
        tracing::info!(
            module = %self.module, %generation, %from, took = ?started.elapsed(), running, "{what}: {cause}"
        );
        self.swapper.raise_swap_committed(self.module, from, generation);
        self.swapper.retry_dependents(self.module);
        let swapped = Run::outcome(self.module, ReloadOutcome::Swapped, &candidate.digest);
        Ok(Reloaded { from: Some(from.to_owned()), running, ..swapped })
    }

    async fn start(&self, current: &mut Option<InstalledModule>, candidate: Candidate) -> Result<Reloaded, SwapError> {
        self.swapper.check_chains(&candidate).await?;
        let claim = self.swapper.claim_patterns(&candidate)?;
        let program = Arc::new(self.load(&candidate).await?);
        let slots = self.swapper.install(current, program.clone());
        drop(claim);
        let tried = join_all(slots.iter().map(|slot| slot.first_attempt()));
        // A rollback does not wait for the startups.
        let _ = self.preempt.run_until_cancelled(tried).await;
        if self.runs_everywhere(&program) {
            self.swapper.retain(&candidate).await;
        }
        let started = Run::outcome(self.module, ReloadOutcome::Started, &candidate.digest);
        let generation = program.generation.short_digest();
        tracing::info!(module = %self.module, %generation, "started generation {generation}");
        self.swapper.raise_loaded(&program.generation);
        self.swapper.retry_dependents(self.module);
        Ok(started)
    }

    async fn load(&self, candidate: &Candidate) -> Result<Program, SwapError> {
        let reporter = CompileReporter { progress: &*self.swapper.progress, index: 1, total: 1 };
        let _compiling = self.compiling.lock().take();
        let load = self.swapper.load(candidate, COMPILE_THREADS, &reporter);
        Ok(self.preempt.run_until_cancelled(load).await.ok_or(SwapError::Preempted)??)
    }

    /// Removes the module from every isolate, because it has neither a folder nor files in memory.
    /// Queued calls still run.
    async fn remove(&self, current: &mut Option<InstalledModule>) -> Result<Reloaded, SwapError> {
        let state = self.swapper.roster.state(self.module);
        let was_known = state.is_some_and(|state| !matches!(state, ModuleState::Loading));
        if let Some(installed) = current.as_mut() {
            self.swapper.end_canary(self.module, installed).await;
        }
        let removed = current.take();
        {
            // A reload that waits may load the module again, as in [`Swapper::reload`].
            let pending = self.swapper.pending.by_module.lock();
            self.swapper.roster.remove(self.module);
            if pending.contains_key(self.module) {
                self.swapper.roster.begin(self.module);
            }
        }
        for isolate in self.swapper.dispatch.places().all() {
            isolate.remove(self.module);
        }
        if !was_known {
            return Err(SwapError::NotFound(self.module.to_owned()));
        }
        tracing::info!(module = %self.module, "module removed");
        self.swapper.warn_dependents(self.module);
        self.swapper.retry_dependents(self.module);
        if let Some(installed) = removed {
            let generation = installed.program.generation.short_digest().to_owned();
            self.swapper.raise(HostEvent::ModuleRemoved { module: self.module.to_owned(), generation });
        }
        Ok(Reloaded { generation: None, ..Run::outcome(self.module, ReloadOutcome::Removed, "") })
    }
}

/// The error if another node has rejected a candidate.
pub(super) fn rejected(known: &Known, module: &str, candidate: &Candidate) -> Option<SwapError> {
    let rejection = known.rejected.as_ref().filter(|rejection| rejection.generation == candidate.digest)?;
    Some(SwapError::RejectedElsewhere {
        module: module.to_owned(),
        generation: short(&candidate.digest).to_owned(),
        node: rejection.node.clone(),
        reason: rejection.reason.clone(),
    })
}

/// Compiler threads for a reload: only one, so that the workers keep the other cores.
pub(super) const COMPILE_THREADS: usize = 1;

impl Swapper {
    /// Replaces one instance with a new one of the same generation, unless it was replaced already.
    pub(super) async fn renew_instance(
        &self,
        module: &str,
        isolate: IsolateId,
        instance: u64,
    ) -> Result<(), SwapError> {
        let mut guard = self.lock_for_swap(module).await;
        let preempt = guard.preempt.clone();
        let slot = self.slots(module).into_iter().find(|slot| slot.isolate == isolate);
        let slot = slot.filter(|slot| slot.mailbox.is_appointed(instance));
        let (Some(slot), Some(installed)) = (slot, guard.as_mut()) else { return Ok(()) };
        let canary = installed.canary.as_ref().and_then(|canary| canary.program_in(isolate));
        let program = canary.unwrap_or(&installed.program).clone();
        match self.switch(&program, &program.generation, SwapScope::within([slot]), true, &preempt).await {
            Ok((_, drain)) => installed.draining.push(drain),
            // The rollback that preempted this replaces the instance too.
            Err(_) if preempt.is_cancelled() => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// Says which capabilities a generation has although the settings no longer grant them. `None`
    /// if it has none.
    fn revoked(&self, generation: &Generation) -> Option<String> {
        let granted = self.live_config.load().module(&generation.module).grants;
        let kept = generation.manifest.capabilities.missing(&granted);
        (!kept.is_empty()).then(|| {
            format!(
                "generation {} keeps capabilities that fanfare.json no longer grants: {}; to end the access, remove them \
                 from module.json, remove the module's folder, or restart the host",
                generation.short_digest(),
                kept.join(", ")
            )
        })
    }

    /// Writes a generation to `stateDir`, so that a rollback or a start can load it.
    pub(super) async fn retain(self: &Arc<Swapper>, candidate: &Candidate) {
        let (swapper, candidate) = (self.clone(), candidate.clone());
        run_blocking(move || {
            if let Err(error) = swapper.kept.save(&candidate) {
                let (module, dir) = (&candidate.manifest.name, swapper.config.state_dir.display());
                tracing::warn!(
                    %module, %dir, %error,
                    "could not save the generation in stateDir; it will not be available for rollback"
                );
            }
        })
        .await;
    }
}
