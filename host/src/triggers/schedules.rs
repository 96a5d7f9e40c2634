//! Runs the schedules of all modules.
//!
//! One scheduler decides for the node. [`plan`] says what is due, and the backend runs it. The loop
//! sleeps for at most [`MOST_SLEEP`], so that it notices a jump of the clock.

mod backend;
mod claimed;
mod claims;
mod clock;
mod counts;
mod plan;
mod running;
mod status;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use backend::{AllTicks, ByHand, ScheduleBackend};
pub use clock::{Clock, SystemClock};
pub use counts::Counts;
#[cfg(any(test, fuzzing))]
pub(crate) use plan::run_plan;
pub use plan::{InstalledSchedules, Key, WorkerState};

use crate::api::ScheduleStatus;
use crate::call::text::{NAME, line};
use crate::call::{CallError, GatherEntry, IsolateId, Payload, ScheduleRun};
use crate::events::{EventLog, EventQuota};
use crate::registry::ScheduleKind;
use plan::Plan;
use status::status_of;

/// How long the scheduler sleeps at most, so that it notices a jump of the clock.
pub const MOST_SLEEP: Duration = Duration::from_secs(1);

/// The schedules that a turn handles before other tasks of the thread run.
const BATCH: usize = 8;

/// The scheduler of a node.
pub struct Schedules {
    backend: Arc<dyn ScheduleBackend>,
    clock: Arc<dyn Clock>,
    ticks: AllTicks,
    events: Arc<EventLog>,
    /// Runs the tasks that wait for runs.
    runtime: Handle,
    /// Counts those tasks, so that a stop waits for their reports.
    tasks: TaskTracker,
    /// Cancelled when the host begins to stop: nothing is due any more.
    stopping: CancellationToken,
    state: Mutex<State>,
    /// The beginning of the ids of all runs.
    ids: String,
    runs: AtomicU64,
    /// Counts the events about runs, and the log lines about missed runs.
    quota: EventQuota,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The change of the backend that the plan knows. `None` until the host serves.
    synced: Option<u64>,
    serving: bool,
    /// The due times of each schedule that this node is claiming.
    claiming: HashMap<Key, u32>,
}

impl Schedules {
    /// Must be called on the runtime that is to run the scheduler.
    pub fn new(
        node: &str,
        backend: Arc<dyn ScheduleBackend>,
        clock: Arc<dyn Clock>,
        ticks: AllTicks,
        events: Arc<EventLog>,
        tasks: TaskTracker,
        stopping: CancellationToken,
    ) -> Arc<Schedules> {
        let ids = format!("{node}-{:x}", events.epoch);
        Arc::new(Schedules {
            backend,
            clock,
            ticks,
            events,
            runtime: Handle::current(),
            tasks,
            stopping,
            state: Mutex::default(),
            ids,
            runs: AtomicU64::new(0),
            quota: EventQuota::default(),
        })
    }

    /// Begins to serve: from now on, schedules are due.
    pub fn open(&self) {
        self.state.lock().serving = true;
    }

