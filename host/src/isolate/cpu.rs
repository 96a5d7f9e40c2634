//! Measures the processor time of calls in epoch ticks. Each tick is charged to the call that runs
//! at the tick.
//!
//! Guests see ticks, host functions do not. So the first tick after a long host function stands for
//! all ticks that passed in that function. Two other kinds of time pass between ticks and are not
//! charged: time of other tasks on the thread, and time in which the thread did not run.

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
    /// The tick at which the turn of the instance that runs on this thread began.
    static TURN: Cell<Option<u64>> = const { Cell::new(None) };
    /// The thread's processor time at the last charge.
    static CHARGED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    /// Whether a guest had to yield in this turn.
    static YIELDED: Cell<bool> = const { Cell::new(false) };
}

/// Whether a guest had to yield in the turn that runs on this thread. It continues in the next one.
pub fn has_yielded() -> bool {
    YIELDED.get()
}

/// Runs a future that drives guests, and records when each of its turns begins, so that no call is
/// charged for time before its turn.
pub async fn metered<F: Future>(ticks: TickCounter, run: F) -> F::Output {
    let mut run = pin!(run);
    poll_fn(|cx| {
        TURN.set(Some(ticks.now()));
        YIELDED.set(false);
        let polled = run.as_mut().poll(cx);
        TURN.set(None);
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
    budget: u32,
    tick: Duration,
    ticks: TickCounter,
    clock: fn() -> Duration,
    used: HashMap<Option<GuestTaskId>, u32>,
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
    /// Rounds `budget` up to whole ticks and adds one for the tick that has begun when a call
    /// starts.
    pub fn new(budget: Duration, tick: Duration, ticks: TickCounter) -> CpuMeter {
        let most = whole(budget, tick).saturating_add(1);
        CpuMeter {
            budget: most,
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

    /// Returns the ticks since the turn began, but no more than the thread has computed since the
    /// last charge, and at least one.
    fn passed(&self) -> u32 {
        let now = (self.clock)();
        let computed = whole(now.saturating_sub(CHARGED.replace(now)), self.tick);
        let ticks = TURN.get().map_or(1, |turn| self.ticks.now().saturating_sub(turn));
        computed.min(u32::try_from(ticks).unwrap_or(u32::MAX)).max(1)
    }

    fn charge(&mut self, task: Option<GuestTaskId>) -> UpdateDeadline {
        let passed = self.passed();
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

fn whole(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(tick.as_nanos().max(1))).unwrap_or(u32::MAX)
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

    #[test]
    fn time_of_other_tasks_and_time_spent_waiting_are_not_charged() {
        let ticks = TickCounter::default();
        let mut cpu = CpuMeter::new(Duration::from_millis(100), Duration::from_millis(10), ticks.clone());
        cpu.clock = || TIME.get();
        let mut charged = |turn: Option<u64>, passed: u64, computed: u64| {
            TURN.set(turn.map(|ago| ticks.now().saturating_sub(ago)));
            (0..passed).for_each(|_| ticks.advance());
            TIME.set(TIME.get() + Duration::from_millis(computed));
            let before = cpu.used.get(&None).copied().unwrap_or_default();
            let _ = cpu.charge(None);
            TURN.set(None);
            cpu.used.get(&None).copied().unwrap_or_default() - before
        };
        assert_eq!(charged(Some(0), 1, 10), 1);
        assert_eq!(charged(Some(0), 4, 40), 4, "a host function took long");
        assert_eq!(charged(Some(0), 4, 9), 1, "the thread did not run");
        assert_eq!(charged(Some(0), 1, 500), 1, "other tasks computed before its turn");
        assert_eq!(charged(None, 4, 40), 1, "the start of its turn is unknown");
    }
}
