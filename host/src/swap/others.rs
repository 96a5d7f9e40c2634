//! Reloads and rollbacks over the nodes of the cluster.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire};
use std::time::Duration;

use super::disk::Selection;
use super::error::SwapError;
use super::pending::ReloadOptions;
use super::progress::CompileReporter;
use super::run::{COMPILE_THREADS, rejected};
use super::swapper::Swapper;
use crate::call::{CallError, NodeReload, RolloutStep};
use crate::ports::{Known, StepResult};
use crate::registry::{Candidate, Pin};

/// How often a node asks what it has missed, and the time between.
const CATCH_UP_ATTEMPTS: u32 = 5;
const CATCH_UP_DELAY: Duration = Duration::from_secs(1);

impl Swapper {
    /// Lets the other nodes reload a module, one after another.
    pub(super) async fn reload_others(&self, module: &str, options: ReloadOptions) -> Vec<NodeReload> {
        let step = RolloutStep::Reload { module: module.to_owned(), force: options.force };
        self.rollouts.others(step).await
    }

    /// Reloads a module here and then on the other nodes. Each reload logs its result.
    pub(super) fn reload_everywhere(self: &Arc<Swapper>, module: &str) {
        let reload = self.reload(module, ReloadOptions::RENEW);
        if !self.rollouts.has_others() {
            return;
        }
        let (swapper, module) = (self.clone(), module.to_owned());
        self.runtime.spawn(async move {
            if reload.await.is_ok() {
                swapper.reload_others(&module, ReloadOptions::RENEW).await;
            }
        });
    }

    /// Does what another node asks for.
    pub(super) async fn do_step(self: Arc<Swapper>, step: RolloutStep) -> StepResult {
        let result = match step {
            RolloutStep::Reload { module, force } => {
                self.reload(&module, ReloadOptions { force, ..ReloadOptions::RENEW }).await
            }
            RolloutStep::Rollback { module, to } => self.rollback_here(&module, Some(&to)).await,
        };
        match result {
            Ok(reloaded) => Ok((reloaded.outcome, reloaded.generation)),
            Err(SwapError::Stopping) => Err(CallError::stopping()),
            Err(error) => Err(CallError::Unavailable(error.to_string())),
        }
    }

    /// Compiles a candidate before it is the turn of this node. Errors are reported by the reload.
    pub(super) async fn compile_ahead(&self, candidate: &Candidate) {
        if self.loader.is_compiled(candidate) {
            return;
        }
        let _compiling = self.compiling.acquire().await;
        let reporter = CompileReporter { progress: &*self.progress, index: 1, total: 1 };
        if let Err(error) = self.load(candidate, COMPILE_THREADS, &reporter).await {
            tracing::debug!(module = %candidate.manifest.name, %error, "a candidate cannot be loaded");
        }
    }

    /// What the nodes know about a module. Nothing, if they cannot be asked.
    async fn known(&self, module: &str) -> Known {
        self.rollouts.known(module).await.unwrap_or_else(|error| {
            tracing::debug!(module, %error, "the other nodes cannot be asked about the module");
            Known::default()
        })
    }

    /// What a start loads instead of a folder that another node has rejected, or that a rollback of
    /// the cluster has replaced while this node was away.
    pub(super) async fn caught_up(
        self: &Arc<Swapper>,
        module: &str,
        selection: Selection,
    ) -> Result<Selection, SwapError> {
        if selection.pinned || !self.rollouts.has_others() {
            return Ok(selection);
        }
        let known = self.known(module).await;
        if let Some(error) = rejected(&known, module, &selection.candidate) {
            return Err(error);
        }
        let digest = &selection.candidate.digest;
        let Some((generation, folder)) = known.pinned.filter(|(_, folder)| folder == digest) else {
            return Ok(selection);
        };
        match self.read_retained_aside(module, &generation, self.config.clone()).await {
            Ok(candidate) => {
                self.set_pin(module, Some(Pin { generation, folder })).await;
                Ok(Selection { candidate, pinned: true })
            }
            Err(error) => {
                tracing::warn!(module, %error, "the cluster has rolled the module back to a generation that this node does not have");
                Ok(selection)
            }
        }
    }

    /// Rolls back what the cluster has rolled back while this node did not reach it. Only one such
    /// task runs; requests that come meanwhile let it look again.
    pub(super) async fn follow_others(self: &Arc<Swapper>) {
        let requests = &self.pending.catch_ups;
        if requests.fetch_add(1, AcqRel) > 0 {
            return;
        }
        loop {
            let begun = requests.load(Acquire);
            for _ in 0..CATCH_UP_ATTEMPTS {
                match self.follow_rollbacks().await {
                    Ok(()) => break,
                    // The servers of a cluster of NATS may need a moment to agree.
                    Err(error) => tracing::debug!(%error, "the other nodes cannot be asked about their rollbacks"),
                }
                tokio::time::sleep(CATCH_UP_DELAY).await;
            }
            if requests.compare_exchange(begun, 0, AcqRel, Acquire).is_ok() {
                return;
            }
        }
    }

    async fn follow_rollbacks(self: &Arc<Swapper>) -> Result<(), CallError> {
        for generation in self.roster.installed() {
            let module = &*generation.module;
            let Some((pinned, folder)) = self.rollouts.known(module).await?.pinned else { continue };
            if generation.digest == pinned || self.source_digest_aside(module).await != folder {
                continue;
            }
            if let Err(error) = self.rollback_here(module, Some(&pinned)).await {
                tracing::warn!(module, %error, "this node cannot follow a rollback of the cluster");
            }
        }
        Ok(())
    }
}