    /// Runs what is due, until the host begins to stop.
    pub async fn run(self: Arc<Self>) {
        let mut changes = self.backend.changes();
        let stopping = self.stopping.clone();
        loop {
            changes.mark_unchanged();
            let now = self.clock.wall();
            while !self.step(now) {
                tokio::task::yield_now().await;
            }
            let pause = self.pause();
            let sleep = async {
                match pause {
                    Some(pause) => self.clock.sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stopping.cancelled() => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep => {}
            }
        }
    }

    /// How long the loop sleeps if the modules do not change. `None` if it has nothing to wait for.
    fn pause(&self) -> Option<Duration> {
        let state = self.state.lock();
        match state.plan.next() {
            Some(next) => Some(Duration::from_millis(next.saturating_sub(self.clock.wall())).min(MOST_SLEEP)),
            None => state.plan.may_be_due().then_some(MOST_SLEEP),
        }
    }

    /// Starts what is due, and takes over changes of the modules.
    fn turn(self: &Arc<Self>) {
        let now = self.clock.wall();
        while !self.step(now) {}
    }

    /// Takes over changes of the modules that the loop has not seen.
    fn catch_up(self: &Arc<Self>) {
        let version = *self.backend.changes().borrow();
        let seen = self.state.lock().synced == Some(version);
        if !seen {
            self.turn();
        }
    }

    /// A part of a turn: starts up to [`BATCH`] runs that are due, or takes over a change of the
    /// modules. Returns whether the turn is complete. What is due by the previous schedules of a
    /// module is started before they are replaced.
    fn step(self: &Arc<Self>, now: u64) -> bool {
        let (due, complete) = {
            let mut state = self.state.lock();
            if !state.serving || self.stopping.is_cancelled() {
                return true;
            }
            let (due, more) = state.plan.take_due(now, BATCH);
            let version = *self.backend.changes().borrow();
            let changed = state.synced != Some(version);
            if due.is_empty() && !more && changed {
                state.plan.sync(&self.backend.installed(), now);
                state.synced = Some(version);
            }
            (due, !more && !changed)
        };
        due.into_iter().for_each(|due| self.claim_and_start(due));
        complete
    }

    /// Runs a schedule now, whether it is due or not, and also if it is disabled. Returns an entry
    /// for each worker that has run it. The run continues when the future is dropped.
    pub async fn run_by_hand(
        self: &Arc<Self>,
        by_hand: ByHand<'_>,
    ) -> Result<(ScheduleKind, Vec<GatherEntry>), CallError> {
        self.catch_up();
        let ByHand { module, name, subdomain, payload, timeout } = by_hand;
        let key = Key { module: module.into(), name: name.into(), subdomain: subdomain.map(Arc::from) };
        let workers = self.backend.workers(module, name);
        let now = self.clock.wall();
        let (kind, assigned) = {
            let state = self.state.lock();
            let Some(entry) = state.plan.entry(&key) else {
                drop(state);
                return Err(self.unknown(&key));
            };
            (entry.schedule.kind, state.plan.choose_by_hand(&key, &workers))
        };
        if assigned.is_empty() {
            return Err(self.backend.missing(module));
        }
        let payload = Some(payload).filter(|payload| *payload != Payload::None);
        let scheduled = ScheduleRun { name: key.name.clone(), due: now, id: self.next_id() };
        let runs = assigned.into_iter().map(|run| {
            let assigned = run.worker;
            let task = self.begin_by_hand(key.clone(), run, scheduled.clone(), payload.clone(), timeout);
            async move {
                let stops = |_| (assigned, Err(CallError::stopping()));
                let (worker, outcome) = task.await.unwrap_or_else(stops);
                GatherEntry { isolate: IsolateId::Worker(worker), node: None, outcome }
            }
        });
        // All of them are queued before the first one is awaited.
        let runs: Vec<_> = runs.collect();
        Ok((kind, join_all(runs).await))
    }

    /// The error about a schedule that does not exist.
    fn unknown(&self, key: &Key) -> CallError {
        let state = self.state.lock();
        let of_module = || state.plan.entries().filter(|(other, _)| other.module == key.module);
        let names = of_module().filter(|(other, _)| other.subdomain.is_none()).map(|(other, _)| &*other.name);
        let names: Vec<&str> = names.take(32).collect();
        let (module, name) = (line(&key.module, NAME), line(&key.name, NAME));
        match &key.subdomain {
            _ if names.is_empty() => match self.backend.installed().iter().any(|one| one.module == key.module) {
                true => CallError::NotFound(format!("{module} has no schedules")),
                false => self.backend.missing(&key.module),
            },
            Some(subdomain) if names.contains(&&*key.name) => CallError::NotFound(format!(
                "the schedule `{name}` of {module} does not run for the subdomain {0}: name it in modules.{module}.subdomains.{0}.schedules",
                line(subdomain, NAME)
            )),
            _ => CallError::NotFound(format!("{module} has no schedule `{name}`; it has: {}", names.join(", "))),
        }
    }

    /// The schedules of all installed modules.
    pub fn status(self: &Arc<Self>) -> Vec<ScheduleStatus> {
        self.catch_up();
        self.state.lock().plan.entries().map(|(key, entry)| status_of(key, entry)).collect()
    }

    /// The counters of each schedule.
    pub fn counts(&self) -> Vec<(Key, Counts)> {
        self.state.lock().plan.entries().map(|(key, entry)| (key.clone(), entry.counts.clone())).collect()
    }
}
