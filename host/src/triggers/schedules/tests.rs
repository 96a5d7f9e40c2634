//! The scheduler with a clock that the tests move.

mod changes;
mod claims;
mod overlap;
mod owed;
mod runs;
mod times;
mod turns;

use std::collections::VecDeque;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, oneshot, watch};

use super::plan::{GRACE, MOST_BACK, MOST_RUNS};
use super::*;
use crate::api::ScheduleState;
use crate::call::{CallEnd, Reply, RunCall, bounds};
use crate::config::{Overlap, ScheduleConfig};
use crate::events::{EVENTS_PER_SECOND, EventItem, HostEvent};
use crate::ports::Ticks;
use crate::registry::{Durable, Schedule, Timing};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

/// 2026-01-01T00:00:00Z
const START: u64 = 1_767_225_600_000;

/// A wall clock that tests set. Sleeps end when the clock was moved by at least as much, as if it
/// were monotonic, or when the test ends them.
#[derive(Default)]
struct FakeClock {
    state: Mutex<(u64, u64)>,
    moved: Arc<Notify>,
}

impl FakeClock {
    /// Lets time pass.
    fn pass(&self, ms: u64) {
        let mut state = self.state.lock();
        state.0 += ms;
        state.1 += ms;
        drop(state);
        self.moved.notify_waiters();
    }

    /// Sets the wall clock. As long as no time passes, sleeps continue.
    fn set(&self, wall: u64) {
        self.state.lock().0 = wall;
    }
}

struct Shared(Arc<FakeClock>);

impl Clock for Shared {
    fn wall(&self) -> u64 {
        self.0.state.lock().0
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        assert!(duration <= MOST_SLEEP, "the scheduler sleeps for {duration:?}");
        let clock = self.0.clone();
        let until = clock.state.lock().1 + u64::try_from(duration.as_millis()).unwrap();
        async move {
            loop {
                let moved = clock.moved.notified();
                let mut moved = std::pin::pin!(moved);
                moved.as_mut().enable();
                if clock.state.lock().1 >= until {
                    return;
                }
                moved.await;
            }
        }
        .boxed()
    }
}

/// Workers whose runs end at once, or when the test ends them.
struct Backend {
    changes: watch::Sender<u64>,
    installed: Mutex<Vec<InstalledSchedules>>,
    workers: Mutex<Vec<WorkerState>>,
    /// How often the scheduler has looked at the workers.
    looked: AtomicUsize,
    started: Mutex<Vec<RunCall>>,
    /// Whether runs wait for [`Fixture::end_one`].
    held: AtomicBool,
    waiting: Mutex<VecDeque<oneshot::Sender<CallEnd>>>,
    fails: AtomicBool,
}

impl ScheduleBackend for Backend {
    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    fn installed(&self) -> Vec<InstalledSchedules> {
        self.installed.lock().clone()
    }

    fn workers(&self, _: &str, _: &str) -> Vec<WorkerState> {
        self.looked.fetch_add(1, Ordering::Relaxed);
        self.workers.lock().clone()
    }

    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, CallEnd> {
        assert_eq!(module, "m");
        self.started.lock().push(run);
        if self.held.load(Ordering::Relaxed) {
            let (end, ended) = oneshot::channel();
            self.waiting.lock().push_back(end);
            return async { ended.await.unwrap_or(CallEnd::Ended(Err(CallError::Timeout(None)))) }.boxed();
        }
        let outcome = match self.fails.load(Ordering::Relaxed) {
            true => Err(CallError::Crashed("trapped".to_owned())),
            false => Ok(Reply::default()),
        };
        std::future::ready(CallEnd::Ended(outcome)).boxed()
    }

    fn missing(&self, module: &str) -> CallError {
        CallError::NotFound(format!("there is no module {module}"))
    }
}

struct Fixture {
    clock: Arc<FakeClock>,
    backend: Arc<Backend>,
    schedules: Arc<Schedules>,
    events: Arc<EventLog>,
    tasks: TaskTracker,
}

