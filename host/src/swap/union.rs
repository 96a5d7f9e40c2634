//! Where a swap takes place: in all isolates that the old or the new generation lives in.

use std::sync::Arc;

use super::swapper::Swapper;
use crate::isolate::{Isolate, Slot};
use crate::registry::Generation;

/// The places that a swap changes, by what becomes of the module there.
#[derive(Default)]
pub(super) struct Union {
    /// Another generation takes over.
    pub stay: Vec<Arc<Slot>>,
    /// The new generation starts here, without state.
    pub join: Vec<Arc<Isolate>>,
    /// The old generation ends here. Its state is lost, its calls are not.
    pub leave: Vec<Arc<Slot>>,
}

impl Union {
    /// Only places that both generations live in.
    pub fn within(slots: impl IntoIterator<Item = Arc<Slot>>) -> Union {
        Union { stay: slots.into_iter().collect(), ..Union::default() }
    }

    /// The same but for some places.
    pub fn without(mut self, slots: &[Arc<Slot>]) -> Union {
        self.stay.retain(|slot| !slots.iter().any(|other| other.isolate == slot.isolate));
        self
    }

    /// The slots that serve before the swap.
    pub fn held(&self) -> Vec<Arc<Slot>> {
        self.stay.iter().chain(&self.leave).cloned().collect()
    }
}

impl Swapper {
    /// Where a module is served, wherever it lives.
    pub(super) fn slots(&self, module: &str) -> Vec<Arc<Slot>> {
        self.dispatch.places().slots(module)
    }

    /// The isolates that hold a generation, or will.
    pub(super) fn isolates(&self, generation: &Generation) -> Vec<Arc<Isolate>> {
        self.dispatch.places().of(generation.places()).cloned().collect()
    }

    /// Where the module is served, and where this generation of it is to be.
    pub(super) fn union(&self, generation: &Generation) -> Union {
        let isolates = self.isolates(generation);
        let lives = |slot: &Arc<Slot>| isolates.iter().any(|isolate| isolate.id == slot.isolate);
        let (stay, leave) = self.slots(&generation.module).into_iter().partition(lives);
        let join = isolates.iter().filter(|isolate| isolate.slot(&generation.module).is_none()).cloned().collect();
        Union { stay, join, leave }
    }
}
