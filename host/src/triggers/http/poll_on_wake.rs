//! A future that is polled only when its own waker was called, not whenever its task runs.
//!
//! The task of a connection runs for every read and write. Its timer and its stop signal are almost
//! never ready, and polling them each time would be visible in a profile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls a future only after its own waker was called.
pub(super) struct PollOnWake<F> {
    future: Pin<Box<F>>,
    flag: Arc<WakeFlag>,
    waker: Waker,
}

/// Wakes the task, and records that this future caused it.
struct WakeFlag {
    is_woken: AtomicBool,
    task: AtomicWaker,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> PollOnWake<F> {
    pub(super) fn new(future: F) -> PollOnWake<F> {
        let flag = Arc::new(WakeFlag { is_woken: AtomicBool::new(true), task: AtomicWaker::new() });
        PollOnWake { future: Box::pin(future), waker: Waker::from(flag.clone()), flag }
    }

    /// Replaces a future that has ended.
    pub(super) fn set(&mut self, future: F) {
        self.future.set(future);
        self.flag.is_woken.store(true, Ordering::Release);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        // The task is registered before the load, so that no wake is lost in between.
        self.flag.task.register(cx.waker());
        if !self.flag.is_woken.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.flag.is_woken.store(false, Ordering::Release);
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn the_future_is_polled_only_after_its_waker_was_called() {
        let polls = Arc::new(AtomicUsize::new(0));
        let (send, mut receive) = tokio::sync::oneshot::channel::<u32>();
        let counted = polls.clone();
        let mut future = PollOnWake::new(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut receive).poll(cx)
        }));
        for _ in 0..5 {
            std::future::poll_fn(|cx| {
                assert!(future.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let waits = tokio::spawn(async move { std::future::poll_fn(|cx| future.poll(cx)).await });
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(waits.await.unwrap(), Ok(7));
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
