//! Kills: every module of an isolate gets a new instance without the state of the old one. Threads
//! and sockets are not touched, and queued calls and broadcasts stay queued.
//!
//! A graceful kill changes a module as a swap does, so it takes the lock of the module. An
//! immediate kill must not wait for a swap that compiles or prepares instances, so it takes the
//! module's turn to hand over ([`HandOver`](super::hand_over::HandOver)) instead. A swap gives this
//! turn up and prepares again.
//!
//! A graceful kill is a swap to the same deployment, without hold and hand-over of state, so that a
//! canary keeps its failures. A rollback that wants the lock goes first, because it keeps the state
//! that the kill drops.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::oneshot;

use super::kill_error::{KillError, KillFailure, KillFailureReason};
use super::swapper::{POLL, Swapper};
use crate::api::{KillMode, KilledIsolate, KilledModule};
use crate::events::HostEvent;
use crate::isolate::{Isolate, Prepared, Slot, StartGate, StopReason, end_within, run_stop_hook};

/// The time between two checks whether the thread of an isolate is blocked.
const BLOCKED_POLL: Duration = Duration::from_millis(20);

/// The isolates that a kill is for. `None` means all of them.
#[derive(Debug, Clone, Copy)]
pub enum KillTarget {
    Workers(Option<u32>),
    Brokers(Option<u32>),
}

pub type KillResult = Result<Vec<KilledIsolate>, KillError>;

type Replaced<T> = Result<T, KillFailureReason>;

impl Swapper {
    /// Kills isolates, one after another. The kill continues when the future is dropped.
    pub fn kill(
        self: &Arc<Swapper>,
        target: KillTarget,
        mode: KillMode,
    ) -> impl Future<Output = KillResult> + Send + use<> {
        let reason = match mode {
            KillMode::Graceful => "killed",
            KillMode::Immediate => "killed at once",
        };
        let swapper = self.clone();
        let running = self.runtime.spawn(async move {
            let isolates = swapper.killed_isolates(target)?;
            swapper.roll(isolates, mode, reason).await
        });
        async { running.await.unwrap_or_else(|error| Err(KillError::Panicked(error.to_string()))) }
    }

    fn killed_isolates(&self, target: KillTarget) -> Result<Vec<Arc<Isolate>>, KillError> {
        let places = self.dispatch.places();
        let (isolates, id) = match target {
            KillTarget::Workers(id) => (&places.workers, id),
            KillTarget::Brokers(id) => (&places.brokers, id),
        };
        let Some(id) = id else { return Ok(isolates.clone()) };
        let count = isolates.len();
        match (isolates.get(id as usize), target) {
            (Some(isolate), _) => Ok(vec![isolate.clone()]),
            (None, KillTarget::Workers(_)) => Err(KillError::NoWorker { id, count }),
            (None, KillTarget::Brokers(_)) => Err(KillError::NoBroker { id, count }),
        }
    }

    /// Kills these isolates, one after another. A failure in one does not end the kill, because a
    /// module that has failed for good must not keep the others from being killed.
    pub(super) async fn roll(&self, isolates: Vec<Arc<Isolate>>, mode: KillMode, reason: &str) -> KillResult {
        let work = async {
            let _turn = self.kill_turns.of(mode).lock().await;
            let (mut killed, mut failures) = (Vec::new(), Vec::new());
            for isolate in isolates {
                killed.push(self.kill_isolate(&isolate, mode, reason, &mut failures).await);
            }
            if failures.is_empty() { Ok(killed) } else { Err(KillError::Incomplete { failures, killed }) }
        };
        tokio::select! {
            biased;
            () = self.services.stop.cancelled() => Err(KillError::Stopping),
            result = work => result,
        }
    }

    async fn kill_isolate(
        &self,
        isolate: &Arc<Isolate>,
        mode: KillMode,
        reason: &str,
        failures: &mut Vec<KillFailure>,
    ) -> KilledIsolate {
        let replaced = match mode {
            KillMode::Graceful => self.kill_gracefully(isolate).await,
            KillMode::Immediate => self.kill_at_once(isolate).await,
        };
        let count = failures.len();
        let mut modules = Vec::with_capacity(replaced.len());
        for (slot, result) in replaced {
            let module = slot.module.to_string();
            match result {
                Ok(crashed) => {
                    let generation = slot.deployment().generation.short_digest().to_owned();
                    modules.push(KilledModule { module, generation, crashed });
                }
                Err(reason) => failures.push(KillFailure { module, isolate: isolate.id, reason }),
            }
        }
        for failure in failures.iter().skip(count) {
            tracing::warn!("a kill could not replace an instance: {failure}");
        }
        // An isolate in which nothing was replaced lives on.
        if !modules.is_empty() || failures.len() == count {
            let crashed: usize = modules.iter().map(|module| module.crashed).sum();
            tracing::info!(isolate = %isolate.id, modules = modules.len(), crashed, "{reason}");
            let (exit, start) =
                (HostEvent::isolate_exit(isolate.id, reason), HostEvent::isolate_start(isolate.id, true));
            exit.into_iter().chain(start).for_each(|event| self.services.events.raise(event));
        }
        KilledIsolate { isolate: isolate.id.to_string(), modules }
    }

