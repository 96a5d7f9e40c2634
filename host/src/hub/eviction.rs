//! Shrinks the largest histories until all of them fit into `hub.history`.
//!
//! The publisher whose message was too much does this. With 100,000 histories, a look at all of
//! them takes it 5 to 30 ms. So each shard knows a bound of its largest history, and the publisher
//! looks at the shard with the largest one only, which takes a quarter of a millisecond.

use std::collections::BinaryHeap;

use super::counters::Counters;
use super::namespace::Namespace;
use super::ring::Ring;

/// Histories shrink by up to this number of bytes more than needed, so that not every publish looks
/// at a shard.
const SURPLUS: u64 = 512 << 10;

/// A shard also shrinks histories that are smaller than the largest one elsewhere, down to this
/// part of it. Otherwise histories of the same size would need a look for each message.
const PART: u64 = 2;

/// The history of the messages to all topics has no shard.
const ALL: Option<usize> = None;

impl Namespace {
    /// Drops messages until all histories fit into `hub.history`, of the largest ones first. A
    /// history of less than half the bytes of the largest one loses nothing.
    pub fn evict(&self) {
        if !self.memory.exceeds_history() {
            return;
        }
        let _evicting = self.evicting.lock();
        let target = self.memory.max_history - (self.memory.max_history / 32).min(SURPLUS);
        while self.memory.exceeds_history() {
            let all = (ALL, self.all.lock().bytes());
            let (mut first, mut second) = (all, 0);
            for (index, bytes) in self.shards.largest() {
                if bytes > first.1 {
                    (first, second) = ((Some(index), bytes), first.1);
                } else {
                    second = second.max(bytes);
                }
            }
            match first {
                (_, 0) => return,
                (Some(shard), _) => self.shrink_shard(shard, second / PART, target),
                (ALL, _) => self.shrink(&mut self.all.lock(), second / PART, target),
            }
        }
    }

    /// Shrinks the histories of a shard that have at least `least` bytes, the largest ones first.
    fn shrink_shard(&self, shard: usize, least: u64, target: u64) {
        let topics = self.shards.topics_of(shard);
        let sizes = topics.iter().map(|topic| topic.state.lock().ring.bytes());
        let mut sizes: BinaryHeap<(u64, usize)> = sizes.zip(0..).collect();
        while self.memory.history() > target
            && let Some((_, index)) = sizes.peek().copied().filter(|(bytes, _)| *bytes > 0 && *bytes >= least)
            && let Some(topic) = topics.get(index)
        {
            sizes.pop();
            let next = sizes.peek().map_or(0, |(bytes, _)| *bytes).max(least);
            let mut state = topic.state.lock();
            self.shrink(&mut state.ring, next, target);
            sizes.push((state.ring.bytes(), index));
            let is_unused = state.is_unused();
            drop(state);
            if is_unused {
                self.shards.remove_if_unused(topic);
            }
        }
        self.shards.note_history(shard, sizes.peek().map_or(0, |(bytes, _)| *bytes));
    }

    /// Drops the oldest messages of a history until it is smaller than the next one.
    fn shrink(&self, ring: &mut Ring, next: u64, target: u64) {
        let mut dropped = 0;
        while !ring.is_empty() && ring.bytes() >= next && self.memory.history() > target {
            ring.drop_oldest();
            dropped += 1;
        }
        Counters::add(&self.counters.evicted, dropped);
    }
}
