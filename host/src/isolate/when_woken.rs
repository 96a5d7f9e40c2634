//! A future that does nothing when it is polled without a wake.
//!
//! wasmtime polls the future that drives an instance after every step of the guest, several times
//! per call. The driver must look at the mailbox only when something woke it.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Wakes a task and remembers the wake.
#[derive(Default)]
struct WakeFlag {
    woken: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Only the first of several wakes has to wake the task: the poll that follows clears the
        // flag before it looks for work.
        if !self.woken.swap(true, Ordering::AcqRel)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

/// Runs `work` at the first poll, and later only at polls that follow a wake of the waker that
/// `work` received.
pub fn when_woken<T>(mut work: impl FnMut(&mut Context<'_>) -> Poll<T>) -> impl Future<Output = T> {
    let flag = Arc::<WakeFlag>::default();
    let waker = Waker::from(flag.clone());
    let mut task: Option<Waker> = None;
    poll_fn(move |cx| {
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            task = Some(cx.waker().clone());
            flag.task.lock().clone_from(&task);
        } else if !flag.woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        flag.woken.swap(false, Ordering::AcqRel);
        work(&mut Context::from_waker(&waker))
    })
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use futures_util::FutureExt;
    use futures_util::task::AtomicWaker;

    use super::*;

    #[test]
    fn work_runs_at_the_first_poll_and_after_each_wake_only() {
        let (looks, arrived) = (Cell::new(0), AtomicWaker::new());
        let mut future = Box::pin(when_woken(|cx| {
            arrived.register(cx.waker());
            looks.set(looks.get() + 1);
            if looks.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        // Not `Waker::noop`, because its copies may differ in a build without optimisation.
        let task = Waker::from(Arc::<WakeFlag>::default());
        let cx = &mut Context::from_waker(&task);
        for expected in 1..3 {
            for _ in 0..5 {
                assert!(future.as_mut().poll(cx).is_pending());
                assert_eq!(looks.get(), expected);
            }
            arrived.wake();
        }
        assert!(future.as_mut().poll(cx).is_ready());
    }

    #[tokio::test]
    async fn a_wake_while_the_work_runs_is_not_lost() {
        let looks = Cell::new(0);
        when_woken(|cx| {
            looks.set(looks.get() + 1);
            cx.waker().wake_by_ref();
            if looks.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
        assert_eq!(looks.get(), 3);
    }

    #[tokio::test]
    async fn a_wake_reaches_the_task_that_polled_last() {
        let arrived = Arc::new(AtomicWaker::new());
        let mut looks = 0;
        let mut future = Box::pin(when_woken(|cx| {
            arrived.register(cx.waker());
            looks += 1;
            if looks < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        assert!(future.as_mut().now_or_never().is_none());
        let waker = arrived.clone();
        tokio::spawn(async move { waker.wake() });
        future.await;
    }
}
