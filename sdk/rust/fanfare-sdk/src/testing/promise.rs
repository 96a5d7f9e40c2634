//! A value that arrives later. Threads and futures can wait for it.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;

struct Slot<T> {
    state: Mutex<State<T>>,
    resolved: Condvar,
}

struct State<T> {
    value: Option<T>,
    done: bool,
    waker: Option<Waker>,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct Resolver<T>(Arc<Slot<T>>);

impl<T> Clone for Resolver<T> {
    fn clone(&self) -> Self {
        Resolver(Arc::clone(&self.0))
    }
}

pub(super) struct Promise<T>(Arc<Slot<T>>);

pub(super) fn promise<T>() -> (Resolver<T>, Promise<T>) {
    let state = Mutex::new(State { value: None, done: false, waker: None });
    let slot = Arc::new(Slot { state, resolved: Condvar::new() });
    (Resolver(Arc::clone(&slot)), Promise(slot))
}

impl<T> Resolver<T> {
    /// Sets the value. Only the first call has an effect.
    pub fn resolve(&self, value: T) {
        let mut state = self.0.lock();
        if !state.done {
            state.done = true;
            state.value = Some(value);
            self.0.resolved.notify_all();
            if let Some(waker) = state.waker.take() {
                waker.wake();
            }
        }
    }
}

impl<T> Promise<T> {
    /// Blocks until the value arrives. Returns `None` after `timeout`.
    pub fn wait(self, timeout: Duration) -> Option<T> {
        let guard = self.0.lock();
        let waited = self.0.resolved.wait_timeout_while(guard, timeout, |state| !state.done);
        waited.unwrap_or_else(PoisonError::into_inner).0.value.take()
    }
}

impl<T> Future for Promise<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let mut state = self.0.lock();
        if let Some(value) = state.value.take() {
            return Poll::Ready(value);
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// Runs a future to its end on this thread, without a host. The future must call no host function.
pub fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return value;
        }
        thread::park();
    }
}
