//! The durable broadcasts of this node that the stream has not acknowledged.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use async_nats::HeaderMap;
use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use crate::call::CallError;
use crate::config::DurableConfig;

/// A broadcast that waits.
pub(crate) struct Entry {
    pub(super) module: String,
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
    /// The bytes that count.
    pub(super) size: u64,
    /// Whether it was sent.
    pub(super) sent: Arc<AtomicBool>,
    /// Whether it was sent without an answer, so that the stream may have it.
    pub(super) is_unknown: bool,
    /// The caller, if one waits for the stream.
    pub(super) caller: Option<oneshot::Sender<Result<u64, CallError>>>,
}

impl Entry {
    /// Whether its caller waits no longer.
    pub(super) fn is_abandoned(&self) -> bool {
        self.caller.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    /// Whether it may be sent. From now on its caller does not know whether the stream has it.
    pub(super) fn begin(&self) -> bool {
        self.sent.store(true, SeqCst);
        !self.is_abandoned()
    }
}

#[derive(Default)]
struct Waiting {
    entries: VecDeque<Entry>,
    /// All that have no end yet, those that are being sent among them.
    count: u32,
    bytes: u64,
}

/// The queue, in the order in which the broadcasts were emitted.
pub(crate) struct Outbox {
    waiting: Mutex<Waiting>,
    most: u32,
    most_bytes: u64,
    wake: Notify,
}

impl Outbox {
    pub(super) fn new(config: &DurableConfig) -> Outbox {
        let (most, most_bytes) = (config.queue.broadcasts, config.queue.bytes);
        Outbox { waiting: Mutex::default(), most, most_bytes, wake: Notify::new() }
    }

    /// Appends a broadcast, if there is room. Otherwise returns the setting that allows no more.
    pub(super) fn offer(&self, entry: Entry) -> Result<(), &'static str> {
        let mut waiting = self.waiting.lock();
        if waiting.count >= self.most {
            return Err("cluster.durable.queue.broadcasts");
        }
        let bytes = waiting.bytes.saturating_add(entry.size);
        if bytes > self.most_bytes {
            return Err("cluster.durable.queue.bytes");
        }
        waiting.count += 1;
        waiting.bytes = bytes;
        waiting.entries.push_back(entry);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes the first ones, as long as they may be sent. Drops those whose caller waits no longer.
    pub(super) fn take(&self, most: usize, may: impl Fn(&str) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut waiting = self.waiting.lock();
        while taken.len() < most {
            let Some(first) = waiting.entries.pop_front() else { break };
            if first.is_abandoned() {
                waiting.count -= 1;
                waiting.bytes -= first.size;
            } else if may(&first.module) {
                taken.push(first);
            } else {
                waiting.entries.push_front(first);
                break;
            }
        }
        taken
    }

    /// Drops those whose caller waits no longer.
    pub(super) fn drop_abandoned(&self) {
        let mut guard = self.waiting.lock();
        let Waiting { entries, count, bytes } = &mut *guard;
        entries.retain(|entry| {
            let stays = !entry.is_abandoned();
            if !stays {
                *count -= 1;
                *bytes -= entry.size;
            }
            stays
        });
    }

    /// Puts taken ones back, before all others.
    pub(super) fn give_back(&self, entries: Vec<Entry>) {
        let mut waiting = self.waiting.lock();
        entries.into_iter().rev().for_each(|entry| waiting.entries.push_front(entry));
        drop(waiting);
        self.wake.notify_one();
    }

    /// Ends one that was taken.
    pub(super) fn end(&self, entry: Entry, result: Result<u64, CallError>) {
        let mut waiting = self.waiting.lock();
        waiting.count -= 1;
        waiting.bytes -= entry.size;
        drop(waiting);
        if let Some(caller) = entry.caller {
            // The caller may wait no longer.
            _ = caller.send(result);
        }
    }

    /// Resolves when there is something to send.
    pub(super) async fn filled(&self) {
        while self.waiting.lock().entries.is_empty() {
            self.wake.notified().await;
        }
    }

    /// The broadcasts and their bytes.
    pub(crate) fn len(&self) -> (u64, u64) {
        let waiting = self.waiting.lock();
        (waiting.count.into(), waiting.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(module: &str, size: u64, caller: Option<oneshot::Sender<Result<u64, CallError>>>) -> Entry {
        Entry {
            module: module.to_owned(),
            subject: String::new(),
            headers: HeaderMap::new(),
            payload: Bytes::new(),
            size,
            sent: Arc::default(),
            is_unknown: false,
            caller,
        }
    }

    fn outbox(broadcasts: u32, bytes: u64) -> Outbox {
        let mut config = DurableConfig::default();
        (config.queue.broadcasts, config.queue.bytes) = (broadcasts, bytes);
        Outbox::new(&config)
    }

    #[test]
    fn the_queue_has_room_for_a_number_and_for_bytes() {
        let outbox = outbox(2, 10);
        assert_eq!(outbox.offer(entry("m", 11, None)), Err("cluster.durable.queue.bytes"));
        assert_eq!(outbox.offer(entry("m", 10, None)), Ok(()));
        assert_eq!(outbox.offer(entry("m", 1, None)), Err("cluster.durable.queue.bytes"));
        assert_eq!(outbox.offer(entry("m", 0, None)), Ok(()));
        assert_eq!(outbox.offer(entry("m", 0, None)), Err("cluster.durable.queue.broadcasts"));
        let taken = outbox.take(1, |_| true);
        assert_eq!(outbox.offer(entry("m", 0, None)), Err("cluster.durable.queue.broadcasts"), "it is being sent");
        taken.into_iter().for_each(|entry| outbox.end(entry, Ok(1)));
        assert_eq!((outbox.len(), outbox.offer(entry("m", 10, None))), ((1, 0), Ok(())));
    }

    #[test]
    fn the_order_stays_when_broadcasts_are_put_back() {
        let outbox = outbox(10, 10);
        ["a", "b", "c", "d"].iter().for_each(|module| outbox.offer(entry(module, 0, None)).unwrap());
        outbox.give_back(outbox.take(2, |_| true));
        let taken = outbox.take(9, |module| module != "d");
        assert_eq!(taken.iter().map(|entry| entry.module.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    }

    #[test]
    fn one_whose_caller_is_gone_is_not_sent() {
        let outbox = outbox(10, 10);
        let (caller, answer) = oneshot::channel();
        outbox.offer(entry("a", 3, Some(caller))).unwrap();
        drop(answer);
        assert_eq!((outbox.take(9, |_| true).len(), outbox.len()), (0, (0, 0)));
        let (caller, answer) = oneshot::channel();
        outbox.offer(entry("a", 3, Some(caller))).unwrap();
        outbox.offer(entry("b", 4, None)).unwrap();
        drop(answer);
        outbox.drop_abandoned();
        assert_eq!(outbox.len(), (1, 4));
    }
}
