//! Shrinks the largest histories until all of them fit into `hub.history`.
//!
//! The publisher whose message was too much does this. With 100,000 histories, a look at all of
//! them takes it 5 to 30 ms. So each shard knows a bound of its largest history, and the publisher
//! looks at the shard with the largest one only, which takes a quarter of a millisecond.

use std::collections::BinaryHeap;
use std::sync::{Arc, Weak};

use super::counters::Counters;
use super::frame::Memory;
use super::histories::Histories;
use super::namespace::Namespace;
use super::ring::Ring;
use super::topic::Topic;

/// Histories shrink by up to this number of bytes more than needed, so that not every publish looks
/// at a shard.
const SURPLUS: u64 = 512 << 10;

/// A shard also shrinks histories that are smaller than the largest one elsewhere, down to this
/// part of it. Otherwise histories of the same size would need a look for each message.
const PART: u64 = 2;

/// The owner of a history.
pub trait HasRing {
    fn with_ring<R>(&self, look: impl FnOnce(&mut Ring) -> R) -> R;
}

impl Memory {
    /// Drops messages until all histories fit into `hub.history`, of the largest ones first. A
    /// history of less than half the bytes of the largest one loses nothing. The caller holds no
    /// lock.
    pub fn evict(&self) {
        if !self.exceeds_history() {
            return;
        }
        let _evicting = self.evicting.lock();
        let target = self.max_history - (self.max_history / 32).min(SURPLUS);
        let all: Vec<Arc<dyn Histories>> = self.histories.read().iter().filter_map(Weak::upgrade).collect();
        while self.exceeds_history() {
            let (mut first, mut second) = ((None, 0), 0);
            for histories in &all {
                histories.largest(&mut |part, bytes| {
                    if bytes > first.1 {
                        (first, second) = ((Some((histories, part)), bytes), first.1);
                    } else {
                        second = second.max(bytes);
                    }
                });
            }
            match first.0 {
                Some((histories, part)) => histories.shrink(part, second / PART, target),
                None => return,
            }
        }
    }
}

/// Shrinks histories that have at least `least` bytes, the largest ones first, until all histories
/// of the hub have `target` bytes. Calls `emptied` with those that got empty. Returns the bytes of
/// the largest one that is left.
pub fn shrink_all<T: HasRing>(
    memory: &Memory,
    counters: &Counters,
    owners: &[Arc<T>],
    least: u64,
    target: u64,
    emptied: impl Fn(&Arc<T>),
) -> u64 {
    let sizes = owners.iter().map(|owner| owner.with_ring(|ring| ring.bytes()));
    let mut sizes: BinaryHeap<(u64, usize)> = sizes.zip(0..).collect();
    while memory.history() > target
        && let Some((_, index)) = sizes.peek().copied().filter(|(bytes, _)| *bytes > 0 && *bytes >= least)
        && let Some(owner) = owners.get(index)
    {
        sizes.pop();
        let next = sizes.peek().map_or(0, |(bytes, _)| *bytes).max(least);
        let left = owner.with_ring(|ring| {
            shrink(memory, counters, ring, next, target);
            ring.bytes()
        });
        sizes.push((left, index));
        if left == 0 {
            emptied(owner);
        }
    }
    sizes.peek().map_or(0, |(bytes, _)| *bytes)
}

/// Drops the oldest messages of a history until it is smaller than the next one.
fn shrink(memory: &Memory, counters: &Counters, ring: &mut Ring, next: u64, target: u64) {
    let mut dropped = 0;
    while !ring.is_empty() && ring.bytes() >= next && memory.history() > target {
        ring.evict_oldest();
        dropped += 1;
    }
    Counters::add(&counters.evicted, dropped);
}

impl HasRing for Topic {
    fn with_ring<R>(&self, look: impl FnOnce(&mut Ring) -> R) -> R {
        look(&mut self.state.lock().ring)
    }
}

/// The first part is the history of the messages to all topics, the others are the shards.
impl Histories for Namespace {
    fn largest(&self, look: &mut dyn FnMut(usize, u64)) {
        look(0, self.all.lock().bytes());
        self.shards.parts.largest().for_each(|(shard, bytes)| look(shard + 1, bytes));
    }

    fn shrink(&self, part: usize, least: u64, target: u64) {
        let Some(shard) = part.checked_sub(1) else {
            return shrink(&self.memory, &self.counters, &mut self.all.lock(), least, target);
        };
        let topics = self.shards.topics_of(shard);
        let emptied = |topic: &Arc<Topic>| self.shards.remove_if_unused(topic);
        let left = shrink_all(&self.memory, &self.counters, &topics, least, target, emptied);
        self.shards.parts.note_history(shard, left);
    }
}
