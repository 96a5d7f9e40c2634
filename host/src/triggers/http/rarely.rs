//! A future beside a busy one, polled only when it is itself awake.
//!
//! A connection's task wakes for every read and write; its timer and the word to stop are awake next to never, and
//! polling them each time would be seen in a profile.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

/// See the module.
pub(super) struct Rarely<F> {
    future: Pin<Box<F>>,
    bell: Arc<Bell>,
    waker: Waker,
}

/// Wakes the task, and notes that it was this future which did.
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

impl<F: Future> Rarely<F> {
    pub(super) fn new(future: F) -> Rarely<F> {
        let bell = Arc::new(Bell { rung: AtomicBool::new(true), task: AtomicWaker::new() });
        Rarely { future: Box::pin(future), waker: Waker::from(bell.clone()), bell }
    }

    /// Puts another future into the place of one that has ended.
    pub(super) fn set(&mut self, future: F) {
        self.future.set(future);
        self.bell.rung.store(true, Ordering::Release);
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<F::Output> {
        // First the task, then the look: a ring between the two wakes the task.
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
        let mut rarely = Rarely::new(std::future::poll_fn(move |cx| {
            counted.fetch_add(1, Ordering::Relaxed);
            Pin::new(&mut receive).poll(cx)
        }));
        for _ in 0..5 {
            std::future::poll_fn(|cx| {
                assert!(rarely.poll(cx).is_pending());
                Poll::Ready(())
            })
            .await;
        }
        assert_eq!(polls.load(Ordering::Relaxed), 1);
        let waits = tokio::spawn(async move { std::future::poll_fn(|cx| rarely.poll(cx)).await });
        tokio::task::yield_now().await;
        send.send(7).unwrap();
        assert_eq!(waits.await.unwrap(), Ok(7));
        assert_eq!(polls.load(Ordering::Relaxed), 2);
    }
}
