//! The host events that loads and swaps raise.

use super::swapper::Swapper;
use crate::events::HostEvent;
use crate::registry::Generation;

impl Swapper {
    pub(super) fn raise(&self, event: HostEvent) {
        self.services.events.raise(event);
    }

    pub(super) fn raise_loaded(&self, generation: &Generation) {
        let (module, generation) = (generation.module.as_ref().into(), generation.short_digest().into());
        self.raise(HostEvent::ModuleLoaded { module, generation });
    }

    pub(super) fn raise_swap_started(&self, from: &Generation, to: &Generation) {
        let (from, to, module) = (from.short_digest().into(), to.short_digest().into(), to.module.as_ref().into());
        self.raise(HostEvent::SwapStarted { module, from, to });
    }

    pub(super) fn raise_swap_committed(&self, module: &str, from: &str, to: &str) {
        self.raise(HostEvent::SwapCommitted { module: module.into(), from: from.into(), to: to.into() });
    }

    /// `from` is the generation that keeps serving.
    pub(super) fn raise_rejected(&self, module: &str, from: Option<&Generation>, reason: &str) {
        let from = from.map(|generation| generation.short_digest().into());
        self.raise(HostEvent::SwapRejected { module: module.into(), from, reason: reason.into() });
    }

    pub(super) fn raise_rolled_back(&self, module: &str, from: &str, to: &str, reason: &str) {
        let (module, from, to, reason) = (module.into(), from.into(), to.into(), reason.into());
        self.raise(HostEvent::SwapRolledBack { module, from, to, reason });
    }

    pub(super) fn raise_canary_ended(&self, module: &str, generation: &str, promoted: bool) {
        self.raise(HostEvent::CanaryEnded { module: module.into(), generation: generation.into(), promoted });
    }
}
