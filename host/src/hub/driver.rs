//! Waiting until the thread has looked at its sockets.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use tokio::task::yield_now;

/// Yields until the runtime of this thread has polled its driver, and so noticed what clients have
/// sent. A bare `yield_now` ends earlier if something else wakes the task.
pub async fn driver_polled() {
    let mut yielded = pin!(yield_now());
    let mut polled: Option<Arc<Polled>> = None;
    poll_fn(|cx| match &polled {
        // The runtime wakes the waker of a task that yields after it has polled its driver.
        None => {
            let own = Arc::new(Polled { is_polled: AtomicBool::new(false), task: cx.waker().clone() });
            let poll = yielded.as_mut().poll(&mut Context::from_waker(&Waker::from(own.clone())));
            polled = Some(own);
            poll
        }
        Some(own) if own.is_polled.load(Ordering::Relaxed) => Poll::Ready(()),
        Some(_) => Poll::Pending,
    })
    .await;
}

/// Wakes a task, and remembers it.
struct Polled {
    is_polled: AtomicBool,
    task: Waker,
}

impl Wake for Polled {
    fn wake(self: Arc<Self>) {
        self.is_polled.store(true, Ordering::Relaxed);
        self.task.wake_by_ref();
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future as _;
    use std::io::Write as _;

    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn what_a_peer_has_sent_is_noticed_although_the_task_is_woken_all_the_time() {
        let (mut peer, own) = std::os::unix::net::UnixStream::pair().unwrap();
        own.set_nonblocking(true).unwrap();
        let own = UnixStream::from_std(own).unwrap();
        driver_polled().await;
        own.try_read(&mut [0]).unwrap_err();
        peer.write_all(b"x").unwrap();
        let mut polled = pin!(driver_polled());
        poll_fn(|cx| {
            cx.waker().wake_by_ref();
            polled.as_mut().poll(cx)
        })
        .await;
        assert_eq!(own.try_read(&mut [0]).unwrap(), 1);
    }
}
