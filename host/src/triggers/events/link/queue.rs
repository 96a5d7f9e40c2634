//! The events that wait for the service.

use std::collections::VecDeque;
use std::pin::pin;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::Event;

/// The most events of one request, and the most bytes of their texts. The service must accept
/// them: its smallest `maxBody` may be less, then it rejects the request and gets smaller ones.
const BATCH: (usize, u64) = (500, 256 * 1024);

/// A bounded queue. An empty queue accepts an event of any size.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    settled: Notify,
    max_events: usize,
    max_bytes: u64,
}

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    bytes: u64,
    /// Events that were taken, and whose outcome is unknown.
    taken: usize,
    is_closed: bool,
}

/// Why the queue does not accept an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    Closed,
}

impl Queue {
    pub(super) fn new(max_events: u32, max_bytes: u64) -> Queue {
        let max_events = usize::try_from(max_events).unwrap_or(usize::MAX);
        Queue { waiting: Mutex::default(), more: Notify::new(), settled: Notify::new(), max_events, max_bytes }
    }

    pub(super) fn push(&self, event: Event) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        let Waiting { events, bytes, is_closed, .. } = &mut *waiting;
        let size = event.size();
        if *is_closed {
            return Err(Refused::Closed);
        }
        if !events.is_empty() && (events.len() >= self.max_events || bytes.saturating_add(size) > self.max_bytes) {
            return Err(Refused::Full);
        }
        events.push_back(event);
        *bytes = bytes.saturating_add(size);
        drop(waiting);
        self.more.notify_one();
        Ok(())
    }

    /// Waits for events, and takes the oldest. [`Queue::settle`] must follow for each.
    pub(super) async fn take(&self) -> Vec<Event> {
        loop {
            let batch = self.try_take();
            if !batch.is_empty() {
                return batch;
            }
            self.more.notified().await;
        }
    }

    fn try_take(&self) -> Vec<Event> {
        let mut waiting = self.waiting.lock();
        let Waiting { events, bytes, taken, .. } = &mut *waiting;
        let (mut batch, mut size) = (Vec::new(), 0);
        while batch.len() < BATCH.0
            && let Some(next) = events.front()
            && (batch.is_empty() || size + next.size() <= BATCH.1)
            && let Some(next) = events.pop_front()
        {
            size += next.size();
            batch.push(next);
        }
        *bytes = bytes.saturating_sub(size);
        *taken += batch.len();
        batch
    }

    /// The outcome of this number of events that were taken is known.
    pub(super) fn settle(&self, count: usize) {
        let mut waiting = self.waiting.lock();
        waiting.taken = waiting.taken.saturating_sub(count);
        drop(waiting);
        self.settled.notify_waiters();
    }

    /// Waits until no event waits and the outcome of each is known, or `is_up` is false.
    pub(super) async fn until_empty(&self, is_up: impl Fn() -> bool) {
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            let is_empty = {
                let waiting = self.waiting.lock();
                waiting.events.is_empty() && waiting.taken == 0
            };
            if is_empty || !is_up() {
                return;
            }
            settled.await;
        }
    }

    /// Wakes those that wait in [`Queue::until_empty`].
    pub(super) fn wake(&self) {
        self.settled.notify_waiters();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.waiting.lock().is_closed
    }

    /// Drops the events that wait, and accepts no others. Returns the number of the events whose
    /// receipt the service has not confirmed.
    pub(super) fn close(&self) -> usize {
        let mut waiting = self.waiting.lock();
        let (events, taken) = (std::mem::take(&mut waiting.events), std::mem::take(&mut waiting.taken));
        (waiting.bytes, waiting.is_closed) = (0, true);
        events.len() + taken
    }

    /// The number of the events that wait, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        let waiting = self.waiting.lock();
        (waiting.events.len(), waiting.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(bytes: usize) -> Event {
        Event { kind: "k".into(), value: "x".repeat(bytes - 1).into(), source: None }
    }

    #[test]
    fn events_beyond_each_limit_do_not_fit() {
        let (fits, full) = (Ok(()), Err(Refused::Full));
        let by_count = Queue::new(2, 1_000);
        assert_eq!([0; 3].map(|_| by_count.push(event(1))), [fits, fits, full]);
        let by_bytes = Queue::new(9, 10);
        assert_eq!([4, 6, 1].map(|bytes| by_bytes.push(event(bytes))), [fits, fits, full]);
        assert_eq!(by_bytes.size(), (2, 10));
        assert_eq!(by_bytes.try_take().len(), 2);
        assert_eq!(
            [1_000, 1].map(|bytes| by_bytes.push(event(bytes))),
            [fits, full],
            "an empty queue accepts any size"
        );
    }

    #[test]
    fn a_closed_queue_counts_the_events_whose_outcome_is_unknown() {
        let queue = Queue::new(10, 1_000);
        assert!((0..3).all(|_| queue.push(event(1)).is_ok()));
        assert_eq!(queue.try_take().len(), 3);
        queue.settle(1);
        assert!(queue.push(event(1)).is_ok());
        assert_eq!((queue.close(), queue.close(), queue.size()), (3, 0, (0, 0)));
        assert_eq!(queue.push(event(1)), Err(Refused::Closed));
    }

    #[tokio::test]
    async fn a_queue_is_empty_when_the_outcome_of_each_event_is_known() {
        let queue = Queue::new(10, 1_000);
        queue.until_empty(|| true).await;
        assert!(queue.push(event(1)).is_ok());
        queue.until_empty(|| false).await;
        let mut waiting = pin!(queue.until_empty(|| true));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        queue.try_take();
        assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it is on its way");
        queue.settle(1);
        waiting.await;
    }

    #[test]
    fn a_batch_has_a_limit_and_the_order_of_the_queue() {
        let queue = Queue::new(10_000, 1 << 30);
        assert!((0..1_200).all(|_| queue.push(event(2)).is_ok()));
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [500, 500, 200]);
        assert_eq!([200_000, 200_000, 300_000].map(|bytes| queue.push(event(bytes))), [Ok(()); 3]);
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [1, 1, 1]);
    }
}
