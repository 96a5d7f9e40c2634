//! The map of all topics of a namespace.
//!
//! A topic that has neither connections nor kept messages is removed. At `hub.topics`, a client of
//! a new topic also displaces topics without connections, those with the oldest last message, with
//! their histories. The shard then remembers the highest number that such a topic had dropped, and
//! new topics in the shard begin with that number. So a client always learns that it may have
//! missed messages, but it sometimes gets a `reset` that was not necessary.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::message::{HubError, Limits};
use super::ring::Ring;
use super::sync::{Mutex, RandomState};
use super::topic::{Topic, TopicState};

/// The fewest parts of the map, each with a lock of its own. A map of more than 131,072 topics has
/// more parts, so that a look at all topics of a part takes less than a millisecond.
pub const SHARDS: usize = 64;
const MAX_SHARDS: usize = 8_192;
const TOPICS_OF_SHARD: usize = 2_048;

/// To make room, it is enough to look at this number of topics. In the standard map of 100,000
/// topics that is one shard, and takes a quarter of a millisecond; a look at all takes 18.
const LOOKED_AT: usize = 1_024;

/// All topics of a namespace, and the connections that it counts.
pub struct Shards {
    shards: Box<[Shard]>,
    hasher: RandomState,
    next_id: AtomicU64,
    topics: AtomicU32,
    /// The topics without connections that made room for others.
    pub evicted: AtomicU64,
    /// Held while topics without connections make room for others.
    evicting: Mutex<()>,
    /// The shard that makes room next.
    next_evicted: AtomicUsize,
    /// `hub.topics`.
    max_topics: u32,
    /// Connections that are open or reserved.
    open: AtomicU32,
    is_stopping: AtomicBool,
}

struct Shard {
    map: Mutex<Map>,
    /// The topics with connections that are open or reserved.
    read: AtomicU32,
    /// No history of its topics has more bytes than this. It may be too large, but not too small.
    largest: AtomicU64,
}

impl Shard {
    fn new() -> Shard {
        Shard { map: Mutex::new(Map::default()), read: AtomicU32::new(0), largest: AtomicU64::new(0) }
    }
}

#[derive(Default)]
struct Map {
    topics: HashMap<Arc<str>, Arc<Topic>, RandomState>,
    /// The highest number that a topic which is no longer here has dropped. A new topic begins with
    /// it, because it may have existed before.
    dropped: u64,
}

impl Shards {
    pub fn new(max_topics: u32) -> Shards {
        let count = (max_topics as usize / TOPICS_OF_SHARD).next_power_of_two().clamp(SHARDS, MAX_SHARDS);
        Shards {
            shards: (0..count).map(|_| Shard::new()).collect(),
            hasher: RandomState::default(),
            next_id: AtomicU64::new(0),
            topics: AtomicU32::new(0),
            evicted: AtomicU64::new(0),
            evicting: Mutex::new(()),
            next_evicted: AtomicUsize::new(0),
            max_topics,
            open: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// The number of topics.
    pub fn topics(&self) -> u32 {
        self.topics.load(Relaxed)
    }

    pub fn max_topics(&self) -> u32 {
        self.max_topics
    }

    /// Connections that are open or reserved.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Rejects further connections.
    pub fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    /// The number of shards.
    pub fn count(&self) -> usize {
        self.shards.len()
    }

    /// The index of the shard of a topic.
    fn index_of(&self, name: &str) -> usize {
        let hash = self.hasher.hash_one(name);
        // The map uses other bits of the same hash.
        (hash >> 32) as usize % self.shards.len().max(1)
    }

    fn shard(&self, name: &str) -> Option<&Shard> {
        self.shards.get(self.index_of(name))
    }

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.shard(name)?.map.lock().topics.get(name).cloned()
    }

    /// Finds a topic or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Topic>> {
        self.find_or_add(name, || self.count_one())
    }

    /// Finds a topic, or adds it if `is_counted` returns whether it counts now.
    fn find_or_add(&self, name: &str, is_counted: impl FnOnce() -> bool) -> Option<Arc<Topic>> {
        let shard = self.index_of(name);
        let mut map = self.shards.get(shard)?.map.lock();
        if let Some(topic) = map.topics.get(name) {
            return Some(topic.clone());
        }
        if !is_counted() {
            return None;
        }
        let name: Arc<str> = name.into();
        let state = TopicState { ring: Ring::new(map.dropped), ..TopicState::default() };
        let id = self.next_id.fetch_add(1, Relaxed);
        let topic = Arc::new(Topic { id, name: name.clone(), shard, state: Mutex::new(state) });
        map.topics.insert(name, topic.clone());
        Some(topic)
    }

