//! One reload of one module: what is to be done, and what came of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::canary::Trial;
use super::disk::Choice;
use super::error::SwapError;
use super::holding::Holding;
use super::progress::Turn;
use super::request::Want;
use super::swapper::Swapper;
use super::union::Union;
use crate::api::{ReloadOutcome, Reloaded};
use crate::call::IsolateId;
use crate::files::aside;
use crate::isolate::{Program, Slot};
use crate::registry::{Candidate, ModuleState, Note, short};

pub(super) struct Run<'a> {
    pub swapper: &'a Arc<Swapper>,
    pub module: &'a str,
    pub want: Want,
    /// Cancelled when a rollback of the module is asked for: what is only being prepared ends then.
    pub hurry: CancellationToken,
    /// The right to compile, until it has been loaded.
    pub compiling: Mutex<Option<SemaphorePermit<'a>>>,
}

/// How far a run has come.
pub(super) enum Ran {
    Done(Reloaded),
    /// Some workers serve it, and it is watched.
    OnTrial(Trial),
}

impl Run<'_> {
    pub async fn run(self, held: &mut Option<Holding>, chosen: Result<Choice, SwapError>) -> Result<Ran, SwapError> {
        let Choice { candidate, pinned } = match chosen {
            Ok(choice) => choice,
            Err(SwapError::NoManifest) => return self.let_go(held).await.map(Ran::Done),
            Err(SwapError::Waiting(component)) if held.is_none() => return Err(self.wait(component)),
            Err(error) => return Err(self.refuse(held, error)),
        };
        let digest = candidate.digest.clone();
        let ran = match held.as_mut() {
            Some(holding) => self.replace(holding, candidate, pinned).await,
            None => self.start(held, candidate).await.map(Ran::Done),
        };
        let mut ran = ran.map_err(|error| self.refuse(held, error))?;
        if !pinned {
            self.swapper.set_pin(self.module, None).await;
        }
        if let Ran::Done(reloaded) = &mut ran {
            reloaded.pinned = pinned;
            reloaded.durable = self.swapper.kept.is_saved(self.module);
            self.swapper.note_pin(self.module, pinned.then_some(digest.as_str()));
        }
        Ok(ran)
    }

    /// Brings a module that is served to what it is to be served from.
    async fn replace(&self, holding: &mut Holding, candidate: Candidate, pinned: bool) -> Result<Ran, SwapError> {
        if let Some(canary) = holding.canary.as_ref().filter(|canary| !self.want.renew && canary.is(&candidate)) {
            return Ok(Ran::OnTrial(canary.ended.clone()));
        }
        self.swapper.end_trial(self.module, holding).await;
        let same = candidate.is(&holding.program.generation);
        if same && !self.want.renew && self.is_served(&holding.program) {
            return Ok(Ran::Done(Run::outcome(self.module, ReloadOutcome::Unchanged, &candidate.digest)));
        }
        let program = Arc::new(self.load(&candidate).await?);
        let rollout = candidate.manifest.rollout.clone();
        match rollout.filter(|rollout| !same && !pinned && rollout.canary < self.swapper.dispatch.workers().len()) {
            Some(rollout) => self.try_out(holding, program, candidate, rollout).await.map(Ran::OnTrial),
            None => self.swap(holding, program, &candidate, pinned).await.map(Ran::Done),
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
        }
    }

    /// Whether it is served wherever it lives. A slot that has failed, or could not go back after a trial, gets a new instance
    /// even when nothing has changed.
    fn is_served(&self, program: &Program) -> bool {
        let serves = |slot: &Arc<Slot>| Arc::ptr_eq(&slot.deployment().generation, &program.generation);
        self.swapper.slots(self.module).iter().all(|slot| slot.is_ready() && serves(slot))
    }

    /// There is no component yet: the operator is told, and the module starts when it is built.
    fn wait(&self, component: PathBuf) -> SwapError {
        tracing::warn!(module = %self.module, component = %component.display(), "waiting for the component: it is not built yet");
        self.swapper.roster.set(self.module, ModuleState::Waiting);
        SwapError::Waiting(component)
    }

    /// Nothing changes, and the operator is told why.
    fn refuse(&self, held: &Option<Holding>, error: SwapError) -> SwapError {
        let (why, fault) = (error.to_string(), error.fault().as_str());
        let roster = &self.swapper.roster;
        match held {
            Some(holding) => {
                let generation = holding.program.generation.short_digest();
                tracing::error!(module = %self.module, %generation, fault, "a reload is refused, what served serves on: {why}");
                let first = why.lines().next().unwrap_or_default();
                roster.set_note(self.module, Some(Note::Refused { why: first.to_owned() }));
            }
            None => {
                tracing::error!(module = %self.module, fault, "refused: {why}");
                roster.set(self.module, ModuleState::Refused(why));
            }
        }
        error
    }

    /// Lets every place take it up at once.
    async fn swap(
        &self,
        holding: &mut Holding,
        program: Arc<Program>,
        candidate: &Candidate,
        pinned: bool,
    ) -> Result<Reloaded, SwapError> {
        let begun = Instant::now();
        let from = holding.program.generation.clone();
        let mut switched =
            self.swapper.switch(&program, &from, self.swapper.union(&program.generation), true, &self.hurry).await;
        if let Err(why) = &switched
            && self.want.force
            && from.exports.snapshot
        {
            tracing::warn!(module = %self.module, "forced to go on without the state: {why}");
            switched =
                self.swapper.switch(&program, &from, self.swapper.union(&program.generation), false, &self.hurry).await;
        }
        let (running, drain) = switched?;
        holding.draining.push(drain);
        holding.program = program.clone();
        self.swapper.roster.set(self.module, ModuleState::Installed(program.generation.clone()));
        if !pinned {
            self.swapper.keep(candidate).await;
        }
        let (generation, from) = (program.generation.short_digest(), from.short_digest());
        tracing::info!(module = %self.module, %generation, %from, took = ?begun.elapsed(), running, "swapped");
        let swapped = Run::outcome(self.module, ReloadOutcome::Swapped, &candidate.digest);
        Ok(Reloaded { from: Some(from.to_owned()), running, ..swapped })
    }

    async fn start(&self, held: &mut Option<Holding>, candidate: Candidate) -> Result<Reloaded, SwapError> {
        let program = Arc::new(self.load(&candidate).await?);
        let slots = self.swapper.hold(held, program.clone());
        let tried = join_all(slots.iter().map(|slot| slot.tried()));
        // A rollback does not wait for them either.
        let _ = self.hurry.run_until_cancelled(tried).await;
        if self.is_served(&program) {
            self.swapper.keep(&candidate).await;
        }
        let started = Run::outcome(self.module, ReloadOutcome::Started, &candidate.digest);
        tracing::info!(module = %self.module, generation = started.generation, "serves");
        Ok(started)
    }

    async fn load(&self, candidate: &Candidate) -> Result<Program, SwapError> {
        let turn = Turn { progress: &*self.swapper.progress, place: 1, of: 1 };
        let _compiling = self.compiling.lock().take();
        let load = self.swapper.load(candidate, WHILE_SERVING, &turn);
        Ok(self.hurry.run_until_cancelled(load).await.ok_or(SwapError::Overtaken)??)
    }

    /// The folder is gone: calls that are there already are run out, and then the module is not served any more.
    async fn let_go(&self, held: &mut Option<Holding>) -> Result<Reloaded, SwapError> {
        let known = self.swapper.roster.state(self.module).is_some();
        if let Some(holding) = held.as_mut() {
            self.swapper.end_trial(self.module, holding).await;
        }
        *held = None;
        self.swapper.roster.remove(self.module);
        for isolate in self.swapper.dispatch.places().all() {
            isolate.let_go(self.module);
        }
        if !known {
            return Err(SwapError::NotFound(self.module.to_owned()));
        }
        tracing::info!(module = %self.module, "its folder is gone: not served any more");
        Ok(Reloaded { generation: None, ..Run::outcome(self.module, ReloadOutcome::Removed, "") })
    }
}

