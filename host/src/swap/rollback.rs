//! Rolls a module back to a retained generation, and pins it until the module's folder changes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::disk::Selection;
use super::error::SwapError;
use super::outcome::ReloadResult;
use super::pending::ReloadOptions;
use super::run::{Run, RunOutcome};
use super::swapper::Swapper;
use crate::api::Reloaded;
use crate::blocking::run_blocking;
use crate::call::{NodeReload, RolloutStep};
use crate::ports::Turn;
use crate::registry::{ModuleState, Note, Pin, short};

/// The time between two attempts to save a pin.
const RETRY: Duration = Duration::from_secs(1);

impl Swapper {
    /// Swaps to a retained generation in every worker and pins it: to the previous generation, or
    /// to the one whose digest starts with `to`. While a canary runs, the previous generation is
    /// the one that the other workers run. The rollback continues when the future is dropped.
    /// The other nodes follow, one after another.
    pub fn rollback(
        self: &Arc<Swapper>,
        module: &str,
        to: Option<&str>,
    ) -> impl Future<Output = ReloadResult> + Send + use<> {
        let (swapper, module, here) = (self.clone(), module.to_owned(), self.rollback_here(module, to));
        let rolling = self.runtime.spawn(async move {
            let reloaded = here.await?;
            let nodes = swapper.roll_back_others(&module).await;
            Ok(Reloaded { nodes, ..reloaded })
        });
        async { rolling.await.unwrap_or_else(|error| Err(SwapError::Panicked(error.to_string()))) }
    }

    /// Rolls a module back on the other nodes, to the generation that this one is pinned to.
    async fn roll_back_others(self: &Arc<Swapper>, module: &str) -> Vec<NodeReload> {
        let state = self.roster.state(module);
        let Some(ModuleState::Installed(generation)) = state.filter(|_| self.rollouts.has_others()) else {
            return Vec::new();
        };
        let folder = self.source_digest_aside(module).await;
        self.rollouts.pin(module, &generation.digest, &folder).await;
        let step = RolloutStep::Rollback { module: module.to_owned(), to: generation.digest.clone() };
        self.rollouts.others(step).await
    }

    /// Like [`Swapper::rollback`], on this node only.
    pub(super) fn rollback_here(
        self: &Arc<Swapper>,
        module: &str,
        to: Option<&str>,
    ) -> impl Future<Output = ReloadResult> + Send + use<> {
        let (swapper, module, to) = (self.clone(), module.to_owned(), to.map(str::to_owned));
        let running =
            self.runtime.spawn(async move { swapper.until_stop(swapper.roll_back_to(&module, to.as_deref())).await });
        async { running.await.unwrap_or_else(|error| Err(SwapError::Panicked(error.to_string()))) }
    }

    async fn roll_back_to(self: &Arc<Swapper>, module: &str, to: Option<&str>) -> ReloadResult {
        if !self.is_known(module) {
            return Err(SwapError::NotFound(module.to_owned()));
        }
        let mut guard = self.lock_for_rollback(module).await;
        let mut canary_ended = false;
        if let Some(installed) = guard.as_mut() {
            canary_ended = installed.canary.is_some();
            self.end_canary(module, installed).await;
        }
        let folder = self.source_digest_aside(module).await;
        let current = guard.as_ref().map(|installed| installed.program.generation.digest.clone());
        let (generation, options) = match (current, to) {
            // Ending the canary has already rolled back: this only pins the generation.
            (Some(current), None) if canary_ended => (current, ReloadOptions::CHANGE),
            (current, to) => (self.rollback_target(module, current.as_deref(), to).await?, ReloadOptions::ROLLBACK),
        };
        let candidate = self.read_retained_aside(module, &generation, self.live_config.load_full()).await?;
        let pin = (generation != folder).then_some(Pin { generation, folder });
        let selection = Selection { candidate, pinned: pin.is_some() };
        let (preempt, compiling, turn) = (guard.preempt.clone(), Mutex::default(), Turn::alone());
        let run = Run { swapper: self, module, options, preempt, turn: &turn, compiling };
        let outcome = run.run(&mut guard, Ok(selection)).await?;
        let pinned = pin.as_ref().map(|pin| pin.generation.clone());
        let durable = self.set_pin(module, pin).await;
        if matches!(outcome, RunOutcome::Done(_)) {
            self.note_pin(module, pinned.as_deref());
        }
        self.unlock(guard);
        if let RunOutcome::Done(Reloaded { from: Some(from), generation: Some(to), .. }) = &outcome {
            self.raise_rolled_back(module, from, to, "the operator asked for the rollback");
        }
        match outcome {
            RunOutcome::Done(reloaded) => Ok(Reloaded { durable, ..reloaded }),
            RunOutcome::CanaryStarted(result) => result.await,
        }
    }