    /// Counts a topic that will be added, if there is room for it.
    fn count_one(&self) -> bool {
        let more = |count: u32| (count < self.max_topics).then(|| count + 1);
        self.topics.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// Records that a message of a topic was lost, because there was no room for the topic. Returns
    /// whether the topic still does not exist: otherwise the message belongs to it. `next` gives
    /// the message its number, under the lock that a new topic must take.
    pub fn lose(&self, name: &str, next: impl FnOnce() -> u64) -> bool {
        let Some(shard) = self.shard(name) else { return true };
        let mut map = shard.map.lock();
        let is_missing = !map.topics.contains_key(name);
        if is_missing {
            map.dropped = map.dropped.max(next());
        }
        is_missing
    }

    /// Makes room for a topic, which counts from then on. Looks at enough topics of the map, and
    /// removes those without connections that had no message for the longest time, some more than
    /// needed, so that not every new topic looks. Returns whether there is room; not if every topic
    /// has connections. The caller holds `evicting`.
    fn make_room(&self) -> bool {
        let (mut looked_at, mut idle) = (0, Vec::new());
        for _ in 0..self.count() {
            let next = self.next_evicted.fetch_add(1, Relaxed) % self.count();
            let Some(shard) = self.shards.get(next) else { continue };
            let map = shard.map.lock();
            if map.topics.len() <= shard.read.load(Relaxed) as usize {
                continue;
            }
            looked_at += map.topics.len();
            let ages = map.topics.values().filter_map(|topic| Some((topic.state.lock().idle_since()?, topic.clone())));
            idle.extend(ages);
            if looked_at >= LOOKED_AT && !idle.is_empty() {
                break;
            }
        }
        let wanted = (looked_at / 32 + 1).min(idle.len());
        if wanted < idle.len() {
            idle.select_nth_unstable_by_key(wanted, |(number, _)| *number);
        }
        let removed = idle.iter().filter(|(_, topic)| self.remove(topic, TopicState::is_idle)).take(wanted).count();
        self.evicted.fetch_add(removed as u64, Relaxed);
        // The new topic counts in place of one of them.
        let surplus = u32::try_from(removed).unwrap_or_default().saturating_sub(1);
        self.topics.fetch_sub(surplus, Relaxed);
        removed > 0
    }

    /// Removes a topic if nobody uses it.
    pub fn remove_if_unused(&self, topic: &Topic) {
        if self.remove(topic, TopicState::is_unused) {
            self.topics.fetch_sub(1, Relaxed);
        }
    }

    /// Removes a topic with its history, if a condition holds. Returns whether it did. It counts
    /// until the caller subtracts it.
    fn remove(&self, topic: &Topic, holds: impl FnOnce(&TopicState) -> bool) -> bool {
        let Some(shard) = self.shards.get(topic.shard) else { return false };
        let mut map = shard.map.lock();
        let mut state = topic.state.lock();
        if state.is_removed || !holds(&state) {
            return false;
        }
        state.is_removed = true;
        state.ring.clear();
        map.dropped = map.dropped.max(state.ring.dropped());
        drop(state);
        map.topics.remove(&topic.name);
        true
    }

    /// Returns the topics of one shard, whose histories the caller looks at. It then notes the
    /// largest one.
    pub fn topics_of(&self, index: usize) -> Vec<Arc<Topic>> {
        let Some(shard) = self.shards.get(index) else { return Vec::new() };
        // What grows from here on is noted again.
        shard.largest.store(0, Relaxed);
        shard.map.lock().topics.values().cloned().collect()
    }

    /// Notes that a history of a shard has this number of bytes.
    pub fn note_history(&self, index: usize, bytes: u64) {
        if let Some(shard) = self.shards.get(index)
            && shard.largest.load(Relaxed) < bytes
        {
            shard.largest.fetch_max(bytes, Relaxed);
        }
    }

    /// The shards, with a bound of the bytes of their largest history.
    pub fn largest(&self) -> impl Iterator<Item = (usize, u64)> {
        self.shards.iter().map(|shard| shard.largest.load(Relaxed)).enumerate()
    }

    /// Counts a connection, or rejects it.
    pub fn reserve(self: &Arc<Self>, name: &str, limits: Limits) -> Result<Place, HubError> {
        if self.is_stopping.load(Relaxed) {
            return Err(HubError::Stopping);
        }
        let more = |count: u32| (count < limits.max).then(|| count + 1);
        self.open.fetch_update(Relaxed, Relaxed, more).map_err(|_| HubError::Full { max: limits.max })?;
        let reserved = self.reserve_in_topic(name, limits.max_per_topic);
        if reserved.is_err() {
            self.open.fetch_sub(1, Relaxed);
        }
        reserved
    }

    fn reserve_in_topic(self: &Arc<Self>, name: &str, max: u32) -> Result<Place, HubError> {
        loop {
            let topic = self.get_or_add(name).or_else(|| self.add_with_room(name));
            let topic = topic.ok_or(HubError::TooManyTopics { max: self.max_topics })?;
            let mut state = topic.state.lock();
            if state.is_removed {
                continue;
            }
            if state.open >= max {
                let is_unused = state.is_unused();
                drop(state);
                if is_unused {
                    self.remove_if_unused(&topic);
                }
                return Err(HubError::TopicFull { max });
            }
            state.open += 1;
            if state.open == 1 {
                self.count_read(&topic, |read| read.fetch_add(1, Relaxed));
            }
            drop(state);
            return Ok(Place { shards: self.clone(), topic });
        }
    }

    fn count_read(&self, topic: &Topic, change: impl FnOnce(&AtomicU32) -> u32) {
        if let Some(shard) = self.shards.get(topic.shard) {
            change(&shard.read);
        }
    }

    /// Adds a topic in place of some without connections.
    fn add_with_room(&self, name: &str) -> Option<Arc<Topic>> {
        let _evicting = self.evicting.lock();
        if let Some(topic) = self.get_or_add(name) {
            return Some(topic);
        }
        let mut is_counted = self.make_room();
        let topic = self.find_or_add(name, || std::mem::take(&mut is_counted));
        if is_counted {
            // Another client has added it meanwhile.
            self.topics.fetch_sub(1, Relaxed);
        }
        topic
    }
}

/// A connection that counts until this is dropped.
pub struct Place {
    shards: Arc<Shards>,
    pub topic: Arc<Topic>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shards.open.fetch_sub(1, Relaxed);
        let mut state = self.topic.state.lock();
        state.open = state.open.saturating_sub(1);
        if state.open == 0 {
            self.shards.count_read(&self.topic, |read| read.fetch_sub(1, Relaxed));
        }
        let is_unused = state.is_unused();
        drop(state);
        if is_unused {
            self.shards.remove_if_unused(&self.topic);
        }
    }
}
