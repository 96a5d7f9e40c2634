//! The map of all channels of a node.
//!
//! Its locks are the last ones that are taken, so that a channel can look up another one. A channel
//! is therefore removed in two steps: under its own lock it is marked, then it leaves the map. A
//! user who finds a marked channel in between removes it, and tries again.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::super::shards::SHARDS;
use super::super::sync::{Mutex, RandomState};
use super::channel::{Channel, State};

/// To make room, it is enough to look at this number of channels.
const LOOKED_AT: usize = 1_024;

/// A part has about this number of channels when the map is full.
const CHANNELS_OF_SHARD: usize = 2_048;
const MAX_SHARDS: usize = 8_192;

pub struct Map {
    shards: Box<[Shard]>,
    hasher: RandomState,
    /// The epoch of the first channel. Each further one has the next number.
    epoch: u64,
    next_id: AtomicU64,
    count: AtomicU32,
    /// `hub.topics`.
    max: u32,
    /// The channels without members that made room for others.
    pub evicted: AtomicU64,
    /// Held while channels without members make room for others.
    making_room: Mutex<()>,
    /// The shard that makes room next.
    next_evicted: AtomicUsize,
}

struct Shard {
    channels: Mutex<HashMap<Arc<str>, Arc<Channel>, RandomState>>,
    /// No history of its channels has more bytes than this. It may be too large, but not too small.
    largest: AtomicU64,
}

impl Map {
    pub fn new(epoch: u64, max: u32) -> Map {
        let count = (max as usize / CHANNELS_OF_SHARD).next_power_of_two().clamp(SHARDS, MAX_SHARDS);
        let shard = || Shard { channels: Mutex::new(HashMap::default()), largest: AtomicU64::new(0) };
        Map {
            shards: (0..count).map(|_| shard()).collect(),
            hasher: RandomState::default(),
            epoch,
            next_id: AtomicU64::new(0),
            count: AtomicU32::new(0),
            max,
            evicted: AtomicU64::new(0),
            making_room: Mutex::new(()),
            next_evicted: AtomicUsize::new(0),
        }
    }

    /// The number of channels.
    pub fn count(&self) -> u32 {
        self.count.load(Relaxed)
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    fn index_of(&self, name: &str) -> usize {
        // The maps use other bits of the same hash.
        (self.hasher.hash_one(name) >> 32) as usize % self.shards.len().max(1)
    }

    pub fn get(&self, name: &str) -> Option<Arc<Channel>> {
        self.shards.get(self.index_of(name))?.channels.lock().get(name).cloned()
    }

    /// Finds a channel or adds it. `None` if there are too many.
    pub fn get_or_add(&self, name: &str) -> Option<Arc<Channel>> {
        let shard = self.index_of(name);
        let mut channels = self.shards.get(shard)?.channels.lock();
        if let Some(channel) = channels.get(name) {
            return Some(channel.clone());
        }
        let more = |count: u32| (count < self.max).then(|| count + 1);
        self.count.fetch_update(Relaxed, Relaxed, more).ok()?;
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
        if let Some(channel) = self.get_or_add(name) {
            return Some(channel);
        }
        let _making_room = self.making_room.lock();
        loop {
            if let Some(channel) = self.get_or_add(name) {
                return Some(channel);
            }
            if !self.make_room() {
                return None;
            }
        }
    }

    /// Looks at enough channels of the map, and removes those without members that had no message
    /// for the longest time, some more than needed, so that not every new channel looks. Returns
    /// whether it has removed any.
    fn make_room(&self) -> bool {
        let (mut looked_at, mut idle) = (0, Vec::new());
        for _ in 0..self.shards.len() {
            let next = self.next_evicted.fetch_add(1, Relaxed) % self.shards.len();
            let channels = self.all_of(next);
            looked_at += channels.len();
            for channel in channels {
                let state = channel.state.lock();
                if !state.is_removed && state.is_idle() {
                    let at = state.last_at;
                    drop(state);
                    idle.push((at, channel));
                }
            }
            if looked_at >= LOOKED_AT && !idle.is_empty() {
                break;
            }
        }
        let wanted = (looked_at / 32 + 1).min(idle.len());
        if wanted < idle.len() {
            idle.select_nth_unstable_by_key(wanted, |(at, _)| *at);
        }
        let removed = idle.iter().filter(|(_, channel)| self.remove(channel, State::is_idle)).take(wanted).count();
        self.evicted.fetch_add(removed as u64, Relaxed);
        removed > 0
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
            self.count.fetch_sub(1, Relaxed);
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
            // What grows from here on is noted again.
            shard.largest.store(0, Relaxed);
        }
        self.all_of(index)
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
}