/// Threads that compile while others serve.
const WHILE_SERVING: usize = 1;

impl Swapper {
    /// Puts another instance of what serves in an isolate in the place of this one, if that is still there.
    pub(super) async fn renew_one(&self, module: &str, isolate: IsolateId, instance: u64) -> Result<(), SwapError> {
        let mut held = self.turn(module).await;
        let hurry = held.hurry.clone();
        let slot = self.slots(module).into_iter().find(|slot| slot.isolate == isolate);
        let serves = slot.filter(|slot| slot.mailbox.is_taker(instance));
        let (Some(slot), Some(holding)) = (serves, held.as_mut()) else { return Ok(()) };
        let tried = holding.canary.as_ref().and_then(|canary| canary.in_place(isolate));
        let program = tried.unwrap_or(&holding.program).clone();
        match self.switch(&program, &program.generation, Union::within([slot]), true, &hurry).await {
            Ok((_, drain)) => holding.draining.push(drain),
            // The rollback replaces the instance too.
            Err(_) if hurry.is_cancelled() => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }

    /// Keeps what serves for a rollback.
    pub(super) async fn keep(self: &Arc<Swapper>, candidate: &Candidate) {
        let (swapper, candidate) = (self.clone(), candidate.clone());
        aside(move || {
            if let Err(error) = swapper.kept.keep(&candidate) {
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
