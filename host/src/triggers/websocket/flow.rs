//! The messages of one client that run or wait, and the end of reading while there are too many.

use std::sync::Arc;
use std::task::{Context, Waker};

use parking_lot::Mutex;

use super::counters::Counters;

/// The messages of one client that have no outcome yet.
#[derive(Debug)]
pub(super) struct Flow {
    state: Mutex<State>,
    /// `websocket.inFlight`.
    max: u32,
    counters: Arc<Counters>,
}

#[derive(Debug, Default)]
struct State {
    running: u32,
    /// The answers of the client that calls wait for. Its messages bring them, so that each lets
    /// one more message begin.
    awaited: u32,
    /// Whether no other message may begin.
    is_alone: bool,
    /// The connection, while it does not read.
    paused: Option<Waker>,
}

/// A message that has no outcome yet.
#[derive(Debug)]
pub(super) struct InFlight {
    flow: Arc<Flow>,
    is_alone: bool,
}

/// An answer of the client that a call waits for.
#[derive(Debug)]
pub(super) struct Awaited(Arc<Flow>);

impl Flow {
    pub(super) fn new(max: u32, counters: &Arc<Counters>) -> Arc<Flow> {
        Arc::new(Flow { state: Mutex::default(), max, counters: counters.clone() })
    }

    /// Counts a message until the guard is dropped.
    pub(super) fn begin(self: &Arc<Flow>) -> InFlight {
        self.begin_as(false)
    }

    /// Counts a message, and lets no other one begin until the guard is dropped.
    pub(super) fn begin_alone(self: &Arc<Flow>) -> InFlight {
        self.begin_as(true)
    }

    fn begin_as(self: &Arc<Flow>, is_alone: bool) -> InFlight {
        let mut state = self.state.lock();
        state.running = state.running.saturating_add(1);
        state.is_alone |= is_alone;
        InFlight { flow: self.clone(), is_alone }
    }

    /// Counts an answer that a call waits for, until the guard is dropped. The connection reads on.
    pub(super) fn await_answer(self: &Arc<Flow>) -> Awaited {
        let mut state = self.state.lock();
        state.awaited = state.awaited.saturating_add(1);
        let waker = state.paused.take();
        drop(state);
        wake(waker);
        Awaited(self.clone())
    }

    /// Whether no message has to wait for its outcome.
    pub(super) fn is_idle(&self) -> bool {
        self.state.lock().running == 0
    }

    /// Whether too many messages have no outcome yet. Then wakes the task when there are fewer.
    pub(super) fn is_full(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        let is_full = state.running >= self.max.saturating_add(state.awaited);
        if !is_full && !state.is_alone {
            return false;
        }
        if state.paused.replace(cx.waker().clone()).is_none() && is_full {
            Counters::count(&self.counters.paused);
        }
        true
    }

    /// Whether one message lets no other one begin.
    pub(super) fn is_alone(&self) -> bool {
        self.state.lock().is_alone
    }

    /// Whether messages have no outcome yet. Then wakes the task when one has.
    pub(super) fn wakes_later(&self, cx: &Context<'_>) -> bool {
        let mut state = self.state.lock();
        let is_busy = state.running > 0;
        if is_busy {
            state.paused = Some(cx.waker().clone());
        }
        is_busy
    }

    /// Whether the connection does not read because of [`Flow::is_full`].
    pub(super) fn is_paused(&self) -> bool {
        self.state.lock().paused.is_some()
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.flow.state.lock();
        state.running = state.running.saturating_sub(1);
        if self.is_alone {
            state.is_alone = false;
        }
        let waker = state.paused.take();
        drop(state);
        wake(waker);
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        let mut state = self.0.state.lock();
        state.awaited = state.awaited.saturating_sub(1);
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicU32);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }

    #[test]
    fn reading_ends_at_the_maximum_and_begins_again_with_the_next_outcome() {
        let (counters, wakes) = (Arc::new(Counters::default()), Arc::new(Wakes::default()));
        let flow = Flow::new(2, &counters);
        let waker = Waker::from(wakes.clone());
        let cx = Context::from_waker(&waker);
        let first = flow.begin();
        assert!(!flow.is_full(&cx) && !flow.is_idle() && !flow.is_paused());
        let second = flow.begin();
        assert!(flow.is_full(&cx) && flow.is_paused());
        drop(first);
        assert_eq!((wakes.0.load(Relaxed), flow.is_full(&cx), flow.is_paused()), (1, false, false));
        assert!(flow.wakes_later(&cx));
        drop(second);
        let alone = flow.begin_alone();
        assert!(flow.is_full(&cx) && flow.is_paused());
        drop(alone);
        assert!(flow.is_idle() && !flow.is_full(&cx) && !flow.wakes_later(&cx));
        assert_eq!((wakes.0.load(Relaxed), counters.paused.load(Relaxed)), (3, 1));
    }

    #[test]
    fn an_awaited_answer_lets_one_more_message_begin() {
        let wakes = Arc::new(Wakes::default());
        let flow = Flow::new(1, &Arc::new(Counters::default()));
        let waker = Waker::from(wakes.clone());
        let cx = Context::from_waker(&waker);
        let _asks = flow.begin();
        assert!(flow.is_full(&cx));
        let awaited = flow.await_answer();
        assert_eq!((wakes.0.load(Relaxed), flow.is_full(&cx)), (1, false));
        let _another = flow.begin();
        assert!(flow.is_full(&cx));
        drop(awaited);
        assert!(flow.is_full(&cx));
    }
}
