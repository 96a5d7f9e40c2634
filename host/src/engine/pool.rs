//! Room for instances that serve one call: those of modules with `"isolation": "fresh"`.
//!
//! Elsewhere each instance maps a memory and a stack for itself and unmaps them when it ends, which
//! takes longer than most calls. The pool has mapped them before, and cleans them after each call.
//! wasmtime has one way to allocate instances for each of its engines, so the pool is an engine of
//! its own. Components that do not fit into it, and calls that find no free place, go without.

use std::sync::{Arc, OnceLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::{Config, InstanceAllocationStrategy, PoolingAllocationConfig};

use super::space::{AddressSpace, MEMORY, Reservation};

/// The most core instances, memories and tables of an instance in the pool. Components of the usual
/// toolchains for Rust and C have 4, 1 and 2.
const INSTANCES: u32 = 16;
const MEMORIES: u32 = 1;
const TABLES: u32 = 4;

/// The most elements of a table in the pool.
pub const TABLE_ELEMENTS: u32 = 100_000;

/// The most stacks of an instance. A call has one, and wasmtime keeps another.
const STACKS: u32 = 4;

/// The mappings of a place besides those of its memory: each stack has a guard.
const MAPPINGS: u64 = 2 * STACKS as u64;

/// The divisor of `engine.addressSpace` for the pool.
const PART: u64 = 4;

/// Room for a number of instances, mapped when the first one needs it.
pub struct Pool {
    places: u32,
    started: OnceLock<Option<Started>>,
}

struct Started {
    wasmtime: wasmtime::Engine,
    free: Arc<Semaphore>,
    _space: Reservation,
}

/// A place in the pool for one instance. It must be dropped after the store.
pub struct Place {
    wasmtime: wasmtime::Engine,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// The engine of the store in this place.
    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }
}

impl Pool {
    pub(super) fn new(places: u32) -> Pool {
        Pool { places, started: OnceLock::new() }
    }

    /// The engine of the pool, which this starts with these settings. `None` if there is no room
    /// for a pool.
    pub(super) fn start(&self, space: &Arc<AddressSpace>, settings: fn() -> Config) -> Option<&wasmtime::Engine> {
        let start = || {
            let most = space.bytes().limit / PART / MEMORY;
            let places = self.places.min(u32::try_from(most).unwrap_or(u32::MAX));
            if places == 0 {
                return None;
            }
            let started = Started::new(places, space, settings());
            started.inspect_err(|why| tracing::warn!("calls of fresh modules take longer without a pool: {why}")).ok()
        };
        Some(&self.started.get_or_init(start).as_ref()?.wasmtime)
    }

    /// Its engine, if it has been started.
    pub(super) fn engine(&self) -> Option<&wasmtime::Engine> {
        Some(&self.started.get()?.as_ref()?.wasmtime)
    }

    /// A free place, if there is one.
    pub(super) fn place(&self) -> Option<Place> {
        let Started { wasmtime, free, .. } = self.started.get()?.as_ref()?;
        let permit = free.clone().try_acquire_owned().ok()?;
        Some(Place { wasmtime: wasmtime.clone(), _permit: permit })
    }
}

impl Started {
    fn new(places: u32, space: &Arc<AddressSpace>, mut config: Config) -> Result<Started, String> {
        let reserved = space.reserve_pool(places.into(), MAPPINGS).map_err(|error| error.to_string())?;
        let mut pool = PoolingAllocationConfig::default();
        pool.total_component_instances(places)
            .total_core_instances(places.saturating_mul(INSTANCES))
            .total_memories(places.saturating_mul(MEMORIES))
            .total_tables(places.saturating_mul(TABLES))
            .total_stacks(places.saturating_mul(STACKS))
            .max_core_instances_per_component(INSTANCES)
            .max_memories_per_component(MEMORIES)
            .max_tables_per_component(TABLES)
            .max_tables_per_module(TABLES)
            .table_elements(TABLE_ELEMENTS as usize)
            .max_unused_warm_slots(places);
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let wasmtime = wasmtime::Engine::new(&config).map_err(|error| format!("{error:#}"))?;
        Ok(Started { wasmtime, free: Arc::new(Semaphore::new(places as usize)), _space: reserved })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(pool: &Pool) -> Vec<Place> {
        std::iter::from_fn(|| pool.place()).take(10).collect()
    }

    #[test]
    fn a_pool_has_its_number_of_places_and_each_becomes_free() {
        let (pool, space) = (Pool::new(2), Arc::new(AddressSpace::new(u64::MAX)));
        assert!(pool.place().is_none() && pool.engine().is_none(), "it is not mapped before it is needed");
        assert_eq!(space.bytes().used, 0);
        assert!(pool.start(&space, Config::new).is_some() && pool.engine().is_some());
        assert_eq!((space.bytes().used, space.mappings().used), (2 * MEMORY, 24));
        let both = places(&pool);
        assert_eq!(both.len(), 2);
        drop(both);
        assert_eq!(places(&pool).len(), 2);
        drop(pool);
        assert_eq!((space.bytes().used, space.mappings().used), (0, 0));
    }

    #[test]
    fn a_pool_takes_a_quarter_of_the_address_space_at_most() {
        for (limit, most) in [(4 * 3 * MEMORY, 3), (4 * MEMORY - 1, 0)] {
            let (pool, space) = (Pool::new(100), Arc::new(AddressSpace::new(limit)));
            assert_eq!(pool.start(&space, Config::new).is_some(), most > 0);
            assert_eq!((places(&pool).len(), space.bytes().used), (most, most as u64 * MEMORY));
        }
        let (pool, space) = (Pool::new(0), Arc::new(AddressSpace::new(u64::MAX)));
        assert!(pool.start(&space, Config::new).is_none(), "the operator wants none");
    }
}
