//! How far a node has come: whether it has read what had arrived, and sent what it was about to
//! send.

use futures_util::{Stream, StreamExt};
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// The most questions that wait for a task. Others wait until there is room.
const MOST_WAITING: usize = 64;

/// A task that reads messages. Others ask it whether it has read what had arrived.
#[derive(Default)]
pub(super) struct Reading(Mutex<Option<mpsc::Sender<oneshot::Sender<()>>>>);

impl Reading {
    /// Reads messages until they end.
    pub(super) async fn read<T>(&self, mut messages: impl Stream<Item = T> + Unpin, mut take: impl FnMut(T)) {
        let (sender, mut questions) = mpsc::channel(MOST_WAITING);
        *self.0.lock() = Some(sender);
        loop {
            tokio::select! {
                biased;
                message = messages.next() => match message {
                    Some(message) => take(message),
                    None => return,
                },
                Some(asked) = questions.recv() => {
                    _ = asked.send(());
                }
            }
        }
    }

    /// Waits until all messages are read that have arrived before. Returns at once without a task
    /// that reads.
    pub(super) async fn catch_up(&self) {
        let Some(sender) = self.0.lock().clone() else { return };
        let (asked, caught_up) = oneshot::channel();
        if sender.send(asked).await.is_ok() {
            _ = caught_up.await;
        }
    }
}

/// Requests between the choice of their node and the moment at which they are sent.
#[derive(Default)]
pub(super) struct Sending {
    begun: Mutex<TaskTracker>,
    /// Held by the one that waits, because it has taken the requests that others would wait for.
    waits: tokio::sync::Mutex<()>,
}

impl Sending {
    /// Begins before the node is chosen. The request is sent when the token is dropped.
    pub(super) fn begin(&self) -> TaskTrackerToken {
        self.begun.lock().token()
    }

    /// Waits until all requests are sent that have begun before.
    pub(super) async fn sent(&self) {
        let _waits = self.waits.lock().await;
        let begun = std::mem::take(&mut *self.begun.lock());
        begun.close();
        begun.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use futures_util::FutureExt;
    use futures_util::stream::poll_fn;

    use super::*;

    #[tokio::test]
    async fn a_task_has_caught_up_when_it_has_read_all_that_had_arrived() {
        let (reading, count) = (Arc::new(Reading::default()), Arc::new(AtomicUsize::new(0)));
        assert!(reading.catch_up().now_or_never().is_some(), "nobody reads");
        let (sender, mut messages) = mpsc::unbounded_channel();
        let (reads, counts) = (reading.clone(), count.clone());
        let task = tokio::spawn(async move {
            let messages = poll_fn(|context| messages.poll_recv(context));
            reads.read(messages, |()| _ = counts.fetch_add(1, Relaxed)).await;
        });
        tokio::task::yield_now().await;
        for round in 1..=10 {
            (0..1_000).for_each(|_| sender.send(()).unwrap());
            reading.catch_up().await;
            assert_eq!(count.load(Relaxed), round * 1_000);
        }
        drop(sender);
        task.await.unwrap();
        reading.catch_up().await;
    }

    #[tokio::test]
    async fn requests_that_have_begun_are_waited_for_and_later_ones_are_not() {
        let sending = Sending::default();
        let first = sending.begin();
        let mut sent = Box::pin(sending.sent());
        let mut of_another_node = Box::pin(sending.sent());
        assert!(sent.as_mut().now_or_never().is_none());
        assert!(of_another_node.as_mut().now_or_never().is_none());
        drop(first);
        let _later = sending.begin();
        assert!(sent.now_or_never().is_some());
    }
}
