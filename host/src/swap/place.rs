//! The place of each module: what the workers hold of it, and whose turn it is to change that.

use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::holding::{Holding, ModuleGuard};
use super::swapper::{LOOK, PARTS, Swapper};

impl Swapper {
    /// The place of a module, as soon as nobody else has it.
    pub(super) async fn place(&self, module: &str) -> ModuleGuard {
        self.locks.of(module).lock().await
    }

    /// The same when the module can be swapped: too many of its generations may still drain.
    pub(super) async fn turn(&self, module: &str) -> ModuleGuard {
        loop {
            let mut held = self.place(module).await;
            if !held.as_mut().is_some_and(Holding::too_many) {
                return held;
            }
            drop(held);
            tokio::time::sleep(LOOK).await;
        }
    }

    /// The same for a reload, of which only some run at once. While it waits for the others it does
    /// not have the place.
    pub(super) async fn turn_to_run(&self, module: &str) -> (ModuleGuard, Option<SemaphorePermit<'_>>) {
        loop {
            drop(self.turn(module).await);
            // Never closed.
            let permit = self.room.acquire_many(PARTS).await.ok();
            let place = self.locks.of(module);
            if let Ok(holding) = place.holding.clone().try_lock_owned() {
                let mut held = place.held(holding);
                if !held.as_mut().is_some_and(Holding::too_many) {
                    return (held, permit);
                }
            }
        }
    }

    /// Gives back the room that a reload has and a component of this many bytes does not need.
    pub(super) fn keep_needed(&self, permit: &mut Option<SemaphorePermit<'_>>, bytes: usize) {
        let needed = (bytes as u64).saturating_mul(PARTS.into()).div_ceil(self.config.engine.max_component.max(1));
        let surplus = u64::from(PARTS).saturating_sub(needed.max(1));
        drop(permit.as_mut().and_then(|permit| permit.split(usize::try_from(surplus).unwrap_or_default())));
    }

    /// The same for a rollback, which is prompt: what others only prepare for the module ends.
    pub(super) async fn turn_at_once(&self, module: &str) -> ModuleGuard {
        let place = self.locks.of(module);
        place.hurry.lock().cancel();
        let mut held = self.turn(module).await;
        held.hurry = CancellationToken::new();
        place.hurry.lock().clone_from(&held.hurry);
        held
    }

    /// Gives a place back.
    pub(super) fn leave(&self, held: ModuleGuard) {
        let empty = held.is_none();
        drop(held);
        if empty {
            self.locks.tidy();
        }
    }
}
