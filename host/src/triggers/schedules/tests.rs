//! The scheduler with a clock that the tests move.

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;

use futures_util::FutureExt;
use tokio::sync::{Notify, oneshot};

use super::plan::{GRACE, MOST_BACK, MOST_RUNS};
use super::*;
use crate::config::ScheduleConfig;
use crate::events::EventItem;
use crate::registry::{Schedule, Timing};

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
    started: Mutex<Vec<RunCall>>,
    /// Whether runs wait for [`Fixture::end_one`].
    held: AtomicBool,
    waiting: Mutex<VecDeque<oneshot::Sender<Result<Reply, CallError>>>>,
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
        self.workers.lock().clone()
    }

    fn run(&self, module: &str, run: RunCall) -> BoxFuture<'static, Result<Reply, CallError>> {
        assert_eq!(module, "m");
        self.started.lock().push(run);
        if self.held.load(Ordering::Relaxed) {
            let (end, ended) = oneshot::channel();
            self.waiting.lock().push_back(end);
            return async { ended.await.unwrap_or(Err(CallError::Timeout)) }.boxed();
        }
        let outcome = match self.fails.load(Ordering::Relaxed) {
            true => Err(CallError::Crashed("trapped".to_owned())),
            false => Ok(Reply::default()),
        };
        std::future::ready(outcome).boxed()
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
        off: None,
        data: Payload::None,
    }
}

fn installed(schedules: Vec<Schedule>) -> Vec<InstalledSchedules> {
    vec![InstalledSchedules { module: "m".into(), schedules: schedules.into() }]
}

