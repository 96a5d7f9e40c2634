//! The turns of kills.

use tokio::sync::Mutex;

use crate::api::KillMode;

/// Kills of the same mode take turns, so that only one isolate at a time has instances that start.
/// An immediate kill does not wait for a graceful one, which may take as long as calls run.
#[derive(Default)]
pub(super) struct KillTurns {
    graceful: Mutex<()>,
    immediate: Mutex<()>,
}

impl KillTurns {
    pub(super) fn of(&self, mode: KillMode) -> &Mutex<()> {
        match mode {
            KillMode::Graceful => &self.graceful,
            KillMode::Immediate => &self.immediate,
        }
    }
}
