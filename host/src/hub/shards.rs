//! The map of all topics of a namespace.
//!
//! A topic that has neither connections nor kept messages is removed. At `hub.topics`, a client of
//! a new topic also displaces topics without connections, those with the oldest last message, with
//! their histories. The shard then remembers the highest number that such a topic had dropped, and
//! new topics in the shard begin with that number. So a client always learns that it may have
//! missed messages, but it sometimes gets a `reset` that was not necessary.

use std::any::Any;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::capacity::Sharded;
use super::message::{HubError, Limits};
use super::ring::Ring;
use super::sync::{Mutex, RandomState};
use super::topic::{Topic, TopicState};

/// All topics of a namespace, and the connections that it counts.
pub struct Shards {
    /// A topic is used while it has connections that are open or reserved.
    pub parts: Sharded<Map>,
    next_id: AtomicU64,
    /// Connections that are open or reserved.
    open: AtomicU32,
    is_stopping: AtomicBool,
}

#[derive(Default)]
pub struct Map {
    topics: HashMap<Arc<str>, Arc<Topic>, RandomState>,
    /// The highest number that a topic which is no longer here has dropped. A new topic begins with
    /// it, because it may have existed before.
    dropped: u64,
}

impl Shards {
    pub fn new(max_topics: u32) -> Shards {
        Shards {
            parts: Sharded::new(max_topics),
            next_id: AtomicU64::new(0),
            open: AtomicU32::new(0),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Connections that are open or reserved.
    pub fn open(&self) -> u32 {
        self.open.load(Relaxed)
    }

    /// Rejects further connections.
    pub fn stop(&self) {
        self.is_stopping.store(true, Relaxed);
    }

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.parts.of(name)?.map.lock().topics.get(name).cloned()
    }

    /// Finds a topic or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Topic>> {
        let shard = self.parts.capacity.shard_of(name);
        let mut map = self.parts.at(shard)?.map.lock();
        if let Some(topic) = map.topics.get(name) {
            return Some(topic.clone());
        }
        if !self.parts.capacity.count_one() {
            return None;
        }
        let name: Arc<str> = name.into();
        let state = TopicState { ring: Ring::new(map.dropped), ..TopicState::default() };
        let id = self.next_id.fetch_add(1, Relaxed);
        let topic = Arc::new(Topic { id, name: name.clone(), shard, state: Mutex::new(state) });
        map.topics.insert(name, topic.clone());
        Some(topic)
    }

    /// Records that a message of a topic was lost, because there was no room for the topic. Returns
    /// whether the topic still does not exist: otherwise the message belongs to it. `next` gives
    /// the message its number, under the lock that a new topic must take.
    pub fn lose(&self, name: &str, next: impl FnOnce() -> u64) -> bool {
        let Some(shard) = self.parts.of(name) else { return true };
        let mut map = shard.map.lock();
        let is_missing = !map.topics.contains_key(name);
        if is_missing {
            map.dropped = map.dropped.max(next());
        }
        is_missing
    }

    /// Finds a topic or adds it, in place of some without connections if there are too many. `None`
    /// if every topic has connections.
    fn get_or_make_room(&self, name: &str) -> Option<Arc<Topic>> {
        self.parts.capacity.get_or_make_room(|| self.get_or_add(name), || self.make_room())
    }

    fn make_room(&self) -> bool {
        let look = |shard: usize, unused: &mut Vec<(u64, Arc<Topic>)>| {
            let Some(shard) = self.parts.at(shard) else { return 0 };
            let map = shard.map.lock();
            if map.topics.len() <= shard.used() {
                return 0;
            }
            let of = |topic: &Arc<Topic>| Some((topic.state.lock().idle_since()?, topic.clone()));
            unused.extend(map.topics.values().filter_map(of));
            map.topics.len()
        };
        self.parts.capacity.make_room(look, |topic| self.remove(topic, TopicState::is_idle))
    }

    /// Removes a topic if nobody uses it.
    pub fn remove_if_unused(&self, topic: &Topic) {
        self.remove(topic, TopicState::is_unused);
    }

    /// Removes a topic with its history, if a condition holds. Returns whether it did.
    fn remove(&self, topic: &Topic, holds: impl FnOnce(&TopicState) -> bool) -> bool {
        let Some(shard) = self.parts.at(topic.shard) else { return false };
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
        self.parts.capacity.uncount_one();
        true
    }

    /// Returns the topics of one shard, whose histories the caller looks at. It then notes the
    /// largest one.
    pub fn topics_of(&self, index: usize) -> Vec<Arc<Topic>> {
        let Some(shard) = self.parts.at(index) else { return Vec::new() };
        self.parts.reset_largest(index);
        shard.map.lock().topics.values().cloned().collect()
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
            let topic = self.get_or_make_room(name);
            let topic = topic.ok_or(HubError::TooManyTopics { max: self.parts.capacity.max() })?;
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
            self.parts.note_use(topic.shard, state.open > 1, true);
            drop(state);
            return Ok(Place { shards: self.clone(), topic, since: 0, held: None });
        }
    }
}

/// A connection that counts until this is dropped.
pub struct Place {
    shards: Arc<Shards>,
    pub topic: Arc<Topic>,
    /// A client that resumes before this number may have missed messages.
    pub since: u64,
    /// Dropped when the connection ends.
    held: Option<Box<dyn Any + Send>>,
}

impl Place {
    /// Keeps something until the connection ends. A client that resumes before `since` may have
    /// missed messages.
    pub fn hold(&mut self, held: Box<dyn Any + Send>, since: u64) {
        (self.held, self.since) = (Some(held), since);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shards.open.fetch_sub(1, Relaxed);
        let mut state = self.topic.state.lock();
        state.open = state.open.saturating_sub(1);
        self.shards.parts.note_use(self.topic.shard, true, state.open > 0);
        let is_unused = state.is_unused();
        drop(state);
        if is_unused {
            self.shards.remove_if_unused(&self.topic);
        }
    }
}
