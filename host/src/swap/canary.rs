//! A canary: what is on trial where, and its verdict.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{BoxFuture, Shared};
use tokio::sync::oneshot;

use super::error::SwapError;
use super::outcome::Ended;
use crate::call::IsolateId;
use crate::isolate::{Program, Slot};
use crate::registry::{Candidate, Rollout};

/// A trial that goes on. Whoever takes it out of its [`Holding`] ends it.
pub(super) struct Canary {
    pub(super) number: u64,
    pub(super) program: Arc<Program>,
    pub(super) candidate: Candidate,
    pub(super) slots: Vec<Arc<Slot>>,
    pub(super) rollout: Rollout,
    pub(super) begun: Instant,
    /// Calls that ran on when the state of these workers was saved.
    pub(super) running: usize,
    pub(super) tell: oneshot::Sender<Ended>,
    pub(super) ended: Trial,
}

/// How a trial ends, for all who wait.
pub(super) type Trial = Shared<BoxFuture<'static, Ended>>;

impl Canary {
    /// Whether this is what is on trial.
    pub(super) fn is(&self, candidate: &Candidate) -> bool {
        candidate.is(&self.program.generation)
    }

    /// What serves in an isolate, if that tries it.
    pub(super) fn in_place(&self, isolate: IsolateId) -> Option<&Arc<Program>> {
        self.slots.iter().any(|slot| slot.isolate == isolate).then_some(&self.program)
    }

    fn failures(&self) -> u64 {
        self.slots.iter().map(|slot| slot.deployment().failures()).sum()
    }

    /// Why it has failed, if it has.
    pub(super) fn verdict(&self) -> Option<SwapError> {
        let (failures, most) = (self.failures(), self.rollout.max_failures);
        let down = self.slots.iter().find_map(|slot| slot.failed());
        let after = self.begun.elapsed();
        match down {
            Some(error) => Some(SwapError::CanaryDown { after, error: Box::new(error) }),
            None if failures > most => {
                Some(SwapError::CanaryFailures { after, failures, places: places(&self.slots), most })
            }
            None => None,
        }
    }
}

pub(super) fn places(slots: &[Arc<Slot>]) -> String {
    slots.iter().map(|slot| slot.isolate.to_string()).collect::<Vec<_>>().join(", ")
}
