//! The address space and the kernel's mappings that the linear memories of all instances take.
//!
//! A memory reserves far more than it uses, so that compiled code needs no bounds checks. Nothing
//! of that is resident, but both kinds of room are finite for the process, and once they are used
//! up no further instance can be made. So every store reserves its part first and is refused while
//! nothing has happened.

use std::fmt;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::process::{Resource, getrlimit};

/// Bytes of address space that a memory may grow to without moving: all of a 32-bit memory.
pub const RESERVATION: u64 = 4 << 30;

/// Bytes before and behind a memory that nothing can read or write.
pub const GUARD: u64 = 32 << 20;

/// Mappings of one memory at most: the guard before it, its image, the rest that is in use, and the
/// reservation with the guard behind.
const MAPPINGS: u64 = 4;

/// Allocations of this size have a mapping of their own.
const LARGE: u64 = 128 << 10;

/// The part of `vm.max_map_count` for memories: stacks, threads, code and large allocations need
/// the rest.
const PART: u64 = 2;

/// The room for memories of one node.
#[derive(Debug)]
pub struct Space {
    bytes: Budget,
    mappings: Budget,
    refused: AtomicU64,
}

/// Something finite that is shared.
#[derive(Debug)]
struct Budget {
    limit: u64,
    used: AtomicU64,
}

/// Room that is taken; dropping it gives it back.
#[derive(Debug)]
pub struct Reserved {
    space: Arc<Space>,
    bytes: u64,
    mappings: u64,
}

/// How much of the room is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    pub used: u64,
    pub limit: u64,
}

impl Use {
    pub fn left(self) -> u64 {
        self.limit.saturating_sub(self.used)
    }
}

/// Why no room could be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoSpace {
    Bytes { memories: u64, asked: u64, space: Use },
    Mappings { memories: u64, asked: u64, space: Use },
}

impl std::error::Error for NoSpace {}

impl fmt::Display for NoSpace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoSpace::Bytes { memories, asked, space } => write!(
                f,
                "{memories} memories would reserve {asked} bytes of address space, and {left} of {limit} are left: raise \
                 engine.addressSpace and the process's limit (`ulimit -v`), or remove a module",
                left = space.left(),
                limit = space.limit
            ),
            NoSpace::Mappings { memories, asked, space } => write!(
                f,
                "{memories} memories would take {asked} mappings, and {left} of {limit}, half of vm.max_map_count, are left: \
                 raise that (`sysctl -w vm.max_map_count=..`) and start the host again, or remove a module",
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

    fn give_back(&self, amount: u64) {
        self.used.fetch_sub(amount, Ordering::AcqRel);
    }

    fn now(&self) -> Use {
        Use { used: self.used.load(Ordering::Acquire), limit: self.limit }
    }
}

impl Space {
    /// At most `bytes` of address space, and no more than the system allows.
    pub fn new(bytes: u64) -> Space {
        let process = getrlimit(Resource::As).current.unwrap_or(u64::MAX);
        let mappings = fs::read_to_string("/proc/sys/vm/max_map_count");
        let mappings = mappings.ok().and_then(|text| text.trim().parse::<u64>().ok());
        Space::with(bytes.min(process), mappings.map_or(u64::MAX, |most| most / PART))
    }

    fn with(bytes: u64, mappings: u64) -> Space {
        Space { bytes: Budget::new(bytes), mappings: Budget::new(mappings), refused: AtomicU64::new(0) }
    }

    /// Takes the room of `stores` stores, each with this number of memories and this many other
    /// bytes.
    pub fn reserve(self: &Arc<Space>, stores: u64, memories: u64, other: u64) -> Result<Reserved, NoSpace> {
        let memories = memories.saturating_mul(stores);
        let bytes = memories.saturating_mul(RESERVATION + 2 * GUARD);
        let mappings = memories.saturating_mul(MAPPINGS).saturating_add((other / LARGE).saturating_mul(stores));
        let refused = |error| {
            self.refused.fetch_add(1, Ordering::Relaxed);
            Err(error)
        };
        if !self.bytes.take(bytes) {
            return refused(NoSpace::Bytes { memories, asked: bytes, space: self.bytes.now() });
        }
        if !self.mappings.take(mappings) {
            self.bytes.give_back(bytes);
            return refused(NoSpace::Mappings { memories, asked: mappings, space: self.mappings.now() });
        }
        Ok(Reserved { space: self.clone(), bytes, mappings })
    }

    pub fn bytes(&self) -> Use {
        self.bytes.now()
    }

    pub fn mappings(&self) -> Use {
        self.mappings.now()
    }

    /// How often there was no room.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.space.bytes.give_back(self.bytes);
        self.space.mappings.give_back(self.mappings);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMORY: u64 = RESERVATION + 2 * GUARD;

    #[test]
    fn room_is_taken_up_to_the_limit_and_given_back() {
        let space = Arc::new(Space::with(3 * MEMORY, 100));
        let two = space.reserve(2, 1, 0).unwrap();
        assert_eq!((space.bytes().left(), space.mappings().left()), (MEMORY, 92));
        let error = space.reserve(1, 2, 0).unwrap_err();
        assert_eq!(error, NoSpace::Bytes { memories: 2, asked: 2 * MEMORY, space: space.bytes() });
        assert!(error.to_string().contains("engine.addressSpace"), "{error}");
        let one = space.reserve(1, 1, 0).unwrap();
        assert_eq!((space.bytes().left(), space.refused()), (0, 1));
        drop((one, two));
        assert_eq!((space.bytes().used, space.mappings().used), (0, 0));
    }

    #[test]
    fn mappings_are_counted_too_and_a_refusal_takes_nothing() {
        let space = Arc::new(Space::with(u64::MAX, 10));
        let error = space.reserve(1, 3, 0).unwrap_err();
        assert_eq!(error, NoSpace::Mappings { memories: 3, asked: 12, space: space.mappings() });
        assert!(
            error.to_string().contains("12 mappings, and 10 of 10") && error.to_string().contains("vm.max_map_count")
        );
        assert!(space.reserve(1, 0, 11 * LARGE).is_err(), "large allocations count");
        assert!(space.reserve(u64::MAX, u64::MAX, u64::MAX).is_err(), "no number overflows");
        assert_eq!((space.bytes().used, space.mappings().used, space.refused()), (0, 0, 3));
    }
}
