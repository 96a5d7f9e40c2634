//! Accepts requests for reloads. Requests for the same module that wait share one run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::disk::Selection;
use super::error::SwapError;
use super::outcome::ReloadResult;
use super::pending::{Claim, PendingReload, ReloadOptions};
use super::run::{Run, RunOutcome};
use super::swapper::Swapper;
use crate::api::{ReloadOutcome, Reloaded};
use crate::blocking::run_blocking;
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{CallError, IsolateId, Receipt, RolloutStep};
use crate::ports::{BoxFuture, Reloads, StepResult, Turn, Verdict};
use crate::registry::manifest::{folder_names, is_module, is_scanned};

impl Reloads for Swapper {
    fn renew(&self, module: &str, isolate: IsolateId, instance: u64) -> BoxFuture<Result<(), CallError>> {
        let Some(swapper) = self.weak.upgrade() else {
            return Box::pin(std::future::ready(Err(stopping())));
        };
        let module = module.to_owned();
        let renewed = self.runtime.spawn(async move { swapper.renew_instance(&module, isolate, instance).await });
        Box::pin(async {
            let renewed = renewed.await.map_err(|error| CallError::Crashed(format!("the host panicked: {error}")))?;
            renewed.map_err(|error| CallError::Unavailable(error.to_string()))
        })
    }

    fn step(&self, step: RolloutStep) -> BoxFuture<StepResult> {
        let Some(swapper) = self.weak.upgrade() else {
            return Box::pin(std::future::ready(Err(stopping())));
        };
        Box::pin(swapper.do_step(step))
    }

    fn catch_up(&self) {
        if let Some(swapper) = self.weak.upgrade() {
            let stop = self.services.stop.clone();
            self.runtime.spawn(stop.run_until_cancelled_owned(async move { swapper.follow_others().await }));
        }
    }

    fn request(&self, module: Option<&str>) -> Result<Receipt, CallError> {
        let swapper = self.weak.upgrade().ok_or_else(stopping)?;
        match module {
            Some(module) if !self.is_known(module) => {
                return Err(CallError::NotFound(format!("there is no module {}", line(module, NAME))));
            }
            // The reload logs its result.
            Some(module) => swapper.reload_everywhere(module),
            // The watcher loads the modules that are in no state yet.
            None => {
                for module in self.roster.states().keys() {
                    swapper.reload_everywhere(module);
                }
            }
        }
        Ok(Receipt {
            id: self.services.next_id(),
            seq: self.pending.guest_requests.fetch_add(1, Ordering::Relaxed) + 1,
            accepted: u32::try_from(self.dispatch.workers().len()).unwrap_or(u32::MAX),
            skipped: Vec::new(),
            extra: Vec::new(),
        })
    }
}

/// What the other nodes are told about a generation.
fn verdict(generation: String, result: &ReloadResult) -> Option<Verdict> {
    match result {
        Ok(Reloaded { outcome: ReloadOutcome::Started | ReloadOutcome::Swapped, .. }) => {
            Some(Verdict::Accepted(generation))
        }
        Err(error) if error.rejects_generation() => {
            Some(Verdict::Rejected { generation, reason: line(&error.to_string(), MESSAGE) })
        }
        _ => None,
    }
}

fn stopping() -> CallError {
    CallError::Unavailable(SwapError::Stopping.to_string())
}

/// The wait before files that were being written are read again.
const REREAD_DELAY: Duration = Duration::from_millis(20);

impl Swapper {
    /// Reads `fanfare.json` again, then reloads a module. It continues when the future is dropped.
    pub async fn reload_as_operator(self: &Arc<Swapper>, module: &str, options: ReloadOptions) -> ReloadResult {
        let (swapper, module) = (self.clone(), module.to_owned());
        let reloading = self.runtime.spawn(async move {
            let restart = swapper.reconfigure().await.map_err(SwapError::Settings)?;
            let reloaded = swapper.reload(&module, options).await?;
            let nodes = swapper.reload_others(&module, options).await;
            Ok(Reloaded { restart, nodes, ..reloaded })
        });
        reloading.await.unwrap_or(Err(SwapError::Lost("reload")))
    }

    /// Like [`Swapper::reload_as_operator`], for every module that has a folder or is loaded.
    pub async fn reload_all_as_operator(
        self: &Arc<Swapper>,
        options: ReloadOptions,
    ) -> Result<Vec<(String, ReloadResult)>, SwapError> {
        let swapper = self.clone();
        let reloading = self.runtime.spawn(async move {
            let restart = swapper.reconfigure().await.map_err(SwapError::Settings)?;
            let mut results = swapper.reload_all(options).await;
            for (module, result) in &mut results {
                if let Ok(reloaded) = result {
                    reloaded.restart.clone_from(&restart);
                    reloaded.nodes = swapper.reload_others(module, options).await;
                }
            }
            Ok(results)
        });
        reloading.await.unwrap_or(Err(SwapError::Lost("reload")))
    }

