//! The processor time of calls, counted in epoch ticks and charged to the call that runs at the
//! tick.
//!
//! Guests look at the epoch, host functions do not. So the first tick after a host function that
//! took long stands for all that went by in it. What else can pass unseen is not the call's: time
//! of other tasks of the thread, and time in which the thread did not run at all.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use wasmtime::component::GuestTaskId;
use wasmtime::{StoreContextMut, UpdateDeadline};

use crate::engine::Ticks;

thread_local! {
    /// The tick at which the instance that runs on this thread got its turn.
    static TURN: Cell<Option<u64>> = const { Cell::new(None) };
    /// The thread's processor time when a call was charged last.
    static CHARGED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// Runs what runs guests, so that a call is charged no more than went by since it got its turn.
pub async fn in_turns<F: Future>(ticks: Ticks, run: F) -> F::Output {
    let mut run = pin!(run);
    poll_fn(|cx| {
        TURN.set(Some(ticks.now()));
        let polled = run.as_mut().poll(cx);
        TURN.set(None);
        polled
    })
    .await
}

/// The processor time that this thread has used.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let (seconds, nanoseconds) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or_default(), nanoseconds.unwrap_or_default())
}

/// What the calls of one instance have used.
#[derive(Debug)]
pub struct Cpu {
    budget: u32,
    tick: Duration,
    ticks: Ticks,
    clock: fn() -> Duration,
    used: HashMap<Option<GuestTaskId>, u32>,
    exceeded: bool,
}

impl Cpu {
    /// `budget` is rounded up to whole ticks, plus the one that is under way when a call starts.
    pub fn new(budget: Duration, tick: Duration, ticks: Ticks) -> Cpu {
        let most = whole(budget, tick).saturating_add(1);
        Cpu { budget: most, tick, ticks, clock: thread_time, used: HashMap::new(), exceeded: false }
    }

    /// Whether some call used up its budget, so that the instance was interrupted.
    pub fn exceeded(&self) -> bool {
        self.exceeded
    }

    pub fn forget(&mut self, task: GuestTaskId) {
        if !self.used.is_empty() {
            self.used.remove(&Some(task));
        }
    }

    /// Ticks since the turn began, and no more than the thread has computed since it was looked at
    /// last.
    fn passed(&self) -> u32 {
        let now = (self.clock)();
        let computed = whole(now.saturating_sub(CHARGED.replace(now)), self.tick);
        let ticks = TURN.get().map_or(1, |turn| self.ticks.now().saturating_sub(turn));
        computed.min(u32::try_from(ticks).unwrap_or(u32::MAX)).max(1)
    }

    fn charge(&mut self, task: Option<GuestTaskId>) -> UpdateDeadline {
        let passed = self.passed();
        let used = self.used.entry(task).or_default();
        *used = used.saturating_add(passed);
        if *used > self.budget {
            self.exceeded = true;
            return UpdateDeadline::Interrupt;
        }
        UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
    }
}

fn whole(time: Duration, tick: Duration) -> u32 {
    u32::try_from(time.as_nanos().div_ceil(tick.as_nanos().max(1))).unwrap_or(u32::MAX)
}

/// Charges every call of a store, and gives other tasks of the thread their turn at each tick.
pub fn charge_calls<T: 'static>(store: &mut wasmtime::Store<T>, cpu: fn(&mut T) -> &mut Cpu) {
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(move |mut cx: StoreContextMut<'_, T>| {
        // The last one is the call that the host made; those before it are of components within the
        // component.
        let task = cx.async_call_stack().ok().and_then(Iterator::last);
        Ok(cpu(cx.data_mut()).charge(task))
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    thread_local! {
        static TIME: Cell<Duration> = const { Cell::new(Duration::ZERO) };
        /// How long each call of the host takes of that.
        static EACH: Cell<u32> = const { Cell::new(1) };
    }

    /// A component of two: `run` of the outer one calls `spin` of the inner one, which lets `n`
    /// ticks pass.
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

    /// Runs a call of `ticks` ticks with a budget of ten; whether it ended, and that nobody but it
    /// was charged.
    async fn runs(component: &[u8], ticks: u32) -> bool {
        // Its own ticks are far away.
        let engine = crate::engine::Engine::start(Duration::from_secs(3600), u64::MAX).unwrap();
        let mut linker = wasmtime::component::Linker::new(engine.wasmtime());
        let counted = engine.ticks().clone();
        let tick = move |cx: StoreContextMut<'_, Cpu>, ()| {
            cx.engine().increment_epoch();
            (0..EACH.get()).for_each(|_| counted.advance());
            TIME.set(TIME.get() + Duration::from_millis(EACH.get().into()));
            Ok(())
        };
        linker.root().func_wrap("tick", tick).unwrap();
        let component = wasmtime::component::Component::new(engine.wasmtime(), component).unwrap();
        let cpu = Cpu::new(Duration::from_millis(9), Duration::from_millis(1), engine.ticks().clone());
        let cpu = Cpu { clock: || TIME.get(), ..cpu };
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
        let ended = in_turns(engine.ticks().clone(), run).await.and_then(|ended| ended);
        let cpu = store.data();
        assert_eq!(ended.is_err(), cpu.exceeded(), "{ended:?}");
        assert_eq!(cpu.used.keys().collect::<Vec<_>>(), [&task], "the host's call alone is charged");
        ended.is_ok()
    }

    #[tokio::test]
    async fn the_call_of_the_host_pays_for_components_within_the_component() {
        for (of_type, inner) in [("", "\"block\""), ("async", "\"start\") async (callback (core func $i \"callback\")")]
        {
            let component = composed(of_type, inner);
            assert!(runs(&component, 8).await, "{inner}");
            assert!(!runs(&component, 100).await, "{inner}");
        }
    }

    const BLOCKS: (&str, &str) = ("", "\"block\"");

    #[tokio::test]
    async fn a_host_function_is_charged_with_all_that_went_by_in_it() {
        let component = composed(BLOCKS.0, BLOCKS.1);
        EACH.set(5);
        assert!(runs(&component, 2).await, "at most ten of ten");
        assert!(!runs(&component, 4).await, "fifteen of ten");
    }

    #[test]
    fn what_others_computed_and_waiting_are_not_charged() {
        let ticks = Ticks::default();
        let mut cpu = Cpu::new(Duration::from_millis(100), Duration::from_millis(10), ticks.clone());
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
        assert_eq!(charged(Some(0), 1, 500), 1, "others computed before its turn");
        assert_eq!(charged(None, 4, 40), 1, "nobody knows when its turn began");
    }
}
