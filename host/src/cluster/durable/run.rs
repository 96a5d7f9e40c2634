//! Runs a durable broadcast in the workers of this node, and tries again where it fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;

use super::message::{Kept, Only, Parked};
use super::state::Reading;
use crate::call::text::{MESSAGE, line};
use crate::call::{CallEnd, CallError};
use crate::cluster::Cluster;
use crate::dispatch::DurableRun;

/// The pauses while a worker cannot run anything.
const WAITS: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// A worker that has failed too often.
struct Failed {
    worker: u32,
    tries: u32,
    reason: String,
}

impl Cluster {
    /// Runs a broadcast in all workers. Resolves when each has run it, or when it is parked.
    pub(super) async fn run_durable(self: Arc<Self>, kept: Kept, position: u64, reading: Arc<Reading>) {
        let is_own = kept.boot == self.boot();
        let module = &kept.broadcast.module;
        let mut workers = self.workers_with(module).await;
        if let Some(Only { workers: only, .. }) = &kept.only
            && workers.iter().any(|worker| only.contains(worker))
        {
            workers.retain(|worker| only.contains(worker));
        }
        let runs = workers.into_iter().map(|worker| {
            let run = DurableRun { broadcast: kept.broadcast.clone(), position, is_own, delivery: 1 };
            self.run_in(worker, run, &reading)
        });
        let failed: Vec<Failed> = join_all(runs).await.into_iter().flatten().collect();
        let Some(last) = failed.last() else { return };
        let parked = Parked {
            module: module.clone(),
            broadcast: kept.broadcast.name.clone(),
            node: self.id(),
            workers: failed.iter().map(|failed| failed.worker).collect(),
            position,
            tries: last.tries,
            reason: last.reason.clone(),
        };
        self.park(kept.write(), parked, &reading).await;
    }

    /// The workers that hold a module, as soon as there are some.
    async fn workers_with(&self, module: &str) -> Vec<u32> {
        loop {
            let workers = self.node.dispatch().map(|dispatch| dispatch.workers_of(module)).unwrap_or_default();
            if !workers.is_empty() {
                return workers;
            }
            tokio::time::sleep(WAITS.1).await;
        }
    }

    /// Runs a broadcast in one worker, until it succeeds or has failed too often.
    async fn run_in(&self, worker: u32, mut run: DurableRun, reading: &Reading) -> Option<Failed> {
        let mut wait = WAITS.0;
        loop {
            match self.attempt(worker, run.clone()).await {
                Attempt::Done => {
                    reading.change(|progress| progress.reason = None);
                    return None;
                }
                Attempt::Waits(why) => {
                    reading.change(|progress| progress.reason = Some(line(&why, MESSAGE)));
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(WAITS.1);
                }
                Attempt::Failed(error) => {
                    wait = WAITS.0;
                    let (module, name) = (&run.broadcast.module, &run.broadcast.name);
                    let Some(dispatch) = self.node.dispatch() else { continue };
                    let settings = dispatch.durable_settings(worker, module, name);
                    drop(dispatch);
                    let reason = line(&error.to_string(), MESSAGE);
                    let Some(pause) = settings.pause(run.delivery) else {
                        return Some(Failed { worker, tries: run.delivery, reason });
                    };
                    tracing::debug!(module, name, worker, position = run.position, tries = run.delivery, %reason, "a durable broadcast has failed, and runs again");
                    self.durable.counts.retried.inc();
                    reading.change(|progress| progress.reason = Some(reason));
                    tokio::time::sleep(pause).await;
                    run.delivery += 1;
                }
            }
        }
    }

    async fn attempt(&self, worker: u32, run: DurableRun) -> Attempt {
        let Some(dispatch) = self.node.dispatch() else { return Attempt::Waits(String::new()) };
        let module = run.broadcast.module.clone();
        if !dispatch.workers_of(&module).contains(&worker) {
            return Attempt::Waits(format!("{module} is not in worker {worker}"));
        }
        let running = dispatch.run_durable(worker, run);
        drop(dispatch);
        match running {
            Ok(running) => match running.await {
                CallEnd::Ended(Ok(_)) => Attempt::Done,
                CallEnd::Ended(Err(error)) => Attempt::Failed(error),
                CallEnd::Returned(why) => Attempt::Waits(why.to_string()),
            },
            Err(error @ (CallError::Unavailable(_) | CallError::Overloaded(_))) => Attempt::Waits(error.to_string()),
            Err(error) => Attempt::Failed(error),
        }
    }
}

/// How one attempt has ended.
enum Attempt {
    Done,
    /// It has not started.
    Waits(String),
    Failed(CallError),
}
