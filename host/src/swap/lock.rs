//! Locking a module for a change, and the memory that reloads may use together.
//!
//! Modules share two things. One is room in memory for four components of the largest size: a
//! reload reserves one before it reads its files, then keeps only as much as its own component
//! needs, so that small modules with slow startups leave room for others. The other is the
//! permission to compile, which one reload has at a time. It waits for the permission without the
//! lock of its module, and reads its files again when its turn comes. Rollbacks and the verdicts of
//! canaries need neither.

use tokio::sync::SemaphorePermit;
use tokio_util::sync::CancellationToken;

use super::installed::{InstalledModule, ModuleGuard};
use super::swapper::{MEMORY_PARTS, POLL, Swapper};

impl Swapper {
    /// Waits for the lock of a module.
    pub(super) async fn lock_module(&self, module: &str) -> ModuleGuard {
        self.locks.of(module).lock().await
    }

    /// Waits for the lock of a module, and until few enough of its generations drain for a swap.
    pub(super) async fn lock_for_swap(&self, module: &str) -> ModuleGuard {
        loop {
            let mut guard = self.lock_module(module).await;
            if !guard.as_mut().is_some_and(InstalledModule::is_draining_too_many) {
                return guard;
            }
            drop(guard);
            tokio::time::sleep(POLL).await;
        }
    }

    /// Like [`Swapper::lock_for_swap`], and reserves memory for the largest component. While it
    /// waits for memory it does not have the lock.
    pub(super) async fn lock_for_reload(&self, module: &str) -> (ModuleGuard, Option<SemaphorePermit<'_>>) {
        loop {
            drop(self.lock_for_swap(module).await);
            // The semaphore is never closed.
            let memory = self.memory.acquire_many(MEMORY_PARTS).await.ok();
            let lock = self.locks.of(module);
            if let Ok(module) = lock.module.clone().try_lock_owned() {
                let mut guard = lock.guard(module);
                if !guard.as_mut().is_some_and(InstalledModule::is_draining_too_many) {
                    return (guard, memory);
                }
            }
        }
    }

    /// Returns the part of a reload's memory that a component of this size does not need.
    pub(super) fn release_surplus(&self, memory: &mut Option<SemaphorePermit<'_>>, bytes: usize) {
        let max = self.config.engine.max_component.max(1);
        let needed = (bytes as u64).saturating_mul(MEMORY_PARTS.into()).div_ceil(max);
        let surplus = u64::from(MEMORY_PARTS).saturating_sub(needed.max(1));
        drop(memory.as_mut().and_then(|memory| memory.split(usize::try_from(surplus).unwrap_or_default())));
    }

    /// Like [`Swapper::lock_for_swap`], for a rollback, which must not wait for long: a reload that
    /// is still preparing the module ends at once.
    pub(super) async fn lock_for_rollback(&self, module: &str) -> ModuleGuard {
        let lock = self.locks.of(module);
        lock.preempt.lock().cancel();
        let mut guard = self.lock_for_swap(module).await;
        guard.preempt = CancellationToken::new();
        lock.preempt.lock().clone_from(&guard.preempt);
        guard
    }

    /// Releases the lock of a module.
    pub(super) fn unlock(&self, guard: ModuleGuard) {
        let not_installed = guard.is_none();
        drop(guard);
        if not_installed {
            self.locks.remove_unused();
        }
    }
}