    /// Reads a module's folder again and swaps in every worker. A request that arrives while a
    /// reload of the module runs gets the result of the next run. The reload continues when the
    /// future is dropped.
    pub fn reload(
        self: &Arc<Swapper>,
        module: &str,
        options: ReloadOptions,
    ) -> impl Future<Output = ReloadResult> + Send + use<> {
        if !self.is_known(module) {
            return std::future::ready(Err(SwapError::NotFound(module.to_owned()))).left_future();
        }
        let mut pending = self.pending.by_module.lock();
        if let Some(reload) = pending.get_mut(module) {
            reload.options = reload.options.or(options);
            reload.requests += 1;
            return reload.result.clone().right_future();
        }
        let (report, reported) = oneshot::channel();
        let lost = |_| Err(SwapError::Lost("reload"));
        let result = reported.map(move |result: Result<ReloadResult, _>| result.unwrap_or_else(lost)).boxed().shared();
        pending.insert(module.to_owned(), PendingReload { options, requests: 1, result: result.clone() });
        // From now on no client opens a stream that the module may want to guard.
        self.roster.begin(module);
        let (swapper, module) = (self.clone(), module.to_owned());
        self.runtime.spawn(async move {
            let result = swapper.until_stop(swapper.run_pending(&module)).await;
            swapper.retry_after(&module, result.as_ref().err());
            swapper.report_missing_modules().await;
            // The caller may have dropped the future.
            let _ = report.send(result);
        });
        result.right_future()
    }

    /// Reloads every module that has a folder or is loaded.
    pub async fn reload_all(self: &Arc<Swapper>, options: ReloadOptions) -> Vec<(String, ReloadResult)> {
        self.report_strays().await;
        let reloads = self.names().await.into_iter().map(|name| {
            let result = self.reload(&name, options);
            async move { (name, result.await) }
        });
        join_all(reloads).await
    }

    /// The modules that have a folder or are loaded.
    async fn names(&self) -> BTreeSet<String> {
        let dir = self.config.modules_dir.clone();
        let folders = run_blocking(move || folder_names(&dir).unwrap_or_default()).await.into_iter();
        let folders = folders.filter(|name| self.config.serves(name));
        folders.chain(self.roster.states().into_keys()).collect()
    }

    /// Whether a module of this name has a folder or is loaded. A name with a path in it is
    /// unknown.
    pub(super) fn is_known(&self, module: &str) -> bool {
        let config = &self.config;
        let has_folder = || is_scanned(module) && config.serves(module) && is_module(&config.modules_dir.join(module));
        self.roster.state(module).is_some() || self.embedded.get(module).is_some() || has_folder()
    }

    /// Runs the pending reload of a module once its files have settled.
    async fn run_pending(self: &Arc<Swapper>, module: &str) -> ReloadResult {
        let mut claim = Claim { pending: &self.pending, roster: &self.roster, module, started: false };
        let mut until = Instant::now() + self.config.swap.patience;
        let mut compiling = None;
        let mut patterns = None;
        let mut turn = (!self.rollouts.has_others()).then(Turn::alone);
        loop {
            // Past `swap.patience` the folder is read as it is, even when the files have settled
            // and the reload has only been waiting for its turn.
            let settled = tokio::time::timeout_at(until.into(), self.settle(module)).await;
            let must = settled.is_err() || Instant::now() >= until;
            let (mut guard, mut memory) = self.lock_for_reload(module).await;
            let (options, requests) = claim.requested();
            let config = self.live_config.load_full();
            let selected = self.select_aside(module, config, options.force, must).await;
            // The keys and channels that the module guards are its own also while the reload waits
            // for its turn. The run reports a pattern that another module has.
            let guarded = selected.as_ref().ok().and_then(|selection| self.claim_patterns(&selection.candidate).ok());
            drop(std::mem::replace(&mut patterns, guarded));
            let is_compiled = |selection: &Selection| self.loader.is_compiled(&selection.candidate);
            if compiling.is_none() && selected.as_ref().is_ok_and(|selection| !is_compiled(selection)) {
                // Reloads compile one at a time. While this one waits it holds neither the module's
                // lock nor memory, so it reads the folder again afterwards.
                drop((selected, memory));
                self.unlock(guard);
                compiling = self.compiling.acquire().await.ok();
                continue;
            }
            let bytes = selected.as_ref().map_or(0, |selection| selection.candidate.component.len());
            self.release_surplus(&mut memory, bytes);
            let unsettled = match &selected {
                Err(SwapError::Unsettled) => true,
                // The files existed before the lock was acquired.
                Err(SwapError::NoManifest | SwapError::Waiting(_)) => settled == Ok(true),
                _ => false,
            };
            if turn.is_none() && (must || !unsettled) {
                // Other nodes do not wait while this one compiles. It reads the files again when it
                // is its turn.
                self.unlock(guard);
                drop(compiling.take());
                if let Ok(Selection { candidate, .. }) = &selected {
                    self.compile_ahead(candidate).await;
                }
                drop((selected, memory));
                turn = Some(self.rollouts.turn(module).await);
                until = Instant::now() + self.config.swap.patience;
                continue;
            }
            let up_to_date = !unsettled && claim.start(requests, must);
            if !claim.started {
                drop((selected, memory, compiling.take()));
                self.unlock(guard);
                tokio::time::sleep(REREAD_DELAY).await;
                continue;
            }
            let preempt = guard.preempt.clone();
            let turn = turn.unwrap_or_else(Turn::alone);
            let digest = selected.as_ref().ok().filter(|selection| !selection.pinned);
            let digest = digest.map(|selection| selection.candidate.digest.clone());
            let run = Run { swapper: self, module, options, preempt, turn: &turn, compiling: Mutex::new(compiling) };
            let outcome = run.run(&mut guard, selected).await;
            drop((memory, patterns.take()));
            self.unlock(guard);
            if !up_to_date {
                // The files may have changed since they were read. This reload logs its own result.
                drop(self.reload(module, ReloadOptions::CHANGE));
            }
            let result = match outcome {
                Ok(RunOutcome::Done(reloaded)) => Ok(reloaded),
                Ok(RunOutcome::CanaryStarted(result)) => result.await,
                Err(error) => Err(error),
            };
            turn.end(digest.and_then(|digest| verdict(digest, &result)));
            return result;
        }
    }
}
