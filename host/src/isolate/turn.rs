//! The turns of an instance on its thread, each of which is bounded.
//!
//! wasmtime polls what drives an instance for as long as there is something to do, and calls that
//! make calls give it something to do for ever. Epochs bound the time that guests compute in a
//! turn; this bounds the calls that start in it, and lets the thread's other tasks and sockets have
//! their turn before the next one begins.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::task::{Context, Wake, Waker};

use parking_lot::Mutex;
use prometheus_client::metrics::counter::Counter;

/// Nothing to do.
const IDLE: u8 = 0;
/// A turn is under way, and nothing has happened since it began.
const TURN: u8 = 1;
/// Another turn is due.
const WOKEN: u8 = 2;

/// Runs the work of one instance in turns.
pub struct Turns {
    state: AtomicU8,
    task: Mutex<Option<Waker>>,
    /// Calls that may start in a turn.
    most: u32,
    /// Calls that may still start in this one.
    left: AtomicU32,
    /// Whether a call had to wait for the next turn.
    full: AtomicBool,
    /// Turns in which that was so.
    filled: Counter,
}

impl Turns {
    pub fn new(most: u32, filled: Counter) -> Arc<Turns> {
        Arc::new(Turns {
            state: AtomicU8::new(IDLE),
            task: Mutex::default(),
            most,
            left: AtomicU32::new(most),
            full: AtomicBool::new(false),
            filled,
        })
    }

    /// Runs `work` to its end. Each poll is a turn. When something wakes `work` during its own
    /// turn, the next turn begins after the thread's other tasks and its sockets had theirs: a task
    /// that wakes itself would else come before the sockets many times.
    pub async fn run<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        let waker = Waker::from(self.clone());
        let mut work = pin!(work);
        poll_fn(|cx| {
            self.begin(cx.waker());
            let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
            if self.end() && polled.is_pending() {
                // Polled once, it leaves the waker with the runtime.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
            }
            polled
        })
        .await
    }

    /// Notes that everything that has woken the work so far in this turn is looked at now, so that
    /// it asks for no further turn.
    pub fn look(&self) {
        if self.state.load(Ordering::Relaxed) == WOKEN {
            let _ = self.state.compare_exchange(WOKEN, TURN, Ordering::AcqRel, Ordering::Relaxed);
        }
    }

    /// Whether one more call may start in this turn. Otherwise the caller has to ask for another
    /// turn.
    pub fn has_room(&self) -> bool {
        let room = self.left.load(Ordering::Relaxed) > 0;
        if !room {
            self.full.store(true, Ordering::Relaxed);
        }
        room
    }

    /// Counts a call that starts in this turn.
    pub fn count(&self) {
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

    /// Whether another turn is due.
    fn end(&self) -> bool {
        if self.full.load(Ordering::Relaxed) {
            self.full.store(false, Ordering::Relaxed);
            self.filled.inc();
        }
        self.state.compare_exchange(TURN, IDLE, Ordering::AcqRel, Ordering::Acquire).is_err()
    }
}

impl Wake for Turns {
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

    use futures_util::task::AtomicWaker;
    use tokio::io::AsyncReadExt;

    use super::*;

    fn turns(most: u32) -> (Arc<Turns>, Counter) {
        let filled = Counter::default();
        (Turns::new(most, filled.clone()), filled)
    }

    #[tokio::test]
    async fn a_turn_has_room_for_its_calls_and_no_more() {
        let (turns, filled) = turns(3);
        let mut started = Vec::new();
        turns
            .run(poll_fn(|cx| {
                let mut calls = 0;
                while calls < 4 && turns.has_room() {
                    turns.count();
                    calls += 1;
                }
                started.push(calls);
                cx.waker().wake_by_ref();
                if started.len() < 3 { Poll::Pending } else { Poll::Ready(()) }
            }))
            .await;
        assert_eq!((started, filled.get()), (vec![3, 3, 3], 3));
    }

    #[tokio::test]
    async fn work_that_wakes_itself_lets_the_sockets_in_after_each_turn() {
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
            turns.run(work).await;
        });
        // Not seen before the runtime looks at its sockets.
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

    /// How many further turns one turn asks for that wakes itself, and then looks or not.
    fn further_turns(looks: bool) -> u32 {
        let (turns, _) = turns(1);
        let wakes = Arc::new(Wakes(AtomicU32::new(0)));
        let mut work = pin!(turns.run(poll_fn(|cx| {
            cx.waker().wake_by_ref();
            if looks {
                turns.look();
            }
            Poll::<()>::Pending
        })));
        // Without a runtime the next turn is asked for at once.
        assert!(work.as_mut().poll(&mut Context::from_waker(&Waker::from(wakes.clone()))).is_pending());
        wakes.0.load(Ordering::Relaxed)
    }

    #[test]
    fn what_is_looked_at_in_its_own_turn_asks_for_no_other_turn() {
        assert_eq!((further_turns(false), further_turns(true)), (1, 0));
    }

    #[tokio::test]
    async fn what_wakes_it_between_turns_is_not_lost() {
        let (turns, _) = turns(1);
        let arrived = Arc::new(AtomicWaker::new());
        let (looks, bell) = (Cell::new(0), arrived.clone());
        let work = turns.run(poll_fn(|cx| {
            looks.set(looks.get() + 1);
            arrived.register(cx.waker());
            if looks.get() < 100 { Poll::Pending } else { Poll::Ready(()) }
        }));
        let rings = std::thread::spawn(move || {
            while Arc::strong_count(&bell) > 1 {
                bell.wake();
                std::thread::yield_now();
            }
        });
        work.await;
        drop(arrived);
        rings.join().unwrap();
        assert_eq!(looks.get(), 100);
    }
}
