//! The map of all channels of a node.
//!
//! Its locks are the last ones that are taken, so that a channel can look up another one. A channel
//! is therefore removed in two steps: under its own lock it is marked, then it leaves the map. A
//! user who finds a marked channel in between removes it, and tries again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::super::capacity::Sharded;
use super::super::ring::Ring;
use super::super::sync::{Mutex, RandomState};
use super::channel::{Channel, State};
use crate::call::{ChannelPosition, bounds};
use crate::hub::epoch::epoch;

pub struct Map {
    /// A channel is used while it has members or listeners.
    pub shards: Sharded<HashMap<Arc<str>, Arc<Channel>, RandomState>>,
    /// The epoch of the first channel. Each further one has the next number.
    epoch: u64,
    next_id: AtomicU64,
    /// Whether there may be other nodes.
    pub is_shared: AtomicBool,
    /// The last positions of channels that other nodes may still follow. This lock is taken last.
    ended: Mutex<HashMap<Arc<str>, ChannelPosition>>,
}

/// The most channels whose last positions are remembered.
const MOST_ENDED: usize = 10_000;

impl Map {
    pub fn new(epoch: u64, max: u32) -> Map {
        Map {
            shards: Sharded::new(max),
            epoch,
            next_id: AtomicU64::new(0),
            is_shared: AtomicBool::new(false),
            ended: Mutex::new(HashMap::new()),
        }
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
        // A channel that has ended continues.
        let last = self.ended.lock().remove(&name);
        let ChannelPosition { epoch, offset } =
            last.unwrap_or(ChannelPosition { epoch: self.new_epoch(id), offset: 0 });
        let state =
            State { epoch, last: offset, ring: Ring::new(offset), is_shared: last.is_some(), ..State::default() };
        let channel = Channel { id, name: name.clone(), shard, state: Mutex::new(state) };
        let channel = Arc::new(channel);
        channels.insert(name, channel.clone());
        Some(channel)
    }

    /// Finds a channel or adds it, in place of some without members if there are too many. `None`
    /// if all have members.
    pub fn get_or_make_room(&self, name: &str) -> Option<Arc<Channel>> {
        self.shards.capacity.get_or_make_room(|| self.get_or_add(name), || self.make_room())
    }

    /// With other nodes, later channels have higher epochs on all of them, as far as their clocks
    /// agree.
    fn new_epoch(&self, id: u64) -> u64 {
        if self.is_shared.load(Relaxed) { epoch() } else { self.epoch.wrapping_add(id) }
    }

    /// The last position of a channel that has ended.
    pub fn ended(&self, name: &str) -> Option<ChannelPosition> {
        self.ended.lock().get(name).copied()
    }

    /// The position from which a channel that does not exist begins, also later. `None` if it
    /// exists, or if there are no other nodes, which may ask for it.
    pub fn begins_at(&self, name: &str) -> Option<ChannelPosition> {
        if !self.is_shared.load(Relaxed) {
            return None;
        }
        let channels = self.shards.of(name)?.map.lock();
        if channels.contains_key(name) {
            return None;
        }
        let last = self.ended(name);
        Some(last.unwrap_or_else(|| {
            let first = ChannelPosition { epoch: epoch(), offset: 0 };
            self.remember(&name.into(), first);
            first
        }))
    }

    /// The channels that have ended, with their last positions.
    pub fn all_ended(&self) -> Vec<(Arc<str>, ChannelPosition)> {
        self.ended.lock().iter().map(|(name, last)| (name.clone(), *last)).collect()
    }

    /// Forgets a channel that has ended. Returns whether there was one.
    pub fn forget_ended(&self, name: &str) -> bool {
        self.ended.lock().remove(name).is_some()
    }

    fn remember(&self, name: &Arc<str>, last: ChannelPosition) {
        let mut ended = self.ended.lock();
        if ended.len() >= MOST_ENDED {
            bounds::CHANNEL_ENDED.count();
            let any = ended.keys().next().cloned();
            any.map(|any| ended.remove(&any));
        }
        ended.insert(name.clone(), last);
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
        if state.is_shared && state.replica.is_none() {
            self.remember(&channel.name, state.position());
        }
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
