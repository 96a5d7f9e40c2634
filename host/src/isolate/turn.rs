//! Bounds the turns of an instance on its thread. A turn is one poll of the instance's task.
//!
//! wasmtime polls the driver of an instance as long as it has work, and calls that make calls give
//! it work for ever. Epochs bound the time that guests compute in a turn. [`TurnLimiter`] bounds
//! the number of calls that start in a turn, and lets the other tasks and sockets of the thread run
//! before the next turn begins.
//!
//! tokio runs up to 61 tasks before it polls the sockets, and all 61 may be one task that wakes
//! itself. That is why an instance that wakes itself yields to the sockets first.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

use super::cpu::has_yielded;

/// No turn runs, and none is due.
const IDLE: u8 = 0;
/// A turn runs, and no wake has arrived since it began.
const TURN: u8 = 1;
/// A wake has arrived, so another turn is due.
const WOKEN: u8 = 2;

/// Runs the work of one instance in bounded turns.
pub struct TurnLimiter {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
    /// The number of calls that may start in a turn.
    most: u32,
    /// The number of calls that may still start in the current turn.
    left: AtomicU32,
    /// Whether a call had to wait for the next turn.
    full: AtomicBool,
    /// Counts the turns in which a call had to wait.
    filled: Counter,
    /// Whether the driver has given work to the store since its last poll began.
    given: AtomicBool,
}

impl TurnLimiter {
    pub fn new(most: u32, filled: Counter) -> Arc<TurnLimiter> {
        Arc::new(TurnLimiter {
            state: AtomicU8::new(IDLE),
            task: Mutex::default(),
            most,
            left: AtomicU32::new(most),
            full: AtomicBool::new(false),
            filled,
            given: AtomicBool::new(false),
        })
    }