    /// Replaces the instances of an isolate, one module after another, and then waits for the old
    /// ones to drain. Returns the number of crashed calls for each module.
    async fn kill_gracefully(&self, isolate: &Arc<Isolate>) -> Vec<(Arc<Slot>, Replaced<usize>)> {
        let mut draining = Vec::new();
        for slot in isolate.slots() {
            match unless_blocked(isolate, self.replace(isolate, &slot.module)).await {
                // The module was removed.
                Ok(None) => {}
                Ok(Some(crashed)) => draining.push((slot, Ok(crashed))),
                Err(why) => draining.push((slot, Err(why))),
            }
        }
        let drained = draining.into_iter().map(async |(slot, crashed)| {
            let crashed = match crashed {
                // The only error is a panic of the task, which the log shows.
                Ok(crashed) => unless_blocked(isolate, async { Ok(crashed.await.unwrap_or_default()) }).await,
                Err(why) => Err(why),
            };
            (slot, crashed)
        });
        join_all(drained).await
    }

    /// Starts another instance of the deployment that serves, and hands the mailbox over to it. The
    /// receiver gets the number of crashed calls when the old instances have ended. `None` when the
    /// module is no longer installed.
    async fn replace(&self, isolate: &Isolate, module: &str) -> Replaced<Option<oneshot::Receiver<usize>>> {
        loop {
            // Not `lock_for_swap`: the kill may be needed because an instance does not drain.
            let mut guard = self.lock_module(module).await;
            let preempt = guard.preempt.clone();
            let (Some(slot), Some(installed)) = (isolate.slot(module), guard.as_mut()) else { return Ok(None) };
            let serves = slot.is_ready();
            let mut prepared = Prepared::restart(&slot, &self.services);
            let Some(ready) = preempt.run_until_cancelled(prepared.ready()).await else {
                // A rollback wants the lock. The kill follows it, because it keeps the state.
                drop((prepared, guard));
                tokio::time::sleep(POLL).await;
                continue;
            };
            ready.map_err(|end| match serves {
                true => KillFailureReason::NotReplaced(end),
                false => KillFailureReason::NotStarted(end),
            })?;
            if serves {
                run_stop_hook(slot.clone(), self.services.clone(), StopReason::Killed).await;
            }
            let switch = self.dispatch.between_broadcasts(&slot.module, || prepared.switch());
            switch.adopted().await;
            slot.stats.kills.inc();
            let (draining, grace) = (slot.draining(), self.config.master.process_term_timeout);
            let (report, crashed) = oneshot::channel();
            installed.draining.push(self.runtime.spawn(async move {
                // The kill may have ended early, because the host stops.
                let _ = report.send(end_within(&draining, grace).await);
            }));
            return Ok(Some(crashed));
        }
    }

    /// Ends all instances of an isolate and starts the next ones. Returns the number of crashed
    /// calls for each module.
    async fn kill_at_once(&self, isolate: &Arc<Isolate>) -> Vec<(Arc<Slot>, Replaced<usize>)> {
        let (closed, gate) = StartGate::closed();
        let kills = isolate.slots().into_iter().map(async |slot| {
            let kill = async {
                let lock = self.locks.of(&slot.module);
                let _turn = lock.hand_over.for_kill().await;
                Ok(slot.kill(gate.clone()).await)
            };
            (slot.clone(), unless_blocked(isolate, kill).await)
        });
        let killed = join_all(kills).await;
        drop(closed);
        let starts = killed.into_iter().map(async |(slot, killed)| {
            let start = async {
                // `None` when the module was removed.
                let Some(killed) = killed? else { return Ok(None) };
                let crashed = killed.crashed;
                let started = killed.started().await.transpose().map_err(KillFailureReason::NotStarted)?;
                Ok(started.map(|()| crashed))
            };
            Some((slot, unless_blocked(isolate, start).await.transpose()?))
        });
        join_all(starts).await.into_iter().flatten().collect()
    }
}

/// Runs a step of a kill, but no longer than the thread of the isolate responds.
async fn unless_blocked<T>(isolate: &Isolate, step: impl Future<Output = Replaced<T>>) -> Replaced<T> {
    let blocked = async {
        while !isolate.heartbeat.is_blocked() {
            tokio::time::sleep(BLOCKED_POLL).await;
        }
    };
    tokio::select! {
        biased;
        done = step => done,
        () = blocked => Err(KillFailureReason::Blocked),
    }
}
