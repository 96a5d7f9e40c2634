//! Work in a future that is polled far more often than there is something to do.
//!
//! wasmtime polls the future it was given after every step that it takes for a guest, several times a call. What drives
//! the calls of an instance looks at its mailbox only when it was woken.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use parking_lot::Mutex;

/// Wakes a task, and notes that it did.
#[derive(Default)]
struct Bell {
    rung: AtomicBool,
    task: Mutex<Option<Waker>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The first of several wakes is enough: the look that answers it clears the note before it looks.
        if !self.rung.swap(true, Ordering::AcqRel)
            && let Some(task) = &*self.task.lock()
        {
            task.wake_by_ref();
        }
    }
}

/// Does `work` at the first poll, and then at those that follow a wake of the waker it was given.
pub fn when_woken<T>(mut work: impl FnMut(&mut Context<'_>) -> Poll<T>) -> impl Future<Output = T> {
    let bell = Arc::<Bell>::default();
    let waker = Waker::from(bell.clone());
    let mut task: Option<Waker> = None;
    poll_fn(move |cx| {
        if !task.as_ref().is_some_and(|task| task.will_wake(cx.waker())) {
            task = Some(cx.waker().clone());
            bell.task.lock().clone_from(&task);
        } else if !bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        bell.rung.swap(false, Ordering::AcqRel);
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
    fn it_works_at_the_first_poll_and_when_it_is_woken() {
        let (looks, arrived) = (Cell::new(0), AtomicWaker::new());
        let mut future = Box::pin(when_woken(|cx| {
            arrived.register(cx.waker());
            looks.set(looks.get() + 1);
            if looks.get() < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        // Not `Waker::noop`, whose copies may differ in a build without optimisation.
        let task = Waker::from(Arc::<Bell>::default());
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
    async fn a_wake_during_the_work_is_not_lost() {
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
    async fn another_task_that_polls_it_is_the_one_that_is_woken() {
        let arrived = Arc::new(AtomicWaker::new());
        let mut looks = 0;
        let mut future = Box::pin(when_woken(|cx| {
            arrived.register(cx.waker());
            looks += 1;
            if looks < 3 { Poll::Pending } else { Poll::Ready(()) }
        }));
        assert!(future.as_mut().now_or_never().is_none());
        let bell = arrived.clone();
        tokio::spawn(async move { bell.wake() });
        future.await;
    }
}
