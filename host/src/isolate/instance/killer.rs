//! Ends an instance at once, from outside of its task.

use std::sync::Arc;

use tokio::task::AbortHandle;

use super::control::Control;
use super::end_calls;
use crate::isolate::running_calls::RunningCalls;
use crate::isolate::slot_core::SlotCore;

/// The reason in the error of each call that ran in a killed instance.
pub(super) const KILLED: &str = "the isolate was killed";

/// Ends an instance at once. It remains usable after the instance was handed to its successor, and
/// after the instance has ended.
#[derive(Clone)]
pub struct Killer {
    pub(super) abort: AbortHandle,
    pub(super) control: Arc<Control>,
    pub(super) running_calls: Arc<RunningCalls>,
    pub(super) slot: Arc<SlotCore>,
    /// The short digest of the generation. Not the generation itself, which must be freed with the
    /// instance.
    pub(super) generation: Arc<str>,
}

impl Killer {
    /// Whether the instance has ended.
    pub fn has_ended(&self) -> bool {
        self.control.ended.is_cancelled()
    }

    /// Waits until the instance has ended.
    pub async fn ended(&self) {
        self.control.ended.cancelled().await;
    }

    /// Drops the instance's store, and ends each running call with the error `crashed`. These calls
    /// do not count as failures of the generation. Returns their number.
    ///
    /// A guest that computes is interrupted at the next tick. So this waits for longer than a tick
    /// only while host code blocks the thread.
    pub async fn kill(&self) -> usize {
        self.control.drain();
        self.abort.abort();
        self.ended().await;
        self.control.snapshots.close();
        let (plain, nested) = self.running_calls.counts();
        let (running, slot, generation) = (&self.running_calls, &self.slot, &self.generation);
        end_calls(running, slot, generation, KILLED, RunningCalls::end_all_as_killed);
        plain + nested
    }
}