    /// Runs `work` to its end; each poll is a turn. When something wakes `work` during its own
    /// turn, the next turn begins only after the other tasks and the sockets of the thread have
    /// run. Without that, tokio polls a task that wakes itself many times before it looks at the
    /// sockets. `turn_ended` is told after each turn whether nothing is left to do.
    pub async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>, turn_ended: impl Fn(bool)) -> T {
        let waker = Waker::from(self.clone());
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.begin(cx.waker());
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            let is_due = self.end();
            turn_ended(!is_due && !has_yielded());
            if is_due && polled.is_pending() {
                // One poll of `yield_now` hands the waker to the runtime, which wakes it later.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
            }
            polled
        })
        .await
    }

    /// Begins a poll of the driver. Clears the wakes of this turn so far, because wasmtime now
    /// polls everything that caused them. They then need no further turn.
    pub fn begin_poll(&self) {
        self.given.store(false, Ordering::Relaxed);
        if self.state.load(Ordering::Relaxed) == WOKEN {
            let _ = self.state.compare_exchange(WOKEN, TURN, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Whether one more call may start in this turn. If not, the caller must wake itself for
    /// another turn.
    pub fn has_room(&self) -> bool {
        let room = self.left.load(Ordering::Relaxed) > 0;
        if !room {
            self.full.store(true, Ordering::Relaxed);
        }
        room
    }

    /// Lets no further call start in this turn. Returns `false`.
    pub fn refuse(&self) -> bool {
        self.left.store(0, Ordering::Relaxed);
        self.full.store(true, Ordering::Relaxed);
        false
    }

    /// Records that the driver has given work to the store. When wasmtime has nothing left to do,
    /// it polls the driver once more and then looks for no work. So another turn is due unless the
    /// driver is polled again in this one.
    pub fn give_work(&self) {
        self.given.store(true, Ordering::Relaxed);
    }

    /// Counts a call that starts in this turn.
    pub fn count_call(&self) {
        let left = self.left.load(Ordering::Relaxed);
        self.left.store(left.saturating_sub(1), Ordering::Relaxed);
    }

    fn begin(&self, task: &Waker) {
        let mut known = self.task.lock();
        if !known.as_ref().is_some_and(|known| known.will_wake(task)) {
            *known = Some(task.clone());
        }
        drop(known);
        self.state.swap(TURN, Ordering::AcqRel);
        self.left.store(self.most, Ordering::Relaxed);
    }

    /// Ends the turn and returns whether another one is due.
    fn end(&self) -> bool {
        if self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Relaxed);
            self.filled.inc();
        }
        if self.given.swap(false, Ordering::Relaxed) {
            self.state.store(WOKEN, Ordering::Release);
        }
        self.state.compare_exchange(TURN, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err()
    }
}

impl Wake for TurnLimiter {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == IDLE
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io::Write;
    use std::task::Poll;
    use std::time::Duration;

    use futures_util::task::AtomicWaker;
    use tokio::io::AsyncReadExt;
    use wasmtime::component::{Component, Linker};

    use super::*;

    fn turns(most: u32) -> (Arc<TurnLimiter>, Counter) {
        let filled = Counter::default();
        (TurnLimiter::new(most, filled.clone()), filled)
    }

    #[tokio::test]
    async fn a_turn_starts_its_number_of_calls_and_no_more() {
        let (turns, filled) = turns(3);
        let mut started = Vec::new();
        turns
            .run(
                poll_fn(|cx| {
                    let mut calls = 0;
                    while calls < 4 && turns.has_room() {
                        turns.count_call();
                        calls += 1;
                    }
                    started.push(calls);
                    cx.waker().wake_by_ref();
                    if started.len() < 3 { Poll::Pending } else { Poll::Ready(()) }
                }),
                |_| (),
            )
            .await;
        assert_eq!((started, filled.get()), (vec![3, 3, 3], 3));
    }

    #[tokio::test]
    async fn sockets_run_after_each_turn_of_work_that_wakes_itself() {
        let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        far.set_nonblocking(true).unwrap();
        let mut far = tokio::net::UnixStream::from_std(far).unwrap();
        let (turns, _) = turns(1);
        let took = Arc::new(AtomicU32::new(0));
        let counts = took.clone();
        let storm = tokio::spawn(async move {
            let work = poll_fn(|cx| {
                counts.fetch_add(1, Ordering::Relaxed);
                cx.waker().wake_by_ref();
                Poll::<()>::Pending
            });
            turns.run(work, |_| ()).await;
        });
        // The reader sees this only once the runtime looks at its sockets.
        near.write_all(b"x").unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'x');
        storm.abort();
        let took = took.load(Ordering::Relaxed);
        assert!((1..10).contains(&took), "{took} turns");
    }

    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The number of further turns that are due after a turn that wakes itself and then clears its
    /// wakes or not.
    fn further_turns(clears: bool) -> u32 {
        let (turns, _) = turns(1);
        let wakes = Arc::new(Wakes(AtomicU32::new(0)));
        let mut work = pin!(turns.run(
            poll_fn(|cx| {
                cx.waker().wake_by_ref();
                if clears {
                    turns.begin_poll();
                }
                Poll::<()>::Pending
            }),
            |_| ()
        ));
        // Without a runtime the waker is called at once.
        assert!(work.as_mut().poll(&mut Context::from_waker(&Waker::from(wakes.clone()))).is_pending());
        wakes.0.load(Ordering::Relaxed)
    }

    #[test]
    fn a_wake_that_is_cleared_in_its_own_turn_causes_no_further_turn() {
        assert_eq!((further_turns(false), further_turns(true)), (1, 0));
    }

    /// A driver that starts a call at its second poll. wasmtime polls it twice in a turn in which
    /// nothing else is left to do, and does not look for work after that.
    #[tokio::test]
    async fn a_call_that_starts_at_the_end_of_a_turn_runs_in_the_next_one() {
        let engine = crate::engine::Engine::start(Duration::from_secs(3600), u64::MAX, 0).unwrap();
        let component = r#"(component
            (core module $m (func (export "run")))
            (core instance $i (instantiate $m))
            (func (export "run") (canon lift (core func $i "run"))))"#;
        let component = Component::new(engine.wasmtime(), wat::parse_str(component).unwrap()).unwrap();
        let mut store = wasmtime::Store::new(engine.wasmtime(), ());
        store.set_epoch_deadline(1);
        let instance = Linker::new(engine.wasmtime()).instantiate_async(&mut store, &component).await.unwrap();
        let run = instance.get_typed_func::<(), ()>(&mut store, "run").unwrap();
        let (turns, _) = turns(1);
        let (wakes, polls) = (Arc::new(Wakes(AtomicU32::new(0))), Cell::new(0));
        let driven = store.run_concurrent(async |accessor| {
            let mut call = pin!(async {
                turns.give_work();
                let call = accessor.with(|access| run.start_call_concurrent(access, ()))?;
                run.finish_call_concurrent(accessor, call).await
            });
            poll_fn(|cx| {
                turns.begin_poll();
                polls.set(polls.get() + 1);
                if polls.get() == 1 { Poll::Pending } else { call.as_mut().poll(cx) }
            })
            .await
        });
        let mut work = pin!(turns.run(driven, |_| ()));
        let waker = Waker::from(wakes.clone());
        assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert_eq!(polls.get(), 2, "the call started in the last poll of the turn");
        tokio::task::yield_now().await;
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1, "another turn is due");
        assert!(work.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
    }

    #[tokio::test]
    async fn a_wake_between_two_turns_is_not_lost() {
        let (turns, _) = turns(1);
        let arrived = Arc::new(AtomicWaker::new());
        let (looks, waker) = (Cell::new(0), arrived.clone());
        let work = turns.run(
            poll_fn(|cx| {
                looks.set(looks.get() + 1);
                arrived.register(cx.waker());
                if looks.get() < 100 { Poll::Pending } else { Poll::Ready(()) }
            }),
            |_| (),
        );
        let wakes = std::thread::spawn(move || {
            while Arc::strong_count(&waker) > 1 {
                waker.wake();
                std::thread::yield_now();
            }
        });
        work.await;
        drop(arrived);
        wakes.join().unwrap();
        assert_eq!(looks.get(), 100);
    }
}
