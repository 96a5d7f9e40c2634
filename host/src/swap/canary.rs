//! The state of a canary, and when it counts as failed.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::error::SwapError;
use super::outcome::ReloadResult;
use crate::call::IsolateId;
use crate::isolate::{Program, Slot};
use crate::ports::Confirm;
use crate::registry::{Candidate, PatternClaim, Rollout};

/// A running canary: some workers run the new generation, all other isolates the previous one. A
/// task that takes the canary out of its [`InstalledModule`](super::installed::InstalledModule)
/// must end it.
pub(super) struct Canary {
    pub(super) number: u64,
    pub(super) program: Arc<Program>,
    pub(super) candidate: Candidate,
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) rollout: Rollout,
    pub(super) started: Instant,
    /// Calls of these workers that were still running when `save` ran.
    pub(super) running: usize,
    pub(super) report: oneshot::Sender<ReloadResult>,
    pub(super) result: CanaryResult,
    /// Whether this node may still change the module.
    pub(super) confirm: Confirm,
    /// Keeps other modules from declaring the stream patterns of the candidate.
    pub(super) _claim: PatternClaim,
}

/// Resolves when the canary ends. Every reload that waits for the canary has a clone.
pub(super) type CanaryResult = Shared<BoxFuture<'static, ReloadResult>>;

impl Canary {
    /// Whether the canary runs this candidate.
    pub(super) fn runs(&self, candidate: &Candidate) -> bool {
        candidate.matches(&self.program.generation)
    }

    /// The canary's program, if this isolate runs it.
    pub(super) fn program_in(&self, isolate: IsolateId) -> Option<&Arc<Program>> {
        self.slots.iter().any(|slot| slot.isolate == isolate).then_some(&self.program)
    }

    fn failed_calls(&self) -> u64 {
        self.slots.iter().map(|slot| slot.deployment().failures()).sum()
    }

    /// Why the canary has failed, if it has.
    pub(super) fn failure(&self) -> Option<SwapError> {
        let (failures, max) = (self.failed_calls(), self.rollout.max_failures);
        let failed_slot = self.slots.iter().find_map(|slot| slot.failed());
        let after = self.started.elapsed();
        match failed_slot {
            Some(error) => Some(SwapError::CanaryDown { after, error: Box::new(error) }),
            None if failures > max => {
                Some(SwapError::CanaryFailures { after, failures, workers: isolate_names(&self.slots), max })
            }
            None => None,
        }
    }
}

pub(super) fn isolate_names(slots: &[Arc<Slot>]) -> String {
    slots.iter().map(|slot| slot.isolate.to_string()).collect::<Vec<_>>().join(", ")
}
