//! What a store has taken of memory and tables, against its limits.

use wasmtime::ResourceLimiter;

use crate::config::Limits;

/// What a store has taken of memory and tables, and what it was refused.
#[derive(Debug)]
pub struct Taken {
    memory: usize,
    memory_limit: usize,
    tables: usize,
    tables_limit: usize,
    refused: Option<StoreLimit>,
}

/// A limit of `limits` that a store refuses to grow beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoreLimit {
    Memory,
    Tables,
}

impl Taken {
    pub fn new(limits: &Limits) -> Taken {
        Taken {
            memory: 0,
            memory_limit: usize::try_from(limits.memory).unwrap_or(usize::MAX),
            tables: 0,
            tables_limit: limits.tables as usize,
            refused: None,
        }
    }

    /// The limit that was reached, if one was: often the reason of the trap that follows.
    pub fn refused(&self) -> Option<StoreLimit> {
        self.refused
    }

    /// Bytes of all linear memories together.
    pub fn memory(&self) -> usize {
        self.memory
    }
}

impl ResourceLimiter for Taken {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let total = self.memory.saturating_add(desired.saturating_sub(current));
        if total > self.memory_limit {
            self.refused = Some(StoreLimit::Memory);
            return Ok(false);
        }
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

    fn taken() -> Taken {
        Taken::new(&Limits { memory: 100, tables: 10, ..Limits::default() })
    }

    #[test]
    fn all_memories_count_together() {
        let mut taken = taken();
        assert!(taken.memory_growing(0, 60, None).unwrap());
        assert!(taken.memory_growing(0, 30, None).unwrap());
        assert!(taken.memory_growing(30, 40, None).unwrap());
        assert_eq!((taken.memory(), taken.refused()), (100, None));
        assert!(!taken.memory_growing(40, 41, None).unwrap());
        assert_eq!((taken.memory(), taken.refused()), (100, Some(StoreLimit::Memory)));
    }

    #[test]
    fn all_tables_count_together() {
        let mut taken = taken();
        assert!(taken.table_growing(0, 6, None).unwrap() && taken.table_growing(0, 4, None).unwrap());
        assert!(!taken.table_growing(0, 1, None).unwrap());
        assert_eq!(taken.refused(), Some(StoreLimit::Tables));
    }
}
