//! Runs canaries: some workers run the new generation while all other isolates run the previous
//! one. A canary that lasts its time is promoted to every isolate, one that fails is rolled back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use super::canary::{Canary, CanaryResult, isolate_names};
use super::error::SwapError;
use super::installed::InstalledModule;
use super::outcome::ReloadResult;
use super::run::Run;
use super::scope::SwapScope;
use super::swapper::Swapper;
use crate::api::{ReloadOutcome, Reloaded};
use crate::events::{HostEvent, Origin};
use crate::isolate::Program;
use crate::registry::{Candidate, ModuleState, Note, PatternClaim, Pin, Rollout};

/// The time between two checks of a canary.
const CANARY_POLL: Duration = Duration::from_millis(20);

impl Run<'_> {
    /// Swaps in some workers, and starts a task that watches them. An error changes nothing.
    pub(super) async fn start_canary(
        &self,
        installed: &mut InstalledModule,
        program: Arc<Program>,
        candidate: Candidate,
        rollout: Rollout,
        claim: PatternClaim,
    ) -> Result<CanaryResult, SwapError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        // Workers come first, and there are more workers than `rollout.canary`.
        let mut slots = self.swapper.slots(self.module);
        slots.truncate(rollout.canary);
        let from = installed.program.generation.clone();
        let (workers, lasts) = (isolate_names(&slots), rollout.r#for);
        let generation = program.generation.short_digest().to_owned();
        let note = Note::Canary { generation: generation.clone(), places: workers.clone(), lasts };
        self.swapper.roster.set_note(self.module, Some(note));
        let scope = SwapScope::within(slots.clone());
        self.swapper.raise_swap_started(&from, &program.generation);
        let (running, drain) = self.swapper.switch(&program, &from, scope, true, &self.preempt).await?;
        installed.draining.push(drain);
        let (report, reported) = oneshot::channel();
        let lost = |_| Err(SwapError::Lost("canary"));
        let result = reported.map(move |result: Result<ReloadResult, _>| result.unwrap_or_else(lost)).boxed().shared();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let (started, canary_result) = (Instant::now(), result.clone());
        let (confirm, _claim) = (self.turn.confirm(), claim);
        let canary =
            Canary { number, program, candidate, slots, rollout, started, running, report, result, confirm, _claim };
        let module = self.module.to_owned();
        tracing::info!(%module, %generation, workers, "canary {} -> {generation} started for {lasts:?}", from.short_digest());
        self.swapper.raise(HostEvent::CanaryStarted {
            module: module.clone(),
            from: from.short_digest().to_owned(),
            to: generation,
            workers: canary.slots.iter().filter_map(|slot| slot.isolate.worker()).collect(),
        });
        installed.canary = Some(canary);
        let (swapper, stop) = (self.swapper.clone(), self.swapper.services.stop.clone());
        let watch = async move { swapper.watch_canary(&module, number).await };
        tokio::spawn(stop.run_until_cancelled_owned(watch));
        Ok(canary_result)
    }
}

