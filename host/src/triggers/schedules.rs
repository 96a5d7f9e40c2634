//! Runs the schedules of all modules.
//!
//! One scheduler decides for the node. [`plan`] says what is due, and the backend runs it. The loop
//! sleeps for at most [`MOST_SLEEP`], so that it notices a jump of the clock.

mod clock;
mod counts;
mod plan;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{BoxFuture, join_all};
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub use clock::{Clock, SystemClock};
pub use counts::Counts;
pub use plan::{InstalledSchedules, Key, WorkerState};

use crate::api::{LastRun, ScheduleState, ScheduleStatus};
use crate::call::text::{MESSAGE, NAME, line};
use crate::call::{CallError, GatherEntry, IsolateId, Payload, Reply, ScheduleRun, bounds};
use crate::config::Overlap;
use crate::events::{EventLog, HostEvent};
use crate::registry::ScheduleKind;
use plan::{Assigned, Due, Entry, Plan};

/// How long the scheduler sleeps at most, so that it notices a jump of the clock.
pub const MOST_SLEEP: Duration = Duration::from_secs(1);

/// The most events about runs that the host raises in a second.
pub const MOST_EVENTS: u32 = 100;

/// The modules of the workers.
pub trait ScheduleBackend: Send + Sync + 'static {
    /// Changes when a module was installed, replaced or removed.
    fn changes(&self) -> watch::Receiver<u64>;

    /// The schedules of the installed modules.
    fn installed(&self) -> Vec<InstalledSchedules>;

    /// The workers that have the schedule, in index order.
    fn workers(&self, module: &str, name: &str) -> Vec<WorkerState>;

    /// Queues a run, and returns a future that resolves when it has ended.
    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, Result<Reply, CallError>>;

    /// Why a module that is not installed has no schedules.
    fn missing(&self, module: &str) -> CallError;
}

/// A run in one worker.
#[derive(Debug, Clone)]
pub struct RunCall {
    pub worker: u32,
    pub run: ScheduleRun,
    pub subdomain: Option<Arc<str>>,
    /// `None` for the data of the schedule.
    pub payload: Option<Payload>,
    /// How long a caller waits. `None` if no caller waits.
    pub timeout: Option<Duration>,
}

/// Which schedule to run by hand, and how.
#[derive(Debug, Clone)]
pub struct ByHand<'a> {
    pub module: &'a str,
    pub name: &'a str,
    pub subdomain: Option<&'a str>,
    /// [`Payload::None`] for the data of the schedule.
    pub payload: Payload,
    /// How long the caller waits. The module's `limits.timeout` applies too.
    pub timeout: Duration,
}

/// The scheduler of a node.
pub struct Schedules {
    backend: Arc<dyn ScheduleBackend>,
    clock: Arc<dyn Clock>,
    events: Arc<EventLog>,
    /// Runs the tasks that wait for runs.
    runtime: Handle,
    /// Cancelled when the host begins to stop: nothing is due any more.
    stopping: CancellationToken,
    state: Mutex<State>,
    /// The beginning of the ids of all runs.
    ids: String,
    runs: AtomicU64,
    begun: Instant,
}

#[derive(Default)]
struct State {
    plan: Plan,
    /// The change of the backend that the plan knows. `None` until the host serves.
    synced: Option<u64>,
    serving: bool,
    /// The second in which the scheduler last raised an event, and how many in it.
    recent: (u64, u32),
}

/// A run that has not ended. Its place is freed when it is dropped.
struct InFlight {
    schedules: Arc<Schedules>,
    key: Key,
    run: Assigned,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.schedules.state.lock().plan.ended(&self.key, &self.run);
    }
}

