//! The installed modules, and the lock that a change of a module takes.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::OwnedMutexGuard;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::canary::Canary;
use super::hand_over::HandOver;
use crate::isolate::Program;

/// How many generations of a module may drain at once. A further swap waits.
const MAX_DRAINING: usize = 2;

/// A module that is installed in the isolates.
pub(super) struct InstalledModule {
    pub(super) program: Arc<Program>,
    /// One task for each generation that still drains.
    pub(super) draining: Vec<JoinHandle<()>>,
    pub(super) canary: Option<Canary>,
}

impl InstalledModule {
    pub(super) fn new(program: Arc<Program>) -> InstalledModule {
        InstalledModule { program, draining: Vec::new(), canary: None }
    }

    /// Whether a swap has to wait because too many previous generations still drain.
    pub(super) fn is_draining_too_many(&mut self) -> bool {
        self.draining.retain(|drain| !drain.is_finished());
        self.draining.len() >= MAX_DRAINING
    }
}

/// One lock for each module, by name.
#[derive(Default)]
pub(super) struct ModuleLocks(Mutex<HashMap<String, Arc<ModuleLock>>>);

#[derive(Default)]
pub(super) struct ModuleLock {
    /// `None` when the module is not installed.
    pub(super) module: Arc<tokio::sync::Mutex<Option<InstalledModule>>>,
    /// A rollback that waits for the lock cancels it.
    pub(super) preempt: Mutex<CancellationToken>,
    /// Immediate kills take this instead of the lock.
    pub(super) hand_over: HandOver,
}

/// The right to change a module. Dropping it releases the lock.
pub(super) struct ModuleGuard {
    module: OwnedMutexGuard<Option<InstalledModule>>,
    /// Cancelled when a rollback wants the lock: whatever is only being prepared then ends.
    pub preempt: CancellationToken,
}

impl std::ops::Deref for ModuleGuard {
    type Target = Option<InstalledModule>;

    fn deref(&self) -> &Option<InstalledModule> {
        &self.module
    }
}

impl std::ops::DerefMut for ModuleGuard {
    fn deref_mut(&mut self) -> &mut Option<InstalledModule> {
        &mut self.module
    }
}

impl ModuleLock {
    pub(super) fn guard(&self, module: OwnedMutexGuard<Option<InstalledModule>>) -> ModuleGuard {
        ModuleGuard { module, preempt: self.preempt.lock().clone() }
    }

    pub(super) async fn lock(&self) -> ModuleGuard {
        let module = self.module.clone().lock_owned().await;
        self.guard(module)
    }
}

impl ModuleLocks {
    pub(super) fn of(&self, module: &str) -> Arc<ModuleLock> {
        self.0.lock().entry(module.to_owned()).or_default().clone()
    }

    /// Removes the locks of modules that are not installed and that no task uses.
    pub(super) fn remove_unused(&self) {
        // While the map is locked, no other task can get a lock out of it.
        self.0.lock().retain(|_, lock| {
            let unused = Arc::strong_count(lock) == 1 && Arc::strong_count(&lock.module) == 1;
            !(unused && lock.module.try_lock().is_ok_and(|module| module.is_none()))
        });
    }
}