impl Swapper {
    /// Promotes the canary when its time is over, or rolls it back when it fails. Returns early
    /// when something else has ended the canary.
    async fn watch_canary(self: &Arc<Swapper>, module: &str, number: u64) {
        loop {
            tokio::time::sleep(CANARY_POLL).await;
            let mut guard = self.lock_module(module).await;
            let preempt = guard.preempt.clone();
            let Some(installed) = guard.as_mut() else { return };
            let Some(canary) = installed.canary.as_ref().filter(|canary| canary.number == number) else { return };
            if preempt.is_cancelled() {
                // A rollback waits for the lock and ends the canary. Without a canary, it would go
                // back to the generation before the one that the other isolates run.
                continue;
            }
            let failure = canary.failure();
            if failure.is_none() && canary.started.elapsed() < canary.rollout.r#for {
                continue;
            }
            let Some(canary) = installed.canary.take() else { return };
            match failure {
                None => match (canary.confirm)().await {
                    Ok(()) => {
                        self.promote(module, installed, canary, &preempt).await;
                        continue;
                    }
                    Err(node) => self.roll_back_canary(module, installed, canary, SwapError::Overtaken(node)).await,
                },
                Some(why) => {
                    self.pin_previous(module, installed, &canary).await;
                    self.roll_back_canary(module, installed, canary, why).await;
                }
            }
            return;
        }
    }

    /// Rolls a canary back because another change of the module replaces it.
    pub(super) async fn end_canary(self: &Arc<Swapper>, module: &str, installed: &mut InstalledModule) {
        if let Some(canary) = installed.canary.take() {
            self.roll_back_canary(module, installed, canary, SwapError::CanaryReplaced).await;
        }
    }

    /// Swaps to the canary's generation in all other isolates. If a rollback preempts this, the
    /// canary continues until the rollback ends it.
    async fn promote(
        self: &Arc<Swapper>,
        module: &str,
        installed: &mut InstalledModule,
        canary: Canary,
        preempt: &CancellationToken,
    ) {
        let rest = self.scope(&canary.program.generation).without(&canary.slots);
        let from = installed.program.generation.clone();
        match self.switch(&canary.program, &from, rest, true, preempt).await {
            Err(SwapError::Preempted) => installed.canary = Some(canary),
            Err(why) => {
                self.pin_previous(module, installed, &canary).await;
                self.roll_back_canary(module, installed, canary, SwapError::NotPromoted(Box::new(why))).await;
            }
            Ok((running, drain)) => {
                installed.draining.push(drain);
                installed.program = canary.program.clone();
                let generation = &canary.program.generation;
                self.roster.set(module, ModuleState::Installed(generation.clone()));
                self.roster.set_note(module, None);
                self.retain(&canary.candidate).await;
                let (short, from) = (generation.short_digest(), from.short_digest());
                tracing::info!(%module, generation = %short, %from, "canary promoted {from} -> {short}, every worker runs it");
                self.raise_canary_ended(module, short, true);
                self.raise_swap_committed(module, from, short);
                self.retry_dependents(module);
                let swapped = Run::outcome(module, ReloadOutcome::Swapped, &generation.digest);
                let running = running + canary.running;
                let swapped = Reloaded { from: Some(from.to_owned()), running, ..swapped };
                // No caller may be waiting for the result.
                let _ = canary.report.send(Ok(swapped));
            }
        }
    }

    /// Pins the previous generation, so that the folder of a failed canary is not loaded again
    /// before it changes.
    async fn pin_previous(self: &Arc<Swapper>, module: &str, installed: &InstalledModule, canary: &Canary) {
        let folder = self.source_digest_aside(module).await;
        if folder == canary.candidate.digest {
            let generation = installed.program.generation.digest.clone();
            self.set_pin(module, Some(Pin { generation, folder })).await;
        }
    }

    /// Swaps the canary's workers back to the previous generation, with the canary's state if the
    /// previous generation can load it.
    async fn roll_back_canary(
        self: &Arc<Swapper>,
        module: &str,
        installed: &mut InstalledModule,
        canary: Canary,
        why: SwapError,
    ) {
        let Canary { program, slots, .. } = &canary;
        let (failed, previous) = (program.generation.clone(), installed.program.clone());
        let generation = failed.short_digest();
        // A rollback must not cancel this: the rollback starts from the generation that this
        // restores.
        let preempt = CancellationToken::new();
        let scope = || SwapScope::within(slots.clone());
        let mut switched = self.switch(&previous, &failed, scope(), true, &preempt).await;
        if let Err(why) = &switched {
            tracing::warn!(%module, "the previous generation starts without the state of the canary: {why}");
            switched = self.switch(&previous, &failed, scope(), false, &preempt).await;
        }
        self.raise_canary_ended(module, generation, false);
        let (why, note) = match switched {
            Ok((_, drain)) => {
                installed.draining.push(drain);
                self.counters.rolled_back.inc();
                self.raise_rolled_back(module, generation, previous.generation.short_digest(), &why.to_string());
                let note = Note::RolledBack { generation: generation.to_owned(), why: why.to_string() };
                (why, note)
            }
            Err(error) => {
                let workers = isolate_names(slots);
                let origin = Origin { module: Some(module.to_owned()), ..Origin::master() };
                let message = format!("could not roll back {generation}, the canary still runs in {workers}: {error}");
                self.raise(HostEvent::Fail { origin, message });
                let why = SwapError::NotRolledBack { why: Box::new(why), workers, error: Box::new(error) };
                let note = Note::NotRolledBack { generation: generation.to_owned(), why: why.to_string() };
                (why, note)
            }
        };
        let to = previous.generation.short_digest();
        tracing::error!(%module, %generation, fault = why.fault().as_str(), "canary {generation} -> {to}: {why}");
        self.roster.set_note(module, Some(note));
        // No caller may be waiting for the result.
        let _ = canary.report.send(Err(why));
    }
}
