//! Measures the processor time of calls. Each epoch tick is a sample: the call that runs at the
//! tick is charged for what the thread has computed since the last charge, and for a tick at most.
//!
//! A guest notices a tick when it enters a function or repeats a loop. So a guest that has waited
//! notices the ticks that passed meanwhile, although it has computed nothing since. Only ticks that
//! pass in turns of its instance are charged, so that a call pays neither for waiting nor for other
//! tasks of the thread. The first tick after a long host function stands for all ticks that passed
//! in that function. A tick that no guest notices in its turn, because the host worked on, is
//! charged in the next turn.
//!
//! The time between two ticks is not charged at once, but at the next tick. So a call that waits
//! often pays on average for what it computes: the more it computes, the more ticks it meets. A
//! guest that always waits just before a tick pays nothing. It never keeps its thread for a tick,
//! and `limits.timeout` ends its calls.
//!
//! Reading the thread's time at the start and the end of each turn would charge exactly. It is a
//! system call, and a turn may be as short as one call.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::GuestTaskId;
use wasmtime::{StoreContextMut, UpdateDeadline};

use crate::engine::TickCounter;

thread_local! {
    /// The tick after which the instance that has its turn on this thread has not been charged.
    static SINCE: Cell<Option<u64>> = const { Cell::new(None) };
    /// The thread's processor time at the last charge.
    static CHARGED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Whether a guest had to yield in this turn.
    static YIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a guest had to yield in the turn that runs on this thread. It continues in the next one.
pub fn has_yielded() -> bool {
    YIELDED.get()
}

/// Runs a future that drives guests, and records which ticks pass in its turns, so that no call is
/// charged for time between them.
pub async fn metered<F: Future>(ticks: TickCounter, run: F) -> F::Output {
    let mut run = pin!(run);
    // The ticks that passed in turns and have not been charged.
    let mut uncharged = 0;
    poll_fn(|cx| {
        SINCE.set(Some(ticks.now().saturating_sub(uncharged)));
        YIELDED.set(false);
        let polled = run.as_mut().poll(cx);
        uncharged = SINCE.take().map_or(0, |since| ticks.now().saturating_sub(since));
        polled
    })
    .await
}

/// Returns the processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// The processor time that the calls of one instance have used.
#[derive(Debug)]
pub struct CpuMeter {
    budget: Duration,
    tick: Duration,
    ticks: TickCounter,
    clock: fn() -> Duration,
    used: HashMap<Option<GuestTaskId>, Duration>,
    /// The calls whose bodies may stream, with the flag that the client has taken or sent a part
    /// since the last charge.
    streams: HashMap<GuestTaskId, Arc<AtomicBool>>,
    /// The number of streams at which those that have ended are removed.
    most_streams: usize,
    exceeded: bool,
}

/// The number of streams up to which none are removed.
const FEW_STREAMS: usize = 64;

impl CpuMeter {
    /// Adds a tick to `budget`, because a call may pay for up to one that had begun when it
    /// started.
    pub fn new(budget: Duration, tick: Duration, ticks: TickCounter) -> CpuMeter {
        CpuMeter {
            budget: budget.saturating_add(tick),
            tick,
            ticks,
            clock: thread_time,
            used: HashMap::new(),
            streams: HashMap::new(),
            most_streams: FEW_STREAMS,
            exceeded: false,
        }
    }

    /// Whether a call exceeded its budget, so that the meter interrupted the instance.
    pub fn exceeded(&self) -> bool {
        self.exceeded
    }

    pub fn forget(&mut self, task: GuestTaskId) {
        if !self.used.is_empty() {
            self.used.remove(&Some(task));
        }
    }

    /// From now on, a call has its budget anew whenever `progress` was set, because bodies may
    /// stream for as long as the client reads and writes. Forgets what an earlier call with this
    /// id used.
    pub fn watch(&mut self, task: GuestTaskId, progress: Arc<AtomicBool>) {
        self.forget(task);
        if self.streams.len() >= self.most_streams {
            // The body of a stream that has not ended owns the flag, too.
            self.streams.retain(|_, progress| Arc::strong_count(progress) > 1);
            self.most_streams = FEW_STREAMS.max(2 * self.streams.len());
        }
        self.streams.insert(task, progress);
    }

    /// Returns the time to charge: what the thread has computed since the last charge, but no more
    /// than the ticks of the instance's turns. `None` if no tick has passed in them.
    fn passed(&self) -> Option<Duration> {
        let tick = self.ticks.now();
        let ticks = SINCE.get().map_or(1, |since| tick.saturating_sub(since));
        if ticks == 0 {
            return None;
        }
        SINCE.set(SINCE.get().map(|_| tick));
        let now = (self.clock)();
        let computed = now.saturating_sub(CHARGED.replace(now));
        Some(computed.min(self.tick.saturating_mul(u32::try_from(ticks).unwrap_or(u32::MAX))))
    }

    fn charge(&mut self, task: Option<GuestTaskId>) -> UpdateDeadline {
        let Some(passed) = self.passed() else { return UpdateDeadline::Continue(1) };
        let stream = task.and_then(|task| self.streams.get(&task));
        if stream.is_some_and(|progress| progress.swap(false, Ordering::Relaxed)) {
            self.used.remove(&task);
        }
        let used = self.used.entry(task).or_default();
        *used = used.saturating_add(passed);
        if *used > self.budget {
            self.exceeded = true;
            return UpdateDeadline::Interrupt;
        }
        YIELDED.set(true);
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
    }
}

/// Charges every call of a store, and makes the guest yield to the other tasks of the thread at
/// each tick.
pub fn charge_calls<T: 'static>(store: &mut wasmtime::Store<T>, cpu: fn(&mut T) -> &mut CpuMeter) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut cx: StoreContextMut<'_, T>| {
        // The last task of the stack is the host's call. The others are calls between components
        // within the component.
        let task = cx.async_call_stack().ok().and_then(Iterator::last);
        Ok(cpu(cx.data_mut()).charge(task))
    });
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    thread_local! {
        static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        /// The ticks, of a millisecond each, that pass in each call of the host function.
        static EACH: Cell<u32> = const { Cell::new(1) };
    }

    /// A component with two components in it: `run` of the outer one calls `spin` of the inner one,
    /// which lets `n` ticks pass.
    fn composed(of_type: &str, inner: &str) -> Vec<u8> {
        let text = format!(
            r#"(component
              (import "tick" (func $tick))
              (component $inner
                (import "tick" (func $tick))
                (core func $ticks (canon lower (func $tick)))
                (core func $return (canon task.return))
                (core module $m
                  (import "" "tick" (func $tick))
                  (import "" "return" (func $return))
                  (func $spin (export "block") (param $n i32)
                    (loop $again
                      (call $tick)
                      (local.set $n (i32.sub (local.get $n) (i32.const 1)))
                      (br_if $again (local.get $n))))
                  (func (export "start") (param i32) (result i32)
                    (call $spin (local.get 0))
                    (call $return)
                    (i32.const 0))
                  (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
                (core instance $with (export "tick" (func $ticks)) (export "return" (func $return)))
                (core instance $i (instantiate $m (with "" (instance $with))))
                (func (export "spin") {of_type} (param "n" u32) (canon lift (core func $i {inner}))))
              (component $outer
                (import "spin" (func $spin {of_type} (param "n" u32)))
                (core func $spins (canon lower (func $spin)))
                (core module $m
                  (import "" "spin" (func $spin (param i32)))
                  (func (export "run") (param i32) (call $spin (local.get 0))))
                (core instance $i (instantiate $m (with "" (instance (export "spin" (func $spins))))))
                (func (export "run") {of_type} (param "n" u32) (canon lift (core func $i "run"))))
              (instance $inside (instantiate $inner (with "tick" (func $tick))))
              (instance $made (instantiate $outer (with "spin" (func $inside "spin"))))
              (export "run" (func $made "run")))"#
        );
        wat::parse_str(text).unwrap()
    }

    /// Runs a call of `ticks` ticks with a budget of ten and returns whether it ended within the
    /// budget. Asserts that only this call was charged.
    async fn runs(component: &[u8], ticks: u32) -> bool {
        // The engine itself never ticks during the test.
        let engine = crate::engine::Engine::start(Duration::from_secs(3600), u64::MAX, 0).unwrap();
        let mut linker = wasmtime::component::Linker::new(engine.wasmtime());
        let counted = engine.ticks().clone();
        let tick = move |cx: StoreContextMut<'_, CpuMeter>, ()| {
            cx.engine().increment_epoch();
            (0..EACH.get()).for_each(|_| counted.advance());
            TIME.set(TIME.get() + Duration::from_millis(EACH.get().into()));
            Ok(())
        };
        linker.root().func_wrap("tick", tick).unwrap();
        let component = wasmtime::component::Component::new(engine.wasmtime(), component).unwrap();
        let cpu = CpuMeter::new(Duration::from_millis(9), Duration::from_millis(1), engine.ticks().clone());
        let cpu = CpuMeter { clock: || TIME.get(), ..cpu };
        let mut store = wasmtime::Store::new(engine.wasmtime(), cpu);
        charge_calls(&mut store, |cpu| cpu);
        let instance = linker.instantiate_async(&mut store, &component).await.unwrap();
        let run = instance.get_typed_func::<(u32,), ()>(&mut store, "run").unwrap();
        let mut task = None;
        let run = store.run_concurrent(async |accessor| {
            let call = accessor.with(|access| run.start_call_concurrent(access, (ticks,)))?;
            task = Some(call.task());
            run.finish_call_concurrent(accessor, call).await
        });
        let ended = metered(engine.ticks().clone(), run).await.and_then(|ended| ended);
        let cpu = store.data();
        assert_eq!(ended.is_err(), cpu.exceeded(), "{ended:?}");
        assert_eq!(cpu.used.keys().collect::<Vec<_>>(), [&task], "only the host's call is charged");
        ended.is_ok()
    }

    #[tokio::test]
    async fn the_hosts_call_is_charged_for_components_within_the_component() {
        for (of_type, inner) in [("", "\"block\""), ("async", "\"start\") async (callback (core func $i \"callback\")")]
        {
            let component = composed(of_type, inner);
            assert!(runs(&component, 8).await, "{inner}");
            assert!(!runs(&component, 100).await, "{inner}");
        }
    }

    const BLOCKS: (&str, &str) = ("", "\"block\"");

    #[tokio::test]
    async fn a_call_is_charged_for_every_tick_that_passes_in_a_host_function() {
        let component = composed(BLOCKS.0, BLOCKS.1);
        EACH.set(5);
        assert!(runs(&component, 2).await, "at most ten of ten");
        assert!(!runs(&component, 4).await, "fifteen of ten");
    }

    /// A meter with a budget of 100 ms and a tick of 10 ms, whose clock is `TIME`.
    fn meter() -> (CpuMeter, TickCounter) {
        let ticks = TickCounter::default();
        let cpu = CpuMeter::new(Duration::from_millis(100), Duration::from_millis(10), ticks.clone());
        (CpuMeter { clock: || TIME.get(), ..cpu }, ticks)
    }

    /// Meets a deadline after this number of ticks and of computed ms, in a turn that began before
    /// them. Returns whether the call may continue.
    fn meets(cpu: &mut CpuMeter, ticks: &TickCounter, passed: u64, computed: u64) -> bool {
        SINCE.set(Some(ticks.now()));
        (0..passed).for_each(|_| ticks.advance());
        TIME.set(TIME.get() + Duration::from_millis(computed));
        let continues = !matches!(cpu.charge(None), UpdateDeadline::Interrupt);
        SINCE.set(None);
        continues
    }

    #[test]
    fn time_of_other_tasks_and_time_spent_waiting_are_not_charged() {
        let (mut cpu, ticks) = meter();
        let mut charged = |passed: u64, computed: u64| {
            let before = cpu.used.get(&None).copied().unwrap_or_default();
            meets(&mut cpu, &ticks, passed, computed);
            (cpu.used.get(&None).copied().unwrap_or_default() - before).as_millis()
        };
        assert_eq!(charged(1, 10), 10);
        assert_eq!(charged(4, 40), 40, "a host function took long");
        assert_eq!(charged(4, 9), 9, "the thread did not run");
        assert_eq!(charged(1, 500), 10, "other tasks computed before its turn");
        TIME.set(TIME.get() + Duration::from_millis(40));
        (0..4).for_each(|_| ticks.advance());
        let before = cpu.used[&None];
        let _ = cpu.charge(None);
        assert_eq!((cpu.used[&None] - before).as_millis(), 10, "the start of its turn is unknown");
    }

    #[test]
    fn a_call_that_has_waited_is_not_charged_for_ticks_before_its_turn() {
        let (mut cpu, ticks) = meter();
        for _ in 0..1_000 {
            ticks.advance();
            assert!(meets(&mut cpu, &ticks, 0, 0));
        }
        assert_eq!(cpu.used.len(), 0);
    }

    #[tokio::test]
    async fn a_tick_that_no_guest_notices_in_its_turn_is_charged_in_the_next_one() {
        let (mut cpu, ticks) = meter();
        let counted = ticks.clone();
        let mut turn = 0;
        let run = poll_fn(move |cx| {
            turn += 1;
            TIME.set(TIME.get() + Duration::from_millis(500));
            if turn == 2 {
                let _ = cpu.charge(None);
                return Poll::Ready(cpu.used[&None].as_millis());
            }
            counted.advance();
            cx.waker().wake_by_ref();
            Poll::Pending
        });
        let mut run = pin!(metered(ticks.clone(), run));
        let charged = poll_fn(|cx| {
            let polled = run.as_mut().poll(cx);
            (0..5).for_each(|_| ticks.advance());
            polled
        });
        assert_eq!(charged.await, 10, "one tick passed in a turn, and five between two");
    }

    #[test]
    fn a_call_that_spins_ends_when_it_has_used_its_budget() {
        let (mut cpu, ticks) = meter();
        assert_eq!((0..100).take_while(|_| meets(&mut cpu, &ticks, 1, 10)).count(), 11);
    }

    /// A call that computes 9 ms and then waits 8, again and again.
    #[test]
    fn a_call_that_waits_often_is_charged_about_what_it_computes() {
        let (mut cpu, ticks) = meter();
        let (mut now, mut computed) = (0, 0);
        loop {
            let ticks_at = |ms: u64| ms / 10;
            let passed = ticks_at(now + 9) - ticks_at(now);
            // The part of the 9 ms until the tick.
            let until = if passed == 0 { 9 } else { 10 - now % 10 };
            computed += 9;
            if passed == 0 {
                TIME.set(TIME.get() + Duration::from_millis(9));
            } else if !meets(&mut cpu, &ticks, 1, until) {
                break;
            } else {
                TIME.set(TIME.get() + Duration::from_millis(9 - until));
            }
            now += 17;
            assert!(computed < 1_000, "it is never ended");
        }
        assert!((100..=150).contains(&computed), "ended after {computed} ms of 100");
    }
}
