//! The map of all channels of a node.
//!
//! Its locks are the last ones that are taken, so that a channel can look up another one. A channel
//! is therefore removed in two steps: under its own lock it is marked, then it leaves the map. A
//! user who finds a marked channel in between removes it, and tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::super::capacity::{Capacity, LargestHistory};
use super::super::sync::{Mutex, RandomState};
use super::channel::{Channel, State};

pub struct Map {
    shards: Box<[Shard]>,
    pub capacity: Capacity,
    /// The epoch of the first channel. Each further one has the next number.
    epoch: u64,
    next_id: AtomicU64,
}

struct Shard {
    channels: Mutex<HashMap<Arc<str>, Arc<Channel>, RandomState>>,
    /// The channels with members or listeners.
    used: AtomicU32,
    largest: LargestHistory,
}

impl Shard {
    fn new() -> Shard {
        let (used, largest) = (AtomicU32::new(0), LargestHistory::default());
        Shard { channels: Mutex::new(HashMap::default()), used, largest }
    }
}

impl Map {
    pub fn new(epoch: u64, max: u32) -> Map {
        let capacity = Capacity::new(max);
        let shards = (0..capacity.shards()).map(|_| Shard::new()).collect();
        Map { shards, capacity, epoch, next_id: AtomicU64::new(0) }
    }

    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.shards.get(self.capacity.shard_of(name))?.channels.lock().get(name).cloned()
    }

    /// Finds a channel or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Channel>> {
        let shard = self.capacity.shard_of(name);
        let mut channels = self.shards.get(shard)?.channels.lock();
        if let Some(channel) = channels.get(name) {
            return Some(channel.clone());
        }
        if !self.capacity.count_one() {
            return None;
        }
        let (id, name) = (self.next_id.fetch_add(1, Relaxed), Arc::<str>::from(name));
        let epoch = self.epoch.wrapping_add(id);
        let channel = Channel { id, name: name.clone(), epoch, shard, state: Mutex::new(State::default()) };
        let channel = Arc::new(channel);
        channels.insert(name, channel.clone());
        Some(channel)
    }

    /// Finds a channel or adds it, in place of some without members if there are too many. `None`
    /// if all have members.
    pub fn get_or_make_room(&self, name: &str) -> Option<Arc<Channel>> {
        self.capacity.get_or_make_room(|| self.get_or_add(name), || self.make_room())
    }

    fn make_room(&self) -> bool {
        let look = |index: usize, unused: &mut Vec<(u64, Arc<Channel>)>| {
            let Some(shard) = self.shards.get(index) else { return 0 };
            let channels: Vec<Arc<Channel>> = {
                let channels = shard.channels.lock();
                if channels.len() <= shard.used.load(Relaxed) as usize {
                    return 0;
                }
                channels.values().cloned().collect()
            };
            let count = channels.len();
            for channel in channels {
                let state = channel.state.lock();
                let last_at = (!state.is_removed && state.is_idle()).then_some(state.last_at);
                drop(state);
                unused.extend(last_at.map(|at| (at, channel)));
            }
            count
        };
        self.capacity.make_room(look, |channel| self.remove(channel, State::is_idle))
    }

    /// Counts a channel that members or listeners begin or cease to use. The caller holds its lock.
    pub fn note_use(&self, channel: &Channel, was_idle: bool, is_idle: bool) {
        let Some(shard) = self.shards.get(channel.shard) else { return };
        match (was_idle, is_idle) {
            (true, false) => _ = shard.used.fetch_add(1, Relaxed),
            (false, true) => _ = shard.used.fetch_sub(1, Relaxed),
            _ => {}
        }
    }

    /// Removes a channel with its history, if a condition holds. Returns whether it did.
    pub fn remove(&self, channel: &Arc<Channel>, holds: impl FnOnce(&State) -> bool) -> bool {
        let mut state = channel.state.lock();
        if state.is_removed || !holds(&state) {
            return false;
        }
        state.is_removed = true;
        state.ring.clear();
        drop(state);
        self.forget(channel);
        true
    }

    /// Removes a marked channel from the map, if nobody has.
    pub fn forget(&self, channel: &Arc<Channel>) {
        let Some(shard) = self.shards.get(channel.shard) else { return };
        let mut channels = shard.channels.lock();
        if channels.get(&channel.name).is_some_and(|found| Arc::ptr_eq(found, channel)) {
            channels.remove(&channel.name);
            self.capacity.uncount_one();
        }
    }

    /// Returns the channels of one shard.
    pub fn all_of(&self, index: usize) -> Vec<Arc<Channel>> {
        let channels = self.shards.get(index).map(|shard| shard.channels.lock().values().cloned().collect());
        channels.unwrap_or_default()
    }

    /// Returns the channels of one shard, whose histories the caller looks at. It then notes the
    /// largest one.
    pub fn to_note(&self, index: usize) -> Vec<Arc<Channel>> {
        if let Some(shard) = self.shards.get(index) {
            shard.largest.reset();
        }
        self.all_of(index)
    }

    /// Notes that a history of a shard has this number of bytes.
    pub fn note_history(&self, index: usize, bytes: u64) {
        if let Some(shard) = self.shards.get(index) {
            shard.largest.note(bytes);
        }
    }

    /// The shards, with a bound of the bytes of their largest history.
    pub fn largest(&self) -> impl Iterator<Item = (usize, u64)> {
        self.shards.iter().map(|shard| shard.largest.bytes()).enumerate()
    }
}
