//! The events that wait for the service.

use std::collections::VecDeque;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::call::Event;

/// The most events of one request, and the most bytes of their texts. The service must accept
/// them: its smallest `maxBody` may be less, then it rejects the request and gets smaller ones.
const BATCH: (usize, u64) = (500, 256 * 1024);

/// A bounded queue. An empty queue accepts an event of any size.
pub(super) struct Queue {
    waiting: Mutex<(VecDeque<Event>, u64)>,
    more: Notify,
    max_events: usize,
    max_bytes: u64,
}

impl Queue {
    pub(super) fn new(max_events: u32, max_bytes: u64) -> Queue {
        let max_events = usize::try_from(max_events).unwrap_or(usize::MAX);
        Queue { waiting: Mutex::default(), more: Notify::new(), max_events, max_bytes }
    }

    /// Adds an event. Returns whether it fits.
    pub(super) fn push(&self, event: Event) -> bool {
        let mut waiting = self.waiting.lock();
        let (events, bytes) = &mut *waiting;
        let size = event.size();
        if !events.is_empty() && (events.len() >= self.max_events || bytes.saturating_add(size) > self.max_bytes) {
            return false;
        }
        events.push_back(event);
        *bytes = bytes.saturating_add(size);
        drop(waiting);
        self.more.notify_one();
        true
    }

    /// Waits for events, and takes the oldest.
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
        let (events, bytes) = &mut *waiting;
        let (mut batch, mut taken) = (Vec::new(), 0);
        while batch.len() < BATCH.0
            && let Some(next) = events.front()
            && (batch.is_empty() || taken + next.size() <= BATCH.1)
            && let Some(next) = events.pop_front()
        {
            taken += next.size();
            batch.push(next);
        }
        *bytes = bytes.saturating_sub(taken);
        batch
    }

    pub(super) fn size(&self) -> (usize, u64) {
        let waiting = self.waiting.lock();
        (waiting.0.len(), waiting.1)
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
        let by_count = Queue::new(2, 1_000);
        assert!(by_count.push(event(1)) && by_count.push(event(1)) && !by_count.push(event(1)));
        let by_bytes = Queue::new(9, 10);
        assert!(by_bytes.push(event(4)) && by_bytes.push(event(6)) && !by_bytes.push(event(1)));
        assert_eq!(by_bytes.size(), (2, 10));
        assert_eq!(by_bytes.try_take().len(), 2);
        assert!(by_bytes.push(event(1_000)) && !by_bytes.push(event(1)), "an empty queue accepts any size");
    }

    #[test]
    fn a_batch_has_a_limit_and_the_order_of_the_queue() {
        let queue = Queue::new(10_000, 1 << 30);
        (0..1_200).for_each(|_| assert!(queue.push(event(2))));
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [500, 500, 200]);
        assert!(queue.push(event(200_000)) && queue.push(event(200_000)) && queue.push(event(300_000)));
        assert_eq!([queue.try_take().len(), queue.try_take().len(), queue.try_take().len()], [1, 1, 1]);
    }
}
