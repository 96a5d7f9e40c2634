//! Enforces `limits.memory` and `limits.tables` on a store.

use std::sync::Arc;

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;
use wasmtime::ResourceLimiter;

use crate::config::Limits;

/// The memory and tables that a store uses, and the limit that it has reached.
#[derive(Debug)]
pub struct StoreUsage {
    memory: usize,
    /// The memory beyond which the instance should be replaced. `None` during its first calls.
    mark: Option<usize>,
    /// Notified when the memory grows beyond the mark.
    crowded: Arc<Notify>,
    /// The sum over all stores of a slot, to which this one contributes `memory`.
    slot_memory: Gauge,
    memory_limit: usize,
    tables: usize,
    tables_limit: usize,
    refused: Option<StoreLimit>,
}

/// A limit beyond which a store does not grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreLimit {
    Memory,
    Tables,
}

impl StoreUsage {
    pub fn new(limits: &Limits, slot_memory: Gauge, crowded: Arc<Notify>) -> StoreUsage {
        StoreUsage {
            memory: 0,
            mark: None,
            crowded,
            slot_memory,
            memory_limit: usize::try_from(limits.memory).unwrap_or(usize::MAX),
            tables: 0,
            tables_limit: limits.tables as usize,
            refused: None,
        }
    }

    /// The limit that refused growth, if one did. It is often the cause of the trap that follows.
    pub fn refused(&self) -> Option<StoreLimit> {
        self.refused
    }

    /// The bytes of all linear memories together.
    pub fn memory(&self) -> usize {
        self.memory
    }

    /// Sets the mark to 7/8 of `limits.memory`. If the instance needs more than 3/4, the mark is
    /// half-way from that to the limit. So a module that keeps this much memory is not replaced for
    /// it, and every instance may grow. Returns whether the instance uses more than 7/8 already.
    pub fn set_mark(&mut self) -> bool {
        let high = self.memory_limit - self.memory_limit / 8;
        let half_way = self.memory + self.memory_limit.saturating_sub(self.memory) / 2;
        self.mark = Some(high.max(half_way));
        self.memory > high
    }
}

impl Drop for StoreUsage {
    fn drop(&mut self) {
        self.slot_memory.dec_by(signed(self.memory));
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

impl ResourceLimiter for StoreUsage {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            self.refused = Some(StoreLimit::Memory);
            return Ok(false);
        }
        self.slot_memory.inc_by(signed(total - self.memory));
        self.memory = total;
        if self.mark.is_some_and(|mark| total > mark) {
            self.crowded.notify_one();
        }
        Ok(true)
    }

    fn table_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.tables.saturating_add(desired.saturating_sub(current));
        if total > self.tables_limit {
            self.refused = Some(StoreLimit::Tables);
            return Ok(false);
        }
        self.tables = total;
        Ok(true)
    }
}

/// The size that a permit of `Guest::bodies` stands for.
pub const BODY_PERMIT: usize = 1 << 10;

/// The permits for the bodies that the host reads for an instance: as many bytes as its memory has.
pub fn body_permits(memory: u64) -> usize {
    (usize::try_from(memory).unwrap_or(usize::MAX) / BODY_PERMIT).min(tokio::sync::Semaphore::MAX_PERMITS)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn usage() -> StoreUsage {
        StoreUsage::new(&Limits { memory: 100, tables: 10, ..Limits::default() }, Gauge::default(), Arc::default())
    }

    #[test]
    fn all_memories_count_together() {
        let mut usage = usage();
        assert!(usage.memory_growing(0, 60, None).unwrap());
        assert!(usage.memory_growing(0, 30, None).unwrap());
        assert!(usage.memory_growing(30, 40, None).unwrap());
        assert_eq!((usage.memory(), usage.refused()), (100, None));
        assert!(!usage.memory_growing(40, 41, None).unwrap());
        assert_eq!((usage.memory(), usage.refused()), (100, Some(StoreLimit::Memory)));
    }

    #[test]
    fn the_memory_of_a_slot_is_that_of_its_stores() {
        let gauge = Gauge::default();
        let usage = || StoreUsage::new(&Limits { memory: 100, ..Limits::default() }, gauge.clone(), Arc::default());
        let (mut first, mut second) = (usage(), usage());
        assert!(first.memory_growing(0, 60, None).unwrap() && second.memory_growing(0, 30, None).unwrap());
        assert!(first.memory_growing(60, 70, None).unwrap());
        assert!(!first.memory_growing(70, 170, None).unwrap());
        assert_eq!(gauge.get(), 100);
        drop(first);
        assert_eq!(gauge.get(), 30);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }

    /// The memory at which a store is crowded that has used `first` when its mark was set.
    fn crowded_at(first: usize) -> Option<usize> {
        let mut usage = usage();
        usage.memory_growing(0, first, None).unwrap();
        usage.set_mark();
        (first + 1..=100).find(|memory| {
            usage.memory_growing(memory - 1, *memory, None).unwrap();
            usage.crowded.notified().now_or_never().is_some()
        })
    }

    #[test]
    fn a_store_is_crowded_beyond_its_mark() {
        assert_eq!([1, 60, 76].map(crowded_at), [Some(89), Some(89), Some(89)], "7/8 are 88");
        assert_eq!([80, 90, 98].map(crowded_at), [Some(91), Some(96), Some(100)], "half of the rest");
        assert_eq!([99, 100].map(crowded_at), [Some(100), None]);
    }

    #[test]
    fn a_store_without_a_mark_is_not_crowded() {
        let mut usage = usage();
        assert!(usage.memory_growing(0, 100, None).unwrap());
        assert!(usage.crowded.notified().now_or_never().is_none());
        assert!(usage.set_mark(), "it uses more than 7/8");
    }

    #[test]
    fn all_tables_count_together() {
        let mut usage = usage();
        assert!(usage.table_growing(0, 6, None).unwrap() && usage.table_growing(0, 4, None).unwrap());
        assert!(!usage.table_growing(0, 1, None).unwrap());
        assert_eq!(usage.refused(), Some(StoreLimit::Tables));
    }
}