/// A schedule of these settings. Runs may overlap by default, because a run ends in a task.
fn schedule(name: &str, settings: &str) -> Schedule {
    let settings: ScheduleConfig = serde_json::from_str(settings).unwrap();
    Schedule {
        name: name.into(),
        subdomain: None,
        kind: ScheduleKind::Worker,
        timing: Timing::of(&settings).unwrap(),
        immediate: settings.immediate.unwrap_or_default(),
        overlap: settings.overlap.unwrap_or(Overlap::Allow),
        when_alone: settings.when_alone.unwrap_or_default(),
        durable: (settings.missed == Some(crate::config::Missed::RunOnce))
            .then(|| Durable { backoff: settings.backoff.unwrap_or_default(), ..Durable::default() }),
        off: None,
        data: Payload::None,
    }
}

/// The log lines of a test.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn Debug| {
            write!(line, "{field}={value:?} ").unwrap()
        });
        self.0.lock().push(line);
    }

    fn enter(&self, _: &tracing::Id) {}

    fn exit(&self, _: &tracing::Id) {}
}

fn installed(schedules: Vec<Schedule>) -> Vec<InstalledSchedules> {
    vec![InstalledSchedules { module: "m".into(), schedules: schedules.into() }]
}

impl Fixture {
    /// Starts at a time with two workers that are ready.
    fn at(start: u64, schedules: Vec<Schedule>) -> Fixture {
        Fixture::of(start, schedules, None)
    }

    /// The same with other nodes.
    fn of(start: u64, schedules: Vec<Schedule>, ticks: Option<Arc<dyn Ticks>>) -> Fixture {
        let clock = Arc::new(FakeClock::default());
        clock.set(start);
        let ready = |worker| WorkerState { worker, ready: true, failed: false };
        let backend = Arc::new(Backend {
            changes: watch::Sender::new(0),
            installed: Mutex::new(installed(schedules)),
            workers: Mutex::new(vec![ready(0), ready(1)]),
            looked: AtomicUsize::new(0),
            started: Mutex::default(),
            held: AtomicBool::new(false),
            waiting: Mutex::default(),
            fails: AtomicBool::new(false),
        });
        let events = Arc::new(EventLog::new(true, true));
        let (shared, stopping) = (Arc::new(Shared(clock.clone())), CancellationToken::new());
        let tasks = TaskTracker::new();
        let memory = ticks.clone().unwrap_or_else(|| Arc::new(claims::Nodes::default()));
        let ticks = AllTicks { nodes: ticks, memory };
        let schedules =
            Schedules::new("node-1", backend.clone(), shared, ticks, events.clone(), tasks.clone(), stopping);
        schedules.open();
        let fixture = Fixture { clock, backend, schedules, events, tasks };
        fixture.schedules.turn();
        fixture
    }

    fn start(settings: &str) -> Fixture {
        Fixture::at(START, vec![schedule("s", settings)])
    }

    /// Lets time pass, looks at the clock, and returns the due times of the runs that started,
    /// relative to the start.
    fn pass(&self, ms: u64) -> Vec<u64> {
        self.clock.pass(ms);
        self.look()
    }

    /// Sets the clock relative to the start.
    fn jump(&self, to: u64) -> Vec<u64> {
        self.clock.set(START + to);
        self.look()
    }

    fn look(&self) -> Vec<u64> {
        self.schedules.turn();
        self.taken().into_iter().map(|run| run.run.due - START).collect()
    }

    fn taken(&self) -> Vec<RunCall> {
        std::mem::take(&mut *self.backend.started.lock())
    }

    fn install(&self, schedules: Vec<Schedule>) {
        *self.backend.installed.lock() = installed(schedules);
        self.backend.changes.send_modify(|count| *count += 1);
    }

    fn status(&self) -> ScheduleStatus {
        self.schedules.status().remove(0)
    }

    fn hold(&self) {
        self.backend.held.store(true, Ordering::Relaxed);
    }

    fn end(&self, end: CallEnd) {
        self.backend.waiting.lock().pop_front().unwrap().send(end).unwrap();
    }

    /// Ends the oldest run, and waits until the scheduler knows.
    async fn end_one(&self) {
        let running = self.status().running;
        self.end(CallEnd::Ended(Ok(Reply::default())));
        until(|| self.status().running < running).await;
    }
}

async fn until(mut condition: impl FnMut() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
}
