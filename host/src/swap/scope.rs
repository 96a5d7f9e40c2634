//! The isolates that a swap changes: all that run the old or the new generation.

use std::sync::Arc;

use super::swapper::Swapper;
use crate::isolate::{Isolate, Slot};
use crate::registry::Generation;

/// The isolates that a swap changes, by what happens to the module there.
#[derive(Default)]
pub(super) struct SwapScope {
    /// The new generation replaces the old one, and gets its state.
    pub stay: Vec<Arc<Slot>>,
    /// The new generation starts here, without state.
    pub join: Vec<Arc<Isolate>>,
    /// The old generation ends here. Its calls complete, its state is lost.
    pub leave: Vec<Arc<Slot>>,
}

impl SwapScope {
    /// A swap in slots that both generations use.
    pub fn within(slots: impl IntoIterator<Item = Arc<Slot>>) -> SwapScope {
        SwapScope { stay: slots.into_iter().collect(), ..SwapScope::default() }
    }

    /// Removes the isolates of these slots from the scope.
    pub fn without(mut self, slots: &[Arc<Slot>]) -> SwapScope {
        self.stay.retain(|slot| !slots.iter().any(|other| other.isolate == slot.isolate));
        self
    }

    /// The slots in which the old generation serves.
    pub fn old_slots(&self) -> Vec<Arc<Slot>> {
        self.stay.iter().chain(&self.leave).cloned().collect()
    }
}

impl Swapper {
    /// The slots of a module, in all isolates.
    pub(super) fn slots(&self, module: &str) -> Vec<Arc<Slot>> {
        self.dispatch.places().slots(module)
    }

    /// The isolates in which a generation runs once it is installed.
    pub(super) fn isolates(&self, generation: &Generation) -> Vec<Arc<Isolate>> {
        self.dispatch.places().of(generation.places()).cloned().collect()
    }

    /// The scope of a swap from the installed generation of the module to this one.
    pub(super) fn scope(&self, generation: &Generation) -> SwapScope {
        let isolates = self.isolates(generation);
        let stays = |slot: &Arc<Slot>| isolates.iter().any(|isolate| isolate.id == slot.isolate);
        let (stay, leave) = self.slots(&generation.module).into_iter().partition(stays);
        let join = isolates.iter().filter(|isolate| isolate.slot(&generation.module).is_none()).cloned().collect();
        SwapScope { stay, join, leave }
    }
}
