//! Counts the first calls of an instance, after which its memory shows what the module needs.

use wasmtime::component::Accessor;

use super::InstanceTask;
use crate::isolate::state::State;

/// The number of first calls. During these, the memory may grow up to the limit, because many
/// modules load what they keep in their first calls. So an instance runs at least this many calls
/// before it is replaced for its memory.
const CALLS: u32 = 256;

impl InstanceTask {
    /// Counts a call that starts. Sets the mark for the memory after the first calls.
    pub(super) fn count_first_call(&self, accessor: &Accessor<State>, calls: &mut u32) {
        if *calls == CALLS {
            return;
        }
        *calls += 1;
        if *calls < CALLS {
            return;
        }
        let (is_high, memory) = accessor.with(|mut access| {
            let usage = &mut access.get().usage;
            (usage.set_mark(), usage.memory())
        });
        if self.slot.stats.note_high_memory(is_high) {
            let limit = self.deployment.generation.limits.memory;
            tracing::warn!(
                module = %self.slot.module, isolate = %self.slot.isolate,
                "after {CALLS} calls, the memory of an instance has {memory} bytes of limits.memory, {limit} bytes; \
                 raise limits.memory in module.json, or let the module keep less"
            );
        }
    }
}
