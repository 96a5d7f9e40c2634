//! A generation on trial: some workers serve it, all other places the previous one, until it has stood its time or failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::canary::{Canary, Trial, places};
use super::error::SwapError;
use super::holding::Holding;
use super::outcome::Ended;
use super::run::Run;
use super::swapper::Swapper;
use super::union::Union;
use crate::api::{ReloadOutcome, Reloaded};
use crate::isolate::Program;
use crate::registry::{Candidate, ModuleState, Note, Pin, Rollout};

/// How often a trial is looked at.
const LOOK: Duration = Duration::from_millis(20);

impl Run<'_> {
    /// Lets some workers take the program up, and watches them. The error leaves everything as it was.
    pub(super) async fn try_out(
        &self,
        holding: &mut Holding,
        program: Arc<Program>,
        candidate: Candidate,
        rollout: Rollout,
    ) -> Result<Trial, SwapError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // Workers come first, and there are more of them.
        let mut slots = self.swapper.slots(self.module);
        slots.truncate(rollout.canary);
        let from = holding.program.generation.clone();
        let (places, lasts) = (places(&slots), rollout.r#for);
        let generation = program.generation.short_digest().to_owned();
        let note = Note::OnTrial { generation: generation.clone(), places: places.clone(), lasts };
        self.swapper.roster.set_note(self.module, Some(note));
        let (running, drain) =
            self.swapper.switch(&program, &from, Union::within(slots.clone()), true, &self.hurry).await?;
        holding.draining.push(drain);
        let (tell, told) = oneshot::channel();
        let lost = |_| Err(SwapError::Lost("trial"));
        let ended = told.map(move |ended: Result<Ended, _>| ended.unwrap_or_else(lost)).boxed().shared();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (begun, trial) = (Instant::now(), ended.clone());
        let canary = Canary { number, program, candidate, slots, rollout, begun, running, tell, ended };
        let module = self.module.to_owned();
        tracing::info!(%module, %generation, workers = places, "on trial for {lasts:?}");
        holding.canary = Some(canary);
        let (swapper, stop) = (self.swapper.clone(), self.swapper.services.stop.clone());
        let watch = async move { swapper.watch_trial(&module, number).await };
        tokio::spawn(stop.run_until_cancelled_owned(watch));
        Ok(trial)
    }
}

impl Swapper {
    /// Ends a trial when it has stood its time or failed, unless somebody else does.
    async fn watch_trial(self: &Arc<Swapper>, module: &str, number: u64) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut held = self.place(module).await;
            let hurry = held.hurry.clone();
            let Some(holding) = held.as_mut() else { return };
            let Some(canary) = holding.canary.as_ref().filter(|canary| canary.number == number) else { return };
            let verdict = match canary.verdict() {
                None if canary.begun.elapsed() < canary.rollout.r#for => continue,
                None => Ok(()),
                Some(why) => Err(why),
            };
            let Some(canary) = holding.canary.take() else { return };
            match verdict {
                Ok(()) => self.promote(module, holding, canary, &hurry).await,
                Err(why) => {
                    self.pin_before(module, holding, &canary).await;
                    self.roll_back(module, holding, canary, why).await;
                }
            }
            return;
        }
    }

    /// Ends a trial for something else that is to be done.
    pub(super) async fn end_trial(self: &Arc<Swapper>, module: &str, holding: &mut Holding) {
        if let Some(canary) = holding.canary.take() {
            self.roll_back(module, holding, canary, SwapError::CanaryReplaced).await;
        }
    }

    /// Every place takes it up.
    async fn promote(
        self: &Arc<Swapper>,
        module: &str,
        holding: &mut Holding,
        canary: Canary,
        hurry: &CancellationToken,
    ) {
        let rest = self.union(&canary.program.generation).without(&canary.slots);
        let from = holding.program.generation.clone();
        match self.switch(&canary.program, &from, rest, true, hurry).await {
            Err(why) => {
                self.pin_before(module, holding, &canary).await;
                self.roll_back(module, holding, canary, SwapError::NotPromoted(Box::new(why))).await;
            }
            Ok((running, drain)) => {
                holding.draining.push(drain);
                holding.program = canary.program.clone();
                let generation = &canary.program.generation;
                self.roster.set(module, ModuleState::Installed(generation.clone()));
                self.roster.set_note(module, None);
                self.keep(&canary.candidate).await;
                let (short, before) = (generation.short_digest(), from.short_digest());
                tracing::info!(%module, generation = %short, from = %before, "the trial is over, every worker serves it");
                let swapped = Run::outcome(module, ReloadOutcome::Swapped, &generation.digest);
                let running = running + canary.running;
                let swapped = Reloaded { from: Some(before.to_owned()), running, ..swapped };
                // Nobody may wait for it.
                let _ = canary.tell.send(Ok(swapped));
            }
        }
    }

    /// What has failed is not tried again before the folder changes.
    async fn pin_before(self: &Arc<Swapper>, module: &str, holding: &Holding, canary: &Canary) {
        let folder = self.folder_digest(module).await;
        if folder == canary.candidate.digest {
            let generation = holding.program.generation.digest.clone();
            self.set_pin(module, Some(Pin { generation, folder })).await;
        }
    }

    /// The workers that tried it go back to the generation before: with the state they have, if that takes it.
    async fn roll_back(self: &Arc<Swapper>, module: &str, holding: &mut Holding, canary: Canary, why: SwapError) {
        let Canary { program, slots, .. } = &canary;
        let (tried, back) = (program.generation.clone(), holding.program.clone());
        let generation = tried.short_digest();
        tracing::error!(%module, %generation, fault = why.fault().as_str(), "{why}");
        self.ends.rolled_back.inc();
        // Nothing overtakes this: a rollback that is asked for meanwhile begins where it ends.
        let hurry = CancellationToken::new();
        let mut switched = self.switch(&back, &tried, Union::within(slots.clone()), true, &hurry).await;
        if let Err(why) = &switched {
            tracing::warn!(%module, "the generation before begins without the state of the trial: {why}");
            switched = self.switch(&back, &tried, Union::within(slots.clone()), false, &hurry).await;
        }
        match switched {
            Ok((_, drain)) => holding.draining.push(drain),
            Err(why) => {
                tracing::error!(%module, %generation, "{} cannot go back, and serves what was on trial: {why}", places(slots))
            }
        }
        let note = Note::RolledBack { generation: generation.to_owned(), why: why.to_string() };
        self.roster.set_note(module, Some(note));
        // Nobody may wait for it.
        let _ = canary.tell.send(Err(why));
    }
}
