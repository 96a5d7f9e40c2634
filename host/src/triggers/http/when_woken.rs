//! A future that is polled only when its own waker was called, not whenever its task runs.
//!
//! The task of a connection runs for every read and write. Its timer and the signal to stop are
//! almost never ready, and polling them each time would be visible in a profile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// Polls a future only after its own waker was called.
pub(super) struct WhenWoken<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the task, and notes that this future caused it.
struct Bell {
    rung: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake();
    }
}

impl<F: Future> WhenWoken<F> {
    pub(super) fn new(future: F) -> WhenWoken<F> {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        WhenWoken { future: Box::pin(future), waker: Waker::from(bell.clone()), bell }
    }

    /// Replaces a future that has ended.
    pub(super) fn set(&mut self, future: F) {
        self.future.set(future);
        self.bell.rung.store(true, Ordering::Release);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        // The task is registered first, so that a wake after the load is not lost.
        self.bell.task.register(cx.waker());
        if !self.bell.rung.load(Ordering::Acquire) {
            return Poll::Pending;
        }
        self.bell.rung.store(false, Ordering::Release);
        self.future.as_mut().poll(&mut Context::from_waker(&self.waker))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicUsize;

    #[tokio::test]
    async fn it_is_polled_when_it_is_awake_and_not_otherwise() {
        let polls = Arc::new(AtomicUsize::new(0));
        let (send, mut receive) = tokio::sync::oneshot::channel::<u32>();
        let counted = polls.clone();
        let mut when_woken = WhenWoken::new(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut receive).poll(cx)
        }));
        for _ in 0..5 {
            std::future::poll_fn(|cx| {
                assert!(when_woken.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let waits = tokio::spawn(async move { std::future::poll_fn(|cx| when_woken.poll(cx)).await });
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(waits.await.unwrap(), Ok(7));
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
