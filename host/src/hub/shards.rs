//! The map of all topics of a namespace.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};

use super::message::{HubError, Limits};
use super::ring::Ring;
use super::sync::{Mutex, RandomState};
use super::topic::{Topic, TopicState};

/// The number of parts of the map, each with a lock of its own.
pub const SHARDS: usize = 64;

/// All topics of a namespace, and the connections that it counts.
pub struct Shards {
    shards: Box<[Mutex<Shard>]>,
    hasher: RandomState,
    next_id: AtomicU64,
    topics: AtomicU32,
    /// `hub.topics`.
    max_topics: u32,
    /// Connections that are open or reserved.
    open: AtomicU32,
    is_stopping: AtomicBool,
}

#[derive(Default)]
struct Shard {
    topics: HashMap<Arc<str>, Arc<Topic>, RandomState>,
    /// The highest number that a topic which is no longer here has dropped. A new topic begins with
    /// it, because it may have existed before.
    dropped: u64,
}

impl Shards {
    pub fn new(max_topics: u32) -> Shards {
        Shards {
            shards: (0..SHARDS).map(|_| Mutex::new(Shard::default())).collect(),
            hasher: RandomState::default(),
            next_id: AtomicU64::new(0),
            topics: AtomicU32::new(0),
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

    fn shard(&self, name: &str) -> Option<&Mutex<Shard>> {
        let hash = self.hasher.hash_one(name);
        // The map uses other bits of the same hash.
        self.shards.get((hash >> 32) as usize % SHARDS)
    }

    pub fn get(&self, name: &str) -> Option<Arc<Topic>> {
        self.shard(name)?.lock().topics.get(name).cloned()
    }

    /// Finds a topic or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Topic>> {
        let mut shard = self.shard(name)?.lock();
        if let Some(topic) = shard.topics.get(name) {
            return Some(topic.clone());
        }
        let more = |count: u32| (count < self.max_topics).then(|| count + 1);
        self.topics.fetch_update(Relaxed, Relaxed, more).ok()?;
        let name: Arc<str> = name.into();
        let state = TopicState { ring: Ring::new(shard.dropped), ..TopicState::default() };
        let id = self.next_id.fetch_add(1, Relaxed);
        let topic = Arc::new(Topic { id, name: name.clone(), state: Mutex::new(state) });
        shard.topics.insert(name, topic.clone());
        Some(topic)
    }

    /// Records that a message of a topic that is not in the map was lost.
    pub fn lose(&self, name: &str, number: u64) {
        if let Some(shard) = self.shard(name) {
            let mut shard = shard.lock();
            shard.dropped = shard.dropped.max(number);
        }
    }

    /// Removes a topic if nobody uses it.
    pub fn remove_if_unused(&self, topic: &Topic) {
        let Some(shard) = self.shard(&topic.name) else { return };
        let mut shard = shard.lock();
        let mut state = topic.state.lock();
        if state.is_unused() && !state.is_removed {
            state.is_removed = true;
            shard.dropped = shard.dropped.max(state.ring.dropped());
            drop(state);
            shard.topics.remove(&topic.name);
            self.topics.fetch_sub(1, Relaxed);
        }
    }

    /// Returns the topics of one shard.
    pub fn topics_of(&self, index: usize) -> Vec<Arc<Topic>> {
        self.shards.get(index).map(|shard| shard.lock().topics.values().cloned().collect()).unwrap_or_default()
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
            let topic = self.get_or_add(name).ok_or(HubError::TooManyTopics { max: self.max_topics })?;
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
            drop(state);
            return Ok(Place { shards: self.clone(), topic });
        }
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
        let is_unused = state.is_unused();
        drop(state);
        if is_unused {
            self.shards.remove_if_unused(&self.topic);
        }
    }
}
