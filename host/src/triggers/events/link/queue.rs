//! The events that wait for the service.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::{Amount, Event, Shares};

/// The most events of one request, and the most bytes of their texts. The service must accept
/// them: its smallest `maxBody` may be less, then it rejects the request and gets smaller ones.
const BATCH: (usize, u64) = (500, 256 * 1024);

/// A bounded queue, of which each module has its share. An empty queue accepts an event of any
/// size.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    more: Notify,
    settled: Notify,
    most: Amount,
}

#[derive(Default)]
struct Waiting {
    /// With the module that has emitted it.
    events: VecDeque<(Arc<str>, Event)>,
    shares: Shares<Arc<str>>,
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
        let most = Amount { entries: max_events.into(), bytes: max_bytes };
        Queue { waiting: Mutex::default(), more: Notify::new(), settled: Notify::new(), most }
    }

    /// Adds an event of a module.
    pub(super) fn push(&self, module: &Arc<str>, event: Event) -> Result<(), Refused> {
        let mut waiting = self.waiting.lock();
        if waiting.is_closed {
            return Err(Refused::Closed);
        }
        if !waiting.shares.try_add(module, event.size(), &self.most) {
            return Err(Refused::Full);
        }
        waiting.events.push_back((module.clone(), event));
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
        let Waiting { events, shares, taken, .. } = &mut *waiting;
        let (mut batch, mut size) = (Vec::new(), 0);
        while batch.len() < BATCH.0
            && let Some((_, next)) = events.front()
            && (batch.is_empty() || size + next.size() <= BATCH.1)
            && let Some((module, next)) = events.pop_front()
        {
            size += next.size();
            shares.remove(&module, next.size());
            batch.push(next);
        }
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
        (waiting.shares, waiting.is_closed) = (Shares::default(), true);
        events.len() + taken
    }

    /// The number of the events that wait, and their bytes.
    pub(super) fn size(&self) -> (usize, u64) {
        let waiting = self.waiting.lock();
        (waiting.events.len(), waiting.shares.all().bytes)
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
        assert_eq!([0; 3].map(|_| by_count.push(&"m".into(), event(1))), [fits, fits, full]);
        let by_bytes = Queue::new(9, 10);
        assert_eq!([4, 6, 1].map(|bytes| by_bytes.push(&"m".into(), event(bytes))), [fits, fits, full]);
        assert_eq!(by_bytes.size(), (2, 10));
        assert_eq!(by_bytes.try_take().len(), 2);
        assert_eq!(
            [1_000, 1].map(|bytes| by_bytes.push(&"m".into(), event(bytes))),
            [fits, full],
            "an empty queue accepts any size"
        );
    }

    #[test]
    fn a_module_leaves_room_for_the_events_of_others() {
        let queue = Queue::new(100, 1_000);
        let push = |module: &str| (0..200).take_while(|_| queue.push(&module.into(), event(1)).is_ok()).count();
        assert_eq!(["m", "n", "m"].map(push), [80, 16, 0]);
        assert_eq!((queue.try_take().len(), push("m"), queue.size()), (96, 80, (80, 80)));
    }

    #[test]
    fn a_closed_queue_counts_the_events_whose_outcome_is_unknown() {
        let queue = Queue::new(10, 1_000);
        assert!((0..3).all(|_| queue.push(&"m".into(), event(1)).is_ok()));
        assert_eq!(queue.try_take().len(), 3);
        queue.settle(1);
        assert!(queue.push(&"m".into(), event(1)).is_ok());
        assert_eq!((queue.close(), queue.close(), queue.size()), (3, 0, (0, 0)));
        assert_eq!(queue.push(&"m".into(), event(1)), Err(Refused::Closed));
    }

    #[tokio::test]
    async fn a_queue_is_empty_when_the_outcome_of_each_event_is_known() {
        let queue = Queue::new(10, 1_000);
        queue.until_empty(|| true).await;
        assert!(queue.push(&"m".into(), event(1)).is_ok());
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
        assert!((0..1_200).all(|_| queue.push(&"m".into(), event(2)).is_ok()));
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [500, 500, 200]);
        assert_eq!([200_000, 200_000, 300_000].map(|bytes| queue.push(&"m".into(), event(bytes))), [Ok(()); 3]);
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [1, 1, 1]);
    }
}
