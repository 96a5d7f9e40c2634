//! What the isolates hold of each module, and whose turn it is to change that.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::canary::Canary;
use crate::isolate::Program;

/// Generations of a module that may drain at once; a further swap waits.
const DRAINING: usize = 2;

/// A module that the workers hold.
pub(super) struct Holding {
    pub(super) program: Arc<Program>,
    /// What still drains.
    pub(super) draining: Vec<JoinHandle<()>>,
    pub(super) canary: Option<Canary>,
}

impl Holding {
    pub(super) fn new(program: Arc<Program>) -> Holding {
        Holding { program, draining: Vec::new(), canary: None }
    }

    /// Whether the module cannot be swapped before something has ended.
    pub(super) fn too_many(&mut self) -> bool {
        self.draining.retain(|drain| !drain.is_finished());
        self.draining.len() >= DRAINING
    }
}

/// One for each module there is or was.
#[derive(Default)]
pub(super) struct ModuleLocks(Mutex<HashMap<String, Arc<ModuleLock>>>);

/// One module's place.
#[derive(Default)]
pub(super) struct ModuleLock {
    /// `None`: no worker holds the module.
    pub(super) holding: Arc<tokio::sync::Mutex<Option<Holding>>>,
    /// Cancelled by a rollback that waits for the place.
    pub(super) hurry: Mutex<CancellationToken>,
}

/// The right to change what the workers hold of a module.
pub(super) struct ModuleGuard {
    holding: OwnedMutexGuard<Option<Holding>>,
    /// Cancelled when a rollback wants the place: what is only being prepared then ends.
    pub hurry: CancellationToken,
}

impl std::ops::Deref for ModuleGuard {
    type Target = Option<Holding>;

    fn deref(&self) -> &Option<Holding> {
        &self.holding
    }
}

impl std::ops::DerefMut for ModuleGuard {
    fn deref_mut(&mut self) -> &mut Option<Holding> {
        &mut self.holding
    }
}

impl ModuleLock {
    pub(super) fn held(&self, holding: OwnedMutexGuard<Option<Holding>>) -> ModuleGuard {
        ModuleGuard { holding, hurry: self.hurry.lock().clone() }
    }

    /// Waits until nobody changes the module.
    pub(super) async fn lock(&self) -> ModuleGuard {
        let holding = self.holding.clone().lock_owned().await;
        self.held(holding)
    }
}

impl ModuleLocks {
    pub(super) fn of(&self, module: &str) -> Arc<ModuleLock> {
        self.0.lock().entry(module.to_owned()).or_default().clone()
    }

    /// Forgets modules that no worker holds and nobody waits for.
    pub(super) fn tidy(&self) {
        // Nobody else can get hold of one meanwhile.
        self.0.lock().retain(|_, place| {
            let free = Arc::strong_count(place) == 1 && Arc::strong_count(&place.holding) == 1;
            !(free && place.holding.try_lock().is_ok_and(|holding| holding.is_none()))
        });
    }
}
