//! The map of all channels of a node.
//!
//! Its locks are the last ones that are taken, so that a channel can look up another one. A channel
//! is therefore removed in two steps: under its own lock it is marked, then it leaves the map. A
//! user who finds a marked channel in between removes it, and tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::super::capacity::Sharded;
use super::super::sync::{Mutex, RandomState};
use super::channel::{Channel, State};

pub struct Map {
    /// A channel is used while it has members or listeners.
    pub shards: Sharded<HashMap<Arc<str>, Arc<Channel>, RandomState>>,
    /// The epoch of the first channel. Each further one has the next number.
    epoch: u64,
    next_id: AtomicU64,
}

impl Map {
    pub fn new(epoch: u64, max: u32) -> Map {
        Map { shards: Sharded::new(max), epoch, next_id: AtomicU64::new(0) }
    }

    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.shards.of(name)?.map.lock().get(name).cloned()
    }

    /// Finds a channel or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Channel>> {
        let shard = self.shards.capacity.shard_of(name);
        let mut channels = self.shards.at(shard)?.map.lock();
        if let Some(channel) = channels.get(name) {
            return Some(channel.clone());
        }
        if !self.shards.capacity.count_one() {
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
        self.shards.capacity.get_or_make_room(|| self.get_or_add(name), || self.make_room())
    }

    fn make_room(&self) -> bool {
        let look = |index: usize, unused: &mut Vec<(u64, Arc<Channel>)>| {
            let Some(shard) = self.shards.at(index) else { return 0 };
            let channels: Vec<Arc<Channel>> = {
                let channels = shard.map.lock();
                if channels.len() <= shard.used() {
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
        self.shards.capacity.make_room(look, |channel| self.remove(channel, State::is_idle))
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
        let Some(shard) = self.shards.at(channel.shard) else { return };
        let mut channels = shard.map.lock();
        if channels.get(&channel.name).is_some_and(|found| Arc::ptr_eq(found, channel)) {
            channels.remove(&channel.name);
            self.shards.capacity.uncount_one();
        }
    }

    /// Returns the channels of one shard.
    pub fn all_of(&self, index: usize) -> Vec<Arc<Channel>> {
        self.shards.at(index).map(|shard| shard.map.lock().values().cloned().collect()).unwrap_or_default()
    }

    /// Returns the channels of one shard, whose histories the caller looks at. It then notes the
    /// largest one.
    pub fn to_note(&self, index: usize) -> Vec<Arc<Channel>> {
        self.shards.reset_largest(index);
        self.all_of(index)
    }
}
