//! Keeps what guests still do after their replies from piling up.
//!
//! A guest of `wasi:http` 0.3 sends a response and then ends its tasks, streams and futures. For
//! some of these steps it yields, and wasmtime runs one such step in a turn, after everything else.
//! So under load, new calls would leave ever more behind, up to `limits.handles`.

use wasmtime::AsContextMut;
use wasmtime::component::Accessor;

use crate::call::bounds;
use crate::isolate::state::State;
use crate::isolate::turn::TurnLimiter;

/// The calls between two looks at the store.
const CALLS: usize = 32;

/// Lets no call start while the store works off what others have left.
pub(super) struct Leftovers {
    /// The entries of wasmtime's table of tasks, streams and futures beyond which calls wait.
    most: usize,
    /// What `most` exceeds the entries by that do not become fewer.
    margin: usize,
    /// The calls since the last look, or the turns while calls wait.
    count: usize,
    /// The entries at the last look, while calls wait.
    waits: Option<usize>,
}

impl Leftovers {
    /// `handles` is `limits.handles`. Each handle to a stream or a future has an entry.
    pub fn new(handles: u32) -> Leftovers {
        let margin = usize::try_from(handles / 4).unwrap_or(usize::MAX);
        Leftovers { most: margin, margin, count: 0, waits: None }
    }

    /// Counts a call that starts.
    pub fn count_call(&mut self) {
        self.count += 1;
    }

    /// Whether one more call may start in this turn, as [`TurnLimiter::has_room`] tells.
    pub fn leave_room(&mut self, accessor: &Accessor<State>, limiter: &TurnLimiter) -> bool {
        limiter.has_room() && (self.are_few(accessor) || limiter.refuse())
    }

    fn are_few(&mut self, accessor: &Accessor<State>) -> bool {
        // In as many turns, each task has its turn, and some end if any can.
        let look_at = self.waits.map_or(CALLS, |entries| entries / 2);
        self.count += usize::from(self.waits.is_some());
        if self.count < look_at {
            return self.waits.is_none();
        }
        self.count = 0;
        let entries = accessor.with(|mut access| {
            let mut store = access.as_context_mut();
            store.concurrent_resource_table().map_or(0, |table| table.iter_mut().count())
        });
        if self.waits.is_some_and(|before| entries >= before) {
            // They belong to calls and responses that have not ended.
            self.most = self.most.max(entries.saturating_add(self.margin));
        }
        if entries > self.most && self.waits.is_none() {
            bounds::LEFTOVERS.count();
        }
        self.waits = (entries > self.most).then_some(entries);
        self.waits.is_none()
    }
}
