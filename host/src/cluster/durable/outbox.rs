//! The durable broadcasts of this node that the stream has not acknowledged.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound::{Excluded, Included, Unbounded};
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
    /// Those of each module, in the order in which they were emitted. No queue is empty.
    modules: BTreeMap<String, VecDeque<Entry>>,
    /// The module whose turn was last.
    turn: String,
    /// All that have no end yet, those that are being sent among them.
    count: u32,
    bytes: u64,
}

/// The queues.
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
        waiting.modules.entry(entry.module.clone()).or_default().push_back(entry);
        drop(waiting);
        self.wake.notify_one();
        Ok(())
    }

    /// Takes the first ones of the modules that may send, which take turns. Drops those whose
    /// caller waits no longer.
    ///
    /// One that nobody waits for is the only one of its module, because it may have to be sent
    /// again, and then must not be behind later ones. The callers of the others know which of them
    /// the stream has.
    pub(super) fn take(&self, most: usize, may: impl Fn(&str) -> bool) -> Vec<Entry> {
        let mut taken = Vec::new();
        let mut guard = self.waiting.lock();
        let Waiting { modules, turn, count, bytes } = &mut *guard;
        let after = modules.range::<str, _>((Excluded(turn.as_str()), Unbounded));
        let names: Vec<String> = after
            .chain(modules.range::<str, _>((Unbounded, Included(turn.as_str()))))
            .map(|(name, _)| name.clone())
            .collect();
        for name in names.into_iter().filter(|name| may(name)) {
            let Some(queue) = modules.get_mut(&name) else { continue };
            let before = taken.len();
            while taken.len() < most {
                let Some(first) = queue.pop_front() else { break };
                if first.is_abandoned() {
                    *count -= 1;
                    *bytes -= first.size;
                    continue;
                }
                let is_alone = first.caller.is_none();
                if is_alone && taken.len() > before {
                    queue.push_front(first);
                    break;
                }
                taken.push(first);
                if is_alone {
                    break;
                }
            }
            if queue.is_empty() {
                modules.remove(&name);
            }
            if taken.len() > before {
                *turn = name;
            }
            if taken.len() == most {
                break;
            }
        }
        taken
    }

    /// Drops those whose caller waits no longer.
    pub(super) fn drop_abandoned(&self) {
        let mut guard = self.waiting.lock();
        let Waiting { modules, count, bytes, .. } = &mut *guard;
        for queue in modules.values_mut() {
            queue.retain(|entry| {
                let stays = !entry.is_abandoned();
                if !stays {
                    *count -= 1;
                    *bytes -= entry.size;
                }
                stays
            });
        }
        modules.retain(|_, queue| !queue.is_empty());
    }

    /// Puts taken ones back, before all others.
    pub(super) fn give_back(&self, entries: Vec<Entry>) {
        let mut waiting = self.waiting.lock();
        for entry in entries.into_iter().rev() {
            waiting.modules.entry(entry.module.clone()).or_default().push_front(entry);
        }
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
        while self.waiting.lock().modules.is_empty() {
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

    /// The modules and sizes of the entries that are taken.
    fn taken(outbox: &Outbox, most: usize) -> Vec<Entry> {
        outbox.take(most, |module| module != "closed")
    }

    fn names(entries: &[Entry]) -> Vec<(&str, u64)> {
        entries.iter().map(|entry| (entry.module.as_str(), entry.size)).collect()
    }

    #[test]
    fn one_that_nobody_waits_for_is_the_only_one_of_its_module_until_it_has_ended() {
        let outbox = outbox(20, 100);
        for (module, size) in [("a", 1), ("closed", 2), ("b", 3), ("a", 4), ("b", 5)] {
            outbox.offer(entry(module, size, None)).unwrap();
        }
        let first = taken(&outbox, 9);
        assert_eq!(names(&first), [("a", 1), ("b", 3)]);
        // Refused for a moment.
        outbox.give_back(first);
        let first = taken(&outbox, 1);
        assert_eq!(names(&first), [("a", 1)], "it is still the first one");
        first.into_iter().for_each(|entry| outbox.end(entry, Ok(1)));
        let second = taken(&outbox, 9);
        assert_eq!(names(&second), [("b", 3), ("a", 4)], "modules take turns");
        second.into_iter().for_each(|entry| outbox.end(entry, Ok(1)));
        assert_eq!(names(&taken(&outbox, 9)), [("b", 5)]);
        assert_eq!(outbox.len(), (2, 7), "the closed one, and the one that is sent");
    }

    #[test]
    fn those_with_a_caller_are_sent_together_and_one_without_follows_alone() {
        let outbox = outbox(20, 100);
        let mut answers = Vec::new();
        let mut waits = |size| {
            let (caller, answer) = oneshot::channel();
            answers.push(answer);
            outbox.offer(entry("a", size, Some(caller))).unwrap();
        };
        waits(1);
        waits(2);
        outbox.offer(entry("a", 3, None)).unwrap();
        waits(4);
        for expected in [vec![("a", 1), ("a", 2)], vec![("a", 3)], vec![("a", 4)]] {
            assert_eq!(names(&taken(&outbox, 9)), expected);
        }
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