    /// Sets or removes a module's pin. Returns whether it was saved, so that it outlives a restart.
    /// The pin in memory is set in any case; if saving fails, it is retried until it succeeds.
    pub(super) async fn set_pin(self: &Arc<Swapper>, module: &str, pin: Option<Pin>) -> bool {
        let (swapper, name) = (self.clone(), module.to_owned());
        let saved = run_blocking(move || swapper.kept.set_pin(&name, pin)).await;
        if let Err(error) = &saved {
            let dir = self.config.state_dir.display();
            tracing::error!(
                %module, %dir, %error,
                "could not save the pin of a rollback, or its removal, in stateDir; it holds only until a restart, saving is retried"
            );
            self.retry_saving_pins();
        }
        saved.is_ok()
    }

    /// Saves unsaved pins until none is left. One task does this for all modules.
    fn retry_saving_pins(self: &Arc<Swapper>) {
        if self.saving_pins.swap(true, Ordering::AcqRel) {
            return;
        }
        let (swapper, stop) = (self.clone(), self.services.stop.clone());
        let saving = async move {
            loop {
                tokio::time::sleep(RETRY).await;
                let unsaved = swapper.kept.unsaved();
                if unsaved.is_empty() {
                    swapper.saving_pins.store(false, Ordering::Release);
                    // A pin may have failed to save just before the flag was cleared.
                    if swapper.kept.unsaved().is_empty() || swapper.saving_pins.swap(true, Ordering::AcqRel) {
                        return;
                    }
                }
                for module in unsaved {
                    let (kept, name) = (swapper.clone(), module.clone());
                    if run_blocking(move || kept.kept.save_pin(&name)).await.is_ok() {
                        tracing::info!(%module, "saved the pin in stateDir");
                        if let Some(Note::Pinned { generation, .. }) = swapper.roster.note(&module) {
                            swapper.note_pin(&module, Some(&generation));
                        }
                    }
                }
            }
        };
        self.runtime.spawn(stop.run_until_cancelled_owned(saving));
    }

    /// The note about a pinned generation in the status.
    pub(super) fn pin_note(&self, module: &str, generation: &str) -> Note {
        Note::Pinned {
            module: module.to_owned(),
            generation: short(generation).to_owned(),
            saved: self.kept.is_saved(module),
        }
    }

    /// Notes in the status that a generation is pinned, or removes the module's note.
    pub(super) fn note_pin(&self, module: &str, generation: Option<&str>) {
        self.roster.set_note(module, generation.map(|generation| self.pin_note(module, generation)));
    }

    /// The digest of the generation to roll back to.
    async fn rollback_target(
        self: &Arc<Swapper>,
        module: &str,
        current: Option<&str>,
        to: Option<&str>,
    ) -> Result<String, SwapError> {
        let (swapper, name) = (self.clone(), module.to_owned());
        let retained = run_blocking(move || swapper.kept.generations(&name)).await;
        let target = match (to, current) {
            (Some(to), _) => retained.iter().find(|digest| digest.starts_with(to)),
            (None, Some(current)) => match retained.iter().position(|digest| digest == current) {
                Some(index) => retained.get(index + 1),
                None => retained.first(),
            },
            (None, None) => retained.first(),
        };
        target.cloned().ok_or_else(|| SwapError::NoGeneration {
            module: module.to_owned(),
            to: to.map(str::to_owned),
            kept: retained.iter().map(|digest| short(digest).to_owned()).collect(),
        })
    }
}
