//! The budget of address space and of kernel mappings for the linear memories of all instances.
//!
//! A memory reserves far more address space than it uses, so that compiled code needs no bounds
//! checks. The reservation uses no RAM, but a process has a finite amount of both, and without them
//! no further instance can start. So every store reserves its part first, and fails before it has
//! any effect when there is not enough left.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

/// The bytes that a memory may grow to without moving: the whole of a 32-bit memory.
pub const RESERVATION: u64 = 4 << 30;

/// The bytes before and after a memory that no code can read or write.
pub const GUARD: u64 = 32 << 20;

/// The address space of one memory.
pub const MEMORY: u64 = RESERVATION + 2 * GUARD;

/// The most mappings of one memory: the guard before it, its image, the rest that is in use, and
/// the reservation with the guard after it.
const MAPPINGS: u64 = 4;

/// Allocations of at least this size have a mapping of their own.
const LARGE: u64 = 128 << 10;

/// The divisor of `vm.max_map_count` for memories. Stacks, threads, code and large allocations need
/// the other half.
const PART: u64 = 2;

/// The address space and the mappings for all memories of a node.
#[derive(Debug)]
pub struct AddressSpace {
    bytes: Budget,
    mappings: Budget,
    refused: AtomicU64,
}

/// A finite amount that stores share.
#[derive(Debug)]
struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// A reserved part of the address space. Dropping it releases the part.
#[derive(Debug)]
pub struct Reservation {
    space: Arc<AddressSpace>,
    bytes: u64,
    mappings: u64,
}

/// The used part of a budget, and its limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetUsage {
    pub used: u64,
    pub limit: u64,
}

impl BudgetUsage {
    pub fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Why a reservation failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressSpaceError {
    Bytes { memories: u64, asked: u64, space: BudgetUsage },
    Mappings { memories: u64, asked: u64, space: BudgetUsage },
}

impl std::error::Error for AddressSpaceError {}

impl fmt::Display for AddressSpaceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressSpaceError::Bytes { memories, asked, space } => write!(
                f,
                "{memories} memories need {asked} bytes of address space, but only {left} of {limit} are left: raise \
                 engine.addressSpace and the process's limit (`ulimit -v`), or remove a module",
                left = space.left(),
                limit = space.limit
            ),
            AddressSpaceError::Mappings { memories, asked, space } => write!(
                f,
                "{memories} memories need {asked} mappings, but only {left} of {limit}, half of vm.max_map_count, are left: \
                 raise vm.max_map_count (`sysctl -w vm.max_map_count=..`) and restart the host, or remove a module",
                left = space.left(),
                limit = space.limit
            ),
        }
    }
}

impl Budget {
    fn new(limit: u64) -> Budget {
        Budget { limit, used: AtomicU64::new(0) }
    }

    fn take(&self, amount: u64) -> bool {
        let take = |used: u64| used.checked_add(amount).filter(|total| *total <= self.limit);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, take).is_ok()
    }

    fn release(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
    }

    fn usage(&self) -> BudgetUsage {
        BudgetUsage { used: self.used.load(Ordering::Acquire), limit: self.limit }
    }
}

impl AddressSpace {
    /// A budget of at most `bytes` of address space, and no more than the system allows.
    pub fn new(bytes: u64) -> AddressSpace {
        let process = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        let mappings = fs::read_to_string("/proc/sys/vm/max_map_count");
        let mappings = mappings.ok().and_then(|text| text.trim().parse::<u64>().ok());
        AddressSpace::with(bytes.min(process), mappings.map_or(u64::MAX, |most| most / PART))
    }

    fn with(bytes: u64, mappings: u64) -> AddressSpace {
        AddressSpace { bytes: Budget::new(bytes), mappings: Budget::new(mappings), refused: AtomicU64::new(0) }
    }

    /// Reserves the address space of `stores` stores, each with `memories` memories and `other`
    /// bytes of other allocations.
    pub fn reserve(
        self: &Arc<AddressSpace>,
        stores: u64,
        memories: u64,
        other: u64,
    ) -> Result<Reservation, AddressSpaceError> {
        self.take(memories.saturating_mul(stores), (other / LARGE).saturating_mul(stores))
    }

    /// Reserves the address space of a pool for a number of memories, with `other` further mappings
    /// for each.
    pub fn reserve_pool(self: &Arc<AddressSpace>, memories: u64, other: u64) -> Result<Reservation, AddressSpaceError> {
        self.take(memories, other.saturating_mul(memories))
    }

    fn take(self: &Arc<AddressSpace>, memories: u64, other: u64) -> Result<Reservation, AddressSpaceError> {
        let bytes = memories.saturating_mul(MEMORY);
        let mappings = memories.saturating_mul(MAPPINGS).saturating_add(other);
        let refused = |error| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(error)
        };
        if !self.bytes.take(bytes) {
            return refused(AddressSpaceError::Bytes { memories, asked: bytes, space: self.bytes.usage() });
        }
        if !self.mappings.take(mappings) {
            self.bytes.release(bytes);
            return refused(AddressSpaceError::Mappings { memories, asked: mappings, space: self.mappings.usage() });
        }
        Ok(Reservation { space: self.clone(), bytes, mappings })
    }

    pub fn bytes(&self) -> BudgetUsage {
        self.bytes.usage()
    }

    pub fn mappings(&self) -> BudgetUsage {
        self.mappings.usage()
    }

    /// The number of reservations that failed.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.space.bytes.release(self.bytes);
        self.space.mappings.release(self.mappings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_reserve_up_to_the_limit_and_release_their_part() {
        let space = Arc::new(AddressSpace::with(3 * MEMORY, 100));
        let two = space.reserve(2, 1, 0).unwrap();
        assert_eq!((space.bytes().left(), space.mappings().left()), (MEMORY, 92));
        let error = space.reserve(1, 2, 0).unwrap_err();
        assert_eq!(error, AddressSpaceError::Bytes { memories: 2, asked: 2 * MEMORY, space: space.bytes() });
        assert!(error.to_string().contains("engine.addressSpace"), "{error}");
        let one = space.reserve(1, 1, 0).unwrap();
        assert_eq!((space.bytes().left(), space.refused()), (0, 1));
        drop((one, two));
        assert_eq!((space.bytes().used, space.mappings().used), (0, 0));
    }

    #[test]
    fn mappings_have_a_limit_and_a_failed_reservation_reserves_nothing() {
        let space = Arc::new(AddressSpace::with(u64::MAX, 10));
        let error = space.reserve(1, 3, 0).unwrap_err();
        assert_eq!(error, AddressSpaceError::Mappings { memories: 3, asked: 12, space: space.mappings() });
        assert!(
            error.to_string().contains("12 mappings, but only 10 of 10")
                && error.to_string().contains("vm.max_map_count")
        );
        assert!(space.reserve(1, 0, 11 * LARGE).is_err(), "large allocations count");
        assert!(space.reserve(u64::MAX, u64::MAX, u64::MAX).is_err(), "no number overflows");
        assert_eq!((space.bytes().used, space.mappings().used, space.refused()), (0, 0, 3));
    }
}
