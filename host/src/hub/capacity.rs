//! What the maps of topics and of channels have in common: their shards, the most entries, the
//! choice of those that make room for others, and where the largest histories are.
//!
//! The entries themselves are in maps of their own kind, because their locks differ. A publish to a
//! topic must not miss a topic that comes back, so that a topic is removed under the lock of its
//! shard. A channel looks up another one under its own lock, so that the lock of a shard comes
//! last.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::sync::{Mutex, RandomState};

/// The fewest shards of a map, each with a lock of its own. A map of more than 131,072 entries has
/// more shards, so that a look at all entries of a shard takes less than a millisecond.
pub const SHARDS: usize = 64;
const MAX_SHARDS: usize = 8_192;
const ENTRIES_OF_SHARD: usize = 2_048;

/// To make room, it is enough to look at this number of entries. In the standard map of 100,000
/// topics that is one shard, and takes a quarter of a millisecond; a look at all takes 18.
const LOOKED_AT: usize = 1_024;

/// The entries of a map.
pub struct Capacity {
    shards: usize,
    hasher: RandomState,
    entries: AtomicU32,
    /// `hub.topics`.
    max: u32,
    /// The entries that made room for others.
    evicted: AtomicU64,
    /// Held while entries make room for others.
    making_room: Mutex<()>,
    /// The shard that makes room next.
    next: AtomicUsize,
}

impl Capacity {
    pub fn new(max: u32) -> Capacity {
        Capacity {
            shards: (max as usize / ENTRIES_OF_SHARD).next_power_of_two().clamp(SHARDS, MAX_SHARDS),
            hasher: RandomState::default(),
            entries: AtomicU32::new(0),
            max,
            evicted: AtomicU64::new(0),
            making_room: Mutex::new(()),
            next: AtomicUsize::new(0),
        }
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        self.shards
    }

    /// The index of the shard of a name.
    pub fn shard_of(&self, name: &str) -> usize {
        // The maps of the shards use other bits of the same hash.
        (self.hasher.hash_one(name) >> 32) as usize % self.shards.max(1)
    }

    pub fn entries(&self) -> u32 {
        self.entries.load(Relaxed)
    }

    pub fn max(&self) -> u32 {
        self.max
    }

    /// The number of entries that made room for others.
    pub fn evicted(&self) -> u64 {
        self.evicted.load(Relaxed)
    }

    /// Counts an entry that will be added. Returns whether there is room for it.
    pub fn count_one(&self) -> bool {
        let more = |entries: u32| (entries < self.max).then(|| entries + 1);
        self.entries.fetch_update(Relaxed, Relaxed, more).is_ok()
    }

    /// An entry was removed.
    pub fn uncount_one(&self) {
        self.entries.fetch_sub(1, Relaxed);
    }

    /// Finds or adds an entry, and makes room for it if there are too many. `None` if nothing makes
    /// room. `make_room` returns whether it has removed any.
    pub fn get_or_make_room<T>(&self, get_or_add: impl Fn() -> Option<T>, make_room: impl Fn() -> bool) -> Option<T> {
        if let Some(entry) = get_or_add() {
            return Some(entry);
        }
        let _making_room = self.making_room.lock();
        loop {
            if let Some(entry) = get_or_add() {
                return Some(entry);
            }
            if !make_room() {
                // Others may have been removed meanwhile.
                return get_or_add();
            }
        }
    }

    /// Looks at enough shards, and removes those of their unused entries that had no message for
    /// the longest time, some more than needed, so that not every new entry looks. Returns whether
    /// it has removed any. `look` adds the unused entries of a shard, each with the time or number
    /// of its last message, and returns the number of all entries there.
    pub fn make_room<T>(
        &self,
        mut look: impl FnMut(usize, &mut Vec<(u64, T)>) -> usize,
        remove: impl Fn(&T) -> bool,
    ) -> bool {
        let (mut looked_at, mut unused) = (0, Vec::new());
        for _ in 0..self.shards {
            let shard = self.next.fetch_add(1, Relaxed) % self.shards;
            looked_at += look(shard, &mut unused);
            if looked_at >= LOOKED_AT {
                break;
            }
        }
        let wanted = (looked_at / 32 + 1).min(unused.len());
        if wanted < unused.len() {
            unused.select_nth_unstable_by_key(wanted, |(last, _)| *last);
        }
        let removed = unused.iter().filter(|(_, entry)| remove(entry)).take(wanted).count();
        self.evicted.fetch_add(removed as u64, Relaxed);
        removed > 0
    }
}

/// The shards of a map. `M` has the entries of one.
pub struct Sharded<M> {
    shards: Box<[Shard<M>]>,
    pub capacity: Capacity,
}

/// A part of a map.
pub struct Shard<M> {
    pub map: Mutex<M>,
    /// The entries that somebody uses.
    used: AtomicU32,
    /// No history of the shard has more bytes than this. It may be too large, but not too small.
    largest: AtomicU64,
}

impl<M: Default> Sharded<M> {
    pub fn new(max: u32) -> Sharded<M> {
        let capacity = Capacity::new(max);
        let shard = |_| Shard { map: Mutex::new(M::default()), used: AtomicU32::new(0), largest: AtomicU64::new(0) };
        Sharded { shards: (0..capacity.shards()).map(shard).collect(), capacity }
    }

    pub fn at(&self, index: usize) -> Option<&Shard<M>> {
        self.shards.get(index)
    }

    /// The shard of a name.
    pub fn of(&self, name: &str) -> Option<&Shard<M>> {
        self.at(self.capacity.shard_of(name))
    }

    /// Notes that a history of a shard has this number of bytes.
    pub fn note_history(&self, index: usize, bytes: u64) {
        if let Some(shard) = self.at(index).filter(|shard| shard.largest.load(Relaxed) < bytes) {
            shard.largest.fetch_max(bytes, Relaxed);
        }
    }

    /// The caller looks at all histories of a shard, and notes them again. What grows meanwhile is
    /// noted, too.
    pub fn reset_largest(&self, index: usize) {
        if let Some(shard) = self.at(index) {
            shard.largest.store(0, Relaxed);
        }
    }

    /// The shards, with a bound of the bytes of their largest history.
    pub fn largest(&self) -> impl Iterator<Item = (usize, u64)> {
        self.shards.iter().map(|shard| shard.largest.load(Relaxed)).enumerate()
    }

    /// Counts an entry that somebody begins or ceases to use. The caller holds its lock.
    pub fn note_use(&self, index: usize, was_used: bool, is_used: bool) {
        match (self.at(index), was_used, is_used) {
            (Some(shard), false, true) => _ = shard.used.fetch_add(1, Relaxed),
            (Some(shard), true, false) => _ = shard.used.fetch_sub(1, Relaxed),
            _ => {}
        }
    }
}

impl<M> Shard<M> {
    /// The number of entries that somebody uses.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed) as usize
    }
}