impl Schedules {
    /// Must be called on the runtime that is to run the scheduler.
    pub fn new(
        node: &str,
        backend: Arc<dyn ScheduleBackend>,
        clock: Arc<dyn Clock>,
        events: Arc<EventLog>,
        stopping: CancellationToken,
    ) -> Arc<Schedules> {
        let ids = format!("{node}-{:x}", events.epoch);
        Arc::new(Schedules {
            backend,
            clock,
            events,
            runtime: Handle::current(),
            stopping,
            state: Mutex::default(),
            ids,
            runs: AtomicU64::new(0),
            begun: Instant::now(),
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
            let next = self.turn();
            let pause = next.map(|next| Duration::from_millis(next.saturating_sub(self.clock.wall())).min(MOST_SLEEP));
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

    /// Starts what is due, and takes over changes of the modules. Returns the next due time.
    fn turn(self: &Arc<Self>) -> Option<u64> {
        let now = self.clock.wall();
        let (due, next) = {
            let mut state = self.state.lock();
            if !state.serving || self.stopping.is_cancelled() {
                return None;
            }
            let mut due = state.plan.take_due(now);
            let version = *self.backend.changes().borrow();
            if state.synced != Some(version) {
                state.plan.sync(&self.backend.installed(), now);
                state.synced = Some(version);
                due.extend(state.plan.take_due(now));
            }
            (due, state.plan.next())
        };
        due.into_iter().for_each(|due| self.start(due));
        next
    }

    /// Starts a run that is due.
    fn start(self: &Arc<Self>, Due { key, due }: Due) {
        let workers = self.backend.workers(&key.module, &key.name);
        if workers.is_empty() {
            // The module was removed meanwhile.
            return;
        }
        let assigned = self.state.lock().plan.assign(&key, &workers);
        let scheduled = ScheduleRun { name: key.name.clone(), due, id: self.next_id() };
        for run in assigned {
            let in_flight = InFlight { schedules: self.clone(), key: key.clone(), run };
            let worker = in_flight.run.worker;
            let subdomain = key.subdomain.clone();
            let call = RunCall { worker, run: scheduled.clone(), subdomain, payload: None, timeout: None };
            self.observe_lateness(&in_flight, due);
            let ended = self.begin(&key.module, call);
            self.runtime.spawn(async move {
                let ended = ended.await;
                let (schedules, key, run) = (in_flight.schedules.clone(), in_flight.key.clone(), in_flight.run.clone());
                // Its place is free before its end is reported.
                drop(in_flight);
                schedules.report(&key, &run, &ended);
            });
        }
    }

    /// The id of the next run, which all calls of the run share.
    fn next_id(&self) -> Arc<str> {
        let number = self.runs.fetch_add(1, Ordering::Relaxed) + 1;
        format!("{}-{number}", self.ids).into()
    }

    /// Queues a run. The future resolves when it has ended.
    fn begin(&self, module: &str, call: RunCall) -> impl Future<Output = Ended> + Send + use<> {
        let (started, ScheduleRun { due, id, .. }) = (Instant::now(), call.run.clone());
        let outcome = self.backend.run(module, call);
        async move {
            let outcome = outcome.await;
            Ended { id, due, run_time: started.elapsed(), outcome }
        }
    }

    fn observe_lateness(&self, run: &InFlight, due: u64) {
        let lateness = Duration::from_millis(self.clock.wall().saturating_sub(due));
        if let Some(entry) = self.state.lock().plan.numbered(&run.key, run.run.entry) {
            entry.counts.lateness.observe(lateness.as_secs_f64());
        }
    }

    /// Counts a run that has ended, and raises its event.
    fn report(&self, key: &Key, run: &Assigned, ended: &Ended) {
        let (code, message) = match &ended.outcome {
            Ok(reply) if reply.effective_status() < 400 => (Counts::OK, None),
            Ok(reply) => ("status", Some(format!("the handler replied with status {}", reply.effective_status()))),
            Err(error) => (error.code(), Some(line(&error.to_string(), MESSAGE))),
        };
        let last = LastRun {
            id: ended.id.to_string(),
            worker: Some(run.worker),
            due: ended.due,
            success: code == Counts::OK,
            run_time: u64::try_from(ended.run_time.as_millis()).unwrap_or(u64::MAX),
            message,
        };
        let raised = {
            let mut state = self.state.lock();
            if let Some(Entry { counts, .. }) = state.plan.numbered(key, run.entry) {
                *counts.outcomes.entry(code).or_default() += 1;
                counts.run_time.observe(ended.run_time.as_secs_f64());
                counts.last = Some(last.clone());
            }
            let second = self.begun.elapsed().as_secs();
            state.recent =
                if state.recent.0 == second { (second, state.recent.1.saturating_add(1)) } else { (second, 1) };
            state.recent.1 <= MOST_EVENTS
        };
        if !raised {
            return bounds::SCHEDULE_EVENTS.count();
        }
        let LastRun { id, worker, due, success, run_time, message } = last;
        self.events.raise(HostEvent::ScheduleRun {
            id,
            key: format!("{}:{}", key.module, key.name),
            subdomain: key.subdomain.as_deref().map(str::to_owned),
            worker,
            due,
            success,
            run_time,
            message,
        });
    }

    /// Runs a schedule now, whether it is due or not, and also if it is disabled. Returns an entry
    /// for each worker that has run it. The run continues when the future is dropped.
    pub async fn run_by_hand(
        self: &Arc<Self>,
        by_hand: ByHand<'_>,
    ) -> Result<(ScheduleKind, Vec<GatherEntry>), CallError> {
        self.turn();
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
            let (run_of, subdomain, payload) = (scheduled.clone(), key.subdomain.clone(), payload.clone());
            let call = RunCall { worker: run.worker, run: run_of, subdomain, payload, timeout: Some(timeout) };
            let (ended, schedules, key, worker) = (self.begin(module, call), self.clone(), key.clone(), run.worker);
            let task = self.runtime.spawn(async move {
                let ended = ended.await;
                schedules.report(&key, &run, &ended);
                ended.outcome
            });
            async move {
                let outcome = task.await.unwrap_or_else(|_| Err(CallError::Unavailable("the host stops".to_owned())));
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
        self.turn();
        self.state.lock().plan.entries().map(|(key, entry)| status_of(key, entry)).collect()
    }

    /// The counters of each schedule.
    pub fn counts(&self) -> Vec<(Key, Counts)> {
        self.state.lock().plan.entries().map(|(key, entry)| (key.clone(), entry.counts.clone())).collect()
    }
}

/// A run that has ended.
struct Ended {
    id: Arc<str>,
    due: u64,
    run_time: Duration,
    outcome: Result<Reply, CallError>,
}

fn status_of(key: &Key, entry: &Entry) -> ScheduleStatus {
    let schedule = &entry.schedule;
    let (timing, counts) = (&schedule.timing, &entry.counts);
    ScheduleStatus {
        module: key.module.to_string(),
        name: key.name.to_string(),
        subdomain: key.subdomain.as_deref().map(str::to_owned),
        kind: schedule.kind.as_str().to_owned(),
        interval: timing.interval(),
        cron: timing.cron().map(str::to_owned),
        tz: timing.cron().map(|_| timing.zone().to_owned()),
        end_date: timing.end(),
        immediate: schedule.immediate,
        overlap: if schedule.overlap == Overlap::Skip { "skip" } else { "allow" }.to_owned(),
        state: match (schedule.off, entry.next()) {
            (Some(_), _) => ScheduleState::Disabled,
            (None, Some(_)) => ScheduleState::Active,
            (None, None) => ScheduleState::Done,
        },
        reason: schedule.off.map(|off| off.to_string()),
        next: entry.next(),
        running: entry.running(),
        succeeded: counts.succeeded(),
        failed: counts.failed(),
        skipped: counts.skipped,
        missed: counts.missed,
        last: counts.last.clone(),
    }
}
