//! What the plan and its schedules share: keys, due times, workers, and the bounds of time.

use std::sync::Arc;

/// How late the host may notice a due time and still run it. Later than that, it is missed.
pub const GRACE: u64 = 10_000;

/// How far the clock may go back before due times that have passed once are due again.
pub const MOST_BACK: u64 = 3_600_000;

/// The most runs of a schedule that may run or wait at once when runs may overlap: in all workers
/// together for the type `worker`, in each for the type `all`.
pub const MOST_RUNS: u32 = 64;

/// A schedule of the node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    pub module: Arc<str>,
    pub name: Arc<str>,
    pub subdomain: Option<Arc<str>>,
}

/// A due time to act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    pub key: Key,
    pub due: u64,
    /// Whether it is due because the module began to serve.
    pub immediate: bool,
    /// Whether the due time has passed, and it is asked whether a run is owed.
    pub is_check: bool,
}

/// A worker that has a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerState {
    pub worker: u32,
    pub ready: bool,
    /// Whether the module has failed there.
    pub failed: bool,
}

/// The first worker from `turn` on that is ready. Without one, a run waits in a worker that will be
/// ready, or fails in one that has failed.
pub fn choose(workers: &[WorkerState], turn: u32) -> Option<u32> {
    let ranks: [fn(&WorkerState) -> bool; 3] = [|state| state.ready, |state| !state.failed, |_| true];
    ranks.into_iter().find_map(|fits| {
        let fitting = || workers.iter().filter(|state| fits(state)).map(|state| state.worker);
        fitting().find(|worker| *worker >= turn).or_else(|| fitting().next())
    })
}
