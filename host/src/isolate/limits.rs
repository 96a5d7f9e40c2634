//! Enforces `limits.memory` and `limits.tables` on a store.

use prometheus_client::metrics::gauge::Gauge;
use wasmtime::ResourceLimiter;

use crate::config::Limits;

/// The memory and tables that a store uses, and the limit that it has reached.
#[derive(Debug)]
pub struct StoreUsage {
    memory: usize,
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
    pub fn new(limits: &Limits, slot_memory: Gauge) -> StoreUsage {
        StoreUsage {
            memory: 0,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn usage() -> StoreUsage {
        StoreUsage::new(&Limits { memory: 100, tables: 10, ..Limits::default() }, Gauge::default())
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
        let usage = || StoreUsage::new(&Limits { memory: 100, ..Limits::default() }, gauge.clone());
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

    #[test]
    fn all_tables_count_together() {
        let mut usage = usage();
        assert!(usage.table_growing(0, 6, None).unwrap() && usage.table_growing(0, 4, None).unwrap());
        assert!(!usage.table_growing(0, 1, None).unwrap());
        assert_eq!(usage.refused(), Some(StoreLimit::Tables));
    }
}
