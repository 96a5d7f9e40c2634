//! The modules of the master isolate, as the backend of hooks.

use std::sync::Arc;

use crate::call::Payload;
use crate::dispatch::Dispatch;
use crate::isolate::Slot;
use crate::triggers::hooks::{HookBackend, HookedModule};

/// The modules of the master isolate.
pub(super) struct MasterModules(pub Arc<Dispatch>);

impl MasterModules {
    fn slot(&self, module: &str) -> Option<Arc<Slot>> {
        self.0.places().master.as_ref()?.slot(module)
    }
}

impl HookBackend for MasterModules {
    fn modules(&self) -> Vec<HookedModule> {
        let slots = self.0.places().master.iter().flat_map(|master| master.slots());
        let hooked = slots.filter(|slot| slot.deployment().generation.manifest.has_event_hook(None));
        let module = |slot: Arc<Slot>| HookedModule {
            name: slot.module.clone(),
            most: slot.deployment().generation.limits.mailbox as usize,
        };
        hooked.map(module).collect()
    }

    fn has_hook(&self, module: &str, event: &str) -> bool {
        // Not that of `workerMessage` and `brokerMessage`, which have hooks of the same name: those
        // receive the messages themselves.
        self.slot(module).is_some_and(|slot| slot.deployment().generation.manifest.has_event_hook(Some(event)))
    }

    async fn call(&self, module: &str, event: &'static str, payload: Payload) -> bool {
        match self.slot(module) {
            Some(slot) => self.0.call_event_hook(&slot, event, payload).await,
            None => true,
        }
    }

    fn count_dropped(&self, module: &str, count: u64) {
        if let Some(slot) = self.slot(module) {
            slot.stats.dropped_events.inc_by(count);
        }
    }
}