impl Fixture {
    /// Starts at a time with two workers that are ready.
    fn at(start: u64, schedules: Vec<Schedule>) -> Fixture {
        let clock = Arc::new(FakeClock::default());
        clock.set(start);
        let ready = |worker| WorkerState { worker, ready: true, failed: false };
        let backend = Arc::new(Backend {
            changes: watch::Sender::new(0),
            installed: Mutex::new(installed(schedules)),
            workers: Mutex::new(vec![ready(0), ready(1)]),
            started: Mutex::default(),
            held: AtomicBool::new(false),
            waiting: Mutex::default(),
            fails: AtomicBool::new(false),
        });
        let events = Arc::new(EventLog::new(true, true));
        let (shared, stopping) = (Arc::new(Shared(clock.clone())), CancellationToken::new());
        let schedules = Schedules::new("node-1", backend.clone(), shared, events.clone(), stopping);
        schedules.open();
        let fixture = Fixture { clock, backend, schedules, events };
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

    /// Ends the oldest run, and waits until the scheduler knows.
    async fn end_one(&self) {
        let running = self.status().running;
        let end = self.backend.waiting.lock().pop_front().unwrap();
        end.send(Ok(Reply::default())).unwrap();
        until(|| self.status().running < running).await;
    }
}

async fn until(condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.unwrap();
}

#[tokio::test]
async fn an_interval_is_due_at_each_multiple_once() {
    let fixture = Fixture::start(r#"{ "interval": "5s" }"#);
    assert_eq!(fixture.look(), [0; 0], "the start itself was due before");
    assert_eq!(fixture.pass(4_999), [0; 0]);
    assert_eq!(fixture.pass(1), [5_000]);
    assert_eq!(fixture.pass(0), [0; 0]);
    assert_eq!(fixture.pass(5_700), [10_000], "late by 700 ms");
    assert_eq!(fixture.pass(4_300), [15_000], "the next one is not late");
    assert_eq!((fixture.status().missed, fixture.status().next), (0, Some(START + 20_000)));
}

#[tokio::test]
async fn workers_take_turns_and_those_that_are_not_ready_are_passed_over() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    let next = || {
        fixture.clock.pass(1_000);
        fixture.schedules.turn();
        fixture.taken().iter().map(|run| run.worker).collect::<Vec<_>>()
    };
    assert_eq!((0..3).flat_map(|_| next()).collect::<Vec<_>>(), [0, 1, 0]);
    let state = |worker, ready, failed| WorkerState { worker, ready, failed };
    *fixture.backend.workers.lock() = vec![state(0, true, false), state(1, false, false), state(2, true, false)];
    assert_eq!((0..3).flat_map(|_| next()).collect::<Vec<_>>(), [2, 0, 2], "worker 1 restarts");
    *fixture.backend.workers.lock() = vec![state(0, false, true), state(1, false, false)];
    assert_eq!((0..2).flat_map(|_| next()).collect::<Vec<_>>(), [1, 1], "the run waits for worker 1");
    *fixture.backend.workers.lock() = vec![state(0, false, true)];
    assert_eq!(next(), [0], "the run fails there with the reason");
    *fixture.backend.workers.lock() = Vec::new();
    assert_eq!(next(), [0; 0]);
}

#[tokio::test]
async fn due_times_while_the_machine_was_suspended_are_counted_and_not_made_up() {
    let fixture = Fixture::start(r#"{ "interval": "5s" }"#);
    // Wakes 12 s after the last multiple of an hour: the run at that time is too late.
    let hourly = Fixture::start(r#"{ "interval": "1h" }"#);
    assert_eq!(hourly.jump(HOUR + GRACE + 1), [0; 0]);
    assert_eq!((hourly.status().missed, hourly.status().next), (1, Some(START + 2 * HOUR)));
    assert_eq!(hourly.jump(2 * HOUR + GRACE), [2 * HOUR], "still in time");
    // Of 720 due times only the newest runs, because it is not late.
    assert_eq!(fixture.jump(HOUR + 3_000), [HOUR]);
    assert_eq!(fixture.status().missed, 719);
    assert_eq!(fixture.pass(2_000), [HOUR + 5_000]);
}

#[tokio::test]
async fn a_clock_that_goes_back_repeats_no_run() {
    let fixture = Fixture::start(r#"{ "interval": "1m" }"#);
    assert_eq!(fixture.jump(30 * 60_000), [30 * 60_000]);
    for back in [29 * 60_000, 60_000, 0] {
        assert_eq!(fixture.jump(back), [0; 0], "{back}");
    }
    assert_eq!(fixture.jump(30 * 60_000), [0; 0]);
    assert_eq!(fixture.jump(31 * 60_000), [31 * 60_000]);
}

/// Otherwise a clock that was once set to the next century would stop all schedules until then.
#[tokio::test]
async fn a_clock_that_goes_back_by_more_than_an_hour_begins_again() {
    let fixture = Fixture::start(r#"{ "interval": "1m" }"#);
    let century = 100 * 365 * DAY;
    assert_eq!(fixture.jump(century), [century]);
    assert_eq!(fixture.jump(60_000), [0; 0], "the due time at the jump itself does not run");
    assert_eq!(fixture.status().next, Some(START + 120_000));
    assert_eq!(fixture.pass(60_000), [120_000]);
    // Just below the bound nothing begins again.
    assert_eq!(fixture.jump(120_000 + MOST_BACK), [120_000 + MOST_BACK]);
    assert_eq!(fixture.jump(120_000), [0; 0]);
    assert_eq!(fixture.status().next, Some(START + 180_000 + MOST_BACK));
}

#[tokio::test]
async fn a_delay_beyond_25_days_is_exact() {
    let fixture = Fixture::start(r#"{ "cron": "0 0 1 4 *" }"#);
    let april = 90 * DAY;
    assert_eq!(fixture.status().next, Some(START + april));
    assert_eq!(fixture.jump(april - 1), [0; 0]);
    assert_eq!(fixture.pass(1), [april]);
}

#[tokio::test]
async fn nothing_runs_after_the_end_date() {
    let fixture = Fixture::start(r#"{ "interval": "1m", "endDate": "2026-01-01T00:02:00Z" }"#);
    assert_eq!(fixture.pass(60_000), [60_000]);
    assert_eq!(fixture.pass(60_000), [120_000]);
    assert_eq!(fixture.pass(60_000), [0; 0]);
    let status = fixture.status();
    assert_eq!((status.state, status.next, status.missed), (ScheduleState::Done, None, 0));
}

#[tokio::test]
async fn a_run_that_is_due_while_the_previous_one_runs_is_skipped() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!((fixture.status().running, fixture.status().skipped), (1, 1));
    fixture.end_one().await;
    assert_eq!(fixture.pass(1_000), [3_000], "the next one in time, not the one that was skipped");
    assert_eq!(fixture.status().missed, 0);
}

#[tokio::test]
async fn runs_that_may_overlap_are_bounded() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    let before = bounds::SCHEDULE_RUNS.reached();
    for run in 1..=u64::from(MOST_RUNS) {
        assert_eq!(fixture.pass(1_000), [run * 1_000]);
    }
    assert_eq!(fixture.pass(1_000), [0; 0]);
    assert_eq!((fixture.status().running, fixture.status().skipped), (MOST_RUNS, 1));
    assert!(bounds::SCHEDULE_RUNS.reached() > before);
    fixture.end_one().await;
    assert_eq!(fixture.pass(1_000).len(), 1);
}

#[tokio::test]
async fn a_schedule_of_the_type_all_skips_only_the_workers_that_are_busy() {
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s", "overlap": "skip" }"#) };
    let fixture = Fixture::at(START, vec![all]);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000, 1_000]);
    fixture.end_one().await;
    fixture.pass(0);
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    let workers: Vec<u32> = fixture.taken().iter().map(|run| run.worker).collect();
    assert_eq!((workers, fixture.status().skipped), (vec![0], 1), "worker 1 still runs");
}

#[tokio::test]
async fn the_calls_of_one_run_share_an_id_that_no_other_run_has() {
    let all = Schedule { kind: ScheduleKind::All, ..schedule("s", r#"{ "interval": "1s", "overlap": "allow" }"#) };
    let fixture = Fixture::at(START, vec![all]);
    let next_ids = || {
        fixture.clock.pass(1_000);
        fixture.schedules.turn();
        fixture.taken().iter().map(|run| run.run.id.clone()).collect::<Vec<_>>()
    };
    let (first, second) = (next_ids(), next_ids());
    assert_eq!((first.len(), &first[0]), (2, &first[1]));
    assert_ne!(first[0], second[0]);
}

/// 1,000 due times in a second, in a loop that looks every 10 ms, with runs that do not end.
#[tokio::test]
async fn an_interval_of_a_millisecond_floods_nothing() {
    let fixture = Fixture::start(r#"{ "interval": 1 }"#);
    fixture.hold();
    let started: usize = (0..100).map(|_| fixture.pass(10).len()).sum();
    let status = fixture.status();
    assert_eq!((started, status.running), (MOST_RUNS as usize, MOST_RUNS));
    assert_eq!((status.missed, status.skipped), (900, 100 - u64::from(MOST_RUNS)));
}

#[tokio::test]
async fn a_run_that_fails_does_not_stop_the_next_one() {
    let fixture = Fixture::start(r#"{ "interval": "1s", "overlap": "skip" }"#);
    fixture.backend.fails.store(true, Ordering::Relaxed);
    for run in 1..=3 {
        assert_eq!(fixture.pass(1_000), [run * 1_000]);
        until(|| fixture.status().failed == run && fixture.status().running == 0).await;
    }
    let last = fixture.status().last.unwrap();
    assert_eq!((last.success, last.message.as_deref(), last.due), (false, Some("trapped"), START + 3_000));
}

#[tokio::test]
async fn an_immediate_run_comes_once_and_not_again_after_a_swap() {
    let immediate = || schedule("s", r#"{ "interval": "1s", "immediate": true }"#);
    let fixture = Fixture::at(START + 300, vec![immediate()]);
    assert_eq!(fixture.taken().len(), 1, "at the start");
    fixture.install(vec![immediate()]);
    assert_eq!(fixture.look(), [0; 0]);
    assert_eq!(fixture.pass(700), [1_000]);
    fixture.install(Vec::new());
    assert_eq!(fixture.look(), [0; 0]);
    fixture.install(vec![immediate()]);
    assert_eq!(fixture.look(), [1_000], "installed again");
    fixture.install(vec![immediate(), Schedule { name: "new".into(), ..immediate() }]);
    assert_eq!(fixture.look(), [1_000], "only the new one");
}

#[tokio::test]
async fn only_an_immediate_run_is_done_after_it() {
    let fixture = Fixture::start(r#"{ "immediate": true }"#);
    assert_eq!(fixture.taken().len(), 1);
    assert_eq!(fixture.pass(DAY), [0; 0]);
    assert_eq!(fixture.status().state, ScheduleState::Done);
}

#[tokio::test]
async fn a_disabled_schedule_runs_when_it_is_enabled() {
    let on = || schedule("s", r#"{ "interval": "1s", "immediate": true }"#);
    let off = || Schedule { off: Some(crate::registry::Off::Disabled), ..on() };
    let fixture = Fixture::at(START, vec![off()]);
    assert_eq!(fixture.pass(10_000), [0; 0]);
    let status = fixture.status();
    assert_eq!((status.state, status.next, status.missed), (ScheduleState::Disabled, None, 0));
    assert_eq!(status.reason.as_deref(), Some("`disable` is true"));
    fixture.install(vec![on()]);
    assert_eq!(fixture.look(), [10_000], "its immediate run");
    fixture.install(vec![off()]);
    assert_eq!((fixture.look(), fixture.pass(5_000)), (vec![], vec![]));
    fixture.install(vec![on()]);
    assert_eq!(fixture.look(), [0; 0], "no second immediate run, and nothing is made up");
    assert_eq!((fixture.pass(1_000), fixture.status().missed), (vec![16_000], 0));
}

#[tokio::test]
async fn a_swap_neither_misses_nor_doubles_a_due_time() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    let mut seen = Vec::new();
    for step in 0..200 {
        // Swaps just before, at and after due times; every fifth changes the data only.
        let data = Payload::Text((step / 5).to_string());
        fixture.install(vec![Schedule { data, ..schedule("s", r#"{ "interval": "1s" }"#) }]);
        seen.extend(fixture.pass(130));
    }
    let expected: Vec<u64> = (1..=26).map(|second| second * 1_000).collect();
    assert_eq!((seen, fixture.status().missed), (expected, 0));
}

#[tokio::test]
async fn a_swap_to_other_times_repeats_no_due_time() {
    let fixture = Fixture::start(r#"{ "interval": "10s" }"#);
    assert_eq!(fixture.pass(10_000), [10_000]);
    fixture.install(vec![schedule("s", r#"{ "interval": "5s" }"#)]);
    assert_eq!(fixture.look(), [0; 0]);
    assert_eq!(fixture.pass(5_500), [15_000]);
    // What was due before the swap was seen still runs.
    fixture.clock.pass(4_500);
    fixture.install(vec![schedule("s", r#"{ "interval": "7s" }"#)]);
    assert_eq!(fixture.look(), [20_000]);
    assert_eq!(fixture.pass(1_000 + START.next_multiple_of(7_000) - START).len(), 1);
    assert_eq!(fixture.status().missed, 0);
}

#[tokio::test]
async fn a_module_that_was_removed_runs_no_more() {
    let fixture = Fixture::start(r#"{ "interval": "1s" }"#);
    fixture.hold();
    assert_eq!(fixture.pass(1_000), [1_000]);
    fixture.install(Vec::new());
    assert_eq!(fixture.pass(1_000), [2_000; 0]);
    assert_eq!(fixture.schedules.status(), []);
    // The run of the removed schedule does not occupy the place of the new one.
    fixture.install(vec![schedule("s", r#"{ "interval": "1s" }"#)]);
    fixture.look();
    assert_eq!((fixture.pass(1_000), fixture.status().running), (vec![3_000], 1));
    let end = fixture.backend.waiting.lock().pop_front().unwrap();
    end.send(Ok(Reply::default())).unwrap();
    until(|| fixture.events.count() == 1).await;
    assert_eq!((fixture.status().running, fixture.status().succeeded), (1, 0));
}

#[tokio::test]
async fn a_run_by_hand_ignores_times_and_overlap_and_is_counted() {
    let off = Some(crate::registry::Off::Environment);
    let disabled = Schedule { off, ..schedule("s", r#"{ "interval": "1s" }"#) };
    let fixture = Fixture::at(START, vec![disabled]);
    let by_hand = |name| ByHand {
        module: "m",
        name,
        subdomain: None,
        payload: Payload::Text("1".into()),
        timeout: Duration::from_secs(1),
    };
    let (kind, entries) = fixture.schedules.run_by_hand(by_hand("s")).await.unwrap();
    assert_eq!((kind, entries.len(), entries[0].outcome.is_ok()), (ScheduleKind::Worker, 1, true));
    let run = fixture.taken().remove(0);
    assert_eq!((run.run.due, run.payload, run.timeout), (START, Some("1".into()), Some(Duration::from_secs(1))));
    assert_eq!((fixture.status().succeeded, fixture.status().running), (1, 0));
    let error = fixture.schedules.run_by_hand(by_hand("x")).await.unwrap_err();
    assert_eq!(error.to_string(), "m has no schedule `x`; it has: s");
    let error = fixture.schedules.run_by_hand(ByHand { module: "n", ..by_hand("s") }).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no module n");
    let error = fixture.schedules.run_by_hand(ByHand { subdomain: Some("acme"), ..by_hand("s") }).await.unwrap_err();
    assert!(error.to_string().contains("does not run for the subdomain acme"), "{error}");
}

#[tokio::test]
async fn each_run_raises_an_event_up_to_a_bound() {
    let fixture = Fixture::start(r#"{ "interval": 1 }"#);
    for run in 1..=u64::from(2 * MOST_EVENTS) {
        assert_eq!(fixture.pass(1), [run]);
        until(|| fixture.status().succeeded == run).await;
    }
    let raised = fixture.events.count();
    // The test may cross the border between two seconds.
    assert!(raised >= u64::from(MOST_EVENTS) && raised < u64::from(2 * MOST_EVENTS), "{raised} events");
    let Some(EventItem::Event(first)) = fixture.events.read_after(0).try_next() else { panic!() };
    let json = serde_json::to_value(&first.event).unwrap();
    let id = format!("node-1-{:x}-1", fixture.events.epoch);
    assert_eq!((&json["id"], &json["key"], &json["due"]), (&id.into(), &"m:s".into(), &(START + 1).into()));
    assert_eq!((&json["worker"], &json["success"], &json["message"]), (&0.into(), &true.into(), &().into()));
}

/// The loop itself, with sleeps.
#[tokio::test]
async fn the_loop_wakes_at_due_times_changes_and_jumps() {
    let fixture = Fixture::start(r#"{ "interval": "1h" }"#);
    let task = tokio::spawn(fixture.schedules.clone().run());
    let started = |count| fixture.backend.started.lock().len() == count;
    tokio::task::yield_now().await;
    // The wall clock jumps to just after a due time, and the loop notices within a second.
    fixture.clock.set(START + HOUR + 50);
    fixture.clock.pass(1_000);
    until(|| started(1)).await;
    // A change wakes it, although no time passes.
    fixture.install(vec![schedule("t", r#"{ "immediate": true }"#)]);
    until(|| started(2)).await;
    // Nothing is due: it waits for a change without a limit.
    fixture.install(vec![schedule("u", r#"{ "interval": 100 }"#)]);
    until(|| fixture.status().name == "u").await;
    for count in 3..=5 {
        tokio::task::yield_now().await;
        fixture.clock.pass(100);
        until(|| started(count)).await;
    }
    fixture.schedules.stopping.cancel();
    tokio::time::timeout(Duration::from_secs(10), task).await.unwrap().unwrap();
    fixture.clock.pass(1_000);
    fixture.schedules.turn();
    assert!(started(5), "nothing is due after the stop");
}
