//! The place of each module: what the workers hold of it, and whose turn it is to change that.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{OwnedMutexGuard, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::{Holding, LOOK, PARTS, Swapper};

/// One for each module there is or was.
#[derive(Default)]
pub(super) struct Places(Mutex<HashMap<String, Arc<Place>>>);

/// One module's place.
#[derive(Default)]
pub(super) struct Place {
    /// `None`: no worker holds the module.
    holding: Arc<tokio::sync::Mutex<Option<Holding>>>,
    /// Cancelled by a rollback that waits for the place.
    hurry: Mutex<CancellationToken>,
}

/// The right to change what the workers hold of a module.
pub(super) struct PlaceGuard {
    holding: OwnedMutexGuard<Option<Holding>>,
    /// Cancelled when a rollback wants the place: what is only being prepared then ends.
    pub hurry: CancellationToken,
}

impl std::ops::Deref for PlaceGuard {
    type Target = Option<Holding>;

    fn deref(&self) -> &Option<Holding> {
        &self.holding
    }
}

impl std::ops::DerefMut for PlaceGuard {
    fn deref_mut(&mut self) -> &mut Option<Holding> {
        &mut self.holding
    }
}

impl Place {
    fn held(&self, holding: OwnedMutexGuard<Option<Holding>>) -> PlaceGuard {
        PlaceGuard { holding, hurry: self.hurry.lock().clone() }
    }

    /// Waits until nobody changes the module.
    async fn lock(&self) -> PlaceGuard {
        let holding = self.holding.clone().lock_owned().await;
        self.held(holding)
    }
}

impl Places {
    fn of(&self, module: &str) -> Arc<Place> {
        self.0.lock().entry(module.to_owned()).or_default().clone()
    }

    /// Forgets modules that no worker holds and nobody waits for.
    fn tidy(&self) {
        // Nobody else can get hold of one meanwhile.
        self.0.lock().retain(|_, place| {
            let free = Arc::strong_count(place) == 1 && Arc::strong_count(&place.holding) == 1;
            !(free && place.holding.try_lock().is_ok_and(|holding| holding.is_none()))
        });
    }
}

impl Swapper {
    /// The place of a module, as soon as nobody else has it.
    pub(super) async fn place(&self, module: &str) -> PlaceGuard {
        self.places.of(module).lock().await
    }

    /// The same when the module can be swapped: too many of its generations may still drain.
    pub(super) async fn turn(&self, module: &str) -> PlaceGuard {
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
    pub(super) async fn turn_to_run(&self, module: &str) -> (PlaceGuard, Option<SemaphorePermit<'_>>) {
        loop {
            drop(self.turn(module).await);
            // Never closed.
            let permit = self.room.acquire_many(PARTS).await.ok();
            let place = self.places.of(module);
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
    pub(super) async fn turn_at_once(&self, module: &str) -> PlaceGuard {
        let place = self.places.of(module);
        place.hurry.lock().cancel();
        let mut held = self.turn(module).await;
        held.hurry = CancellationToken::new();
        place.hurry.lock().clone_from(&held.hurry);
        held
    }

    /// Gives a place back.
    pub(super) fn leave(&self, held: PlaceGuard) {
        let empty = held.is_none();
        drop(held);
        if empty {
            self.places.tidy();
        }
    }
}
