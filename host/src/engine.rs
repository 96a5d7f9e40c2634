//! wasmtime: one engine per host, its epoch ticker, and the cache of compiled components.
//!
//! This part knows nothing else of the host. A child process ([`child`]) compiles components, so
//! that a hostile or huge one costs this process nothing; the host then maps the result from the
//! cache ([`cache`]).

pub mod cache;
mod child;
pub mod compile;
pub mod format;
pub mod functions;
pub mod pool;
pub mod space;

use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub use cache::{Cache, CacheError, Compiled, ComponentSource};
pub use child::{compile_if_asked, is_compiler};
pub use compile::{CompileError, Compiler};
pub use pool::Place;
use pool::Pool;
pub use space::{AddressSpace, AddressSpaceError, Reservation};

/// The engine that runs all components of this process. Its ticker thread ends with the last clone.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    tick: Duration,
    space: Arc<AddressSpace>,
    pool: Arc<Pool>,
    ticks: TickCounter,
}

/// The number of ticks since the engine started.
#[derive(Debug, Clone, Default)]
pub struct TickCounter(Arc<AtomicU64>);

impl TickCounter {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the engine and a thread that advances its epoch every `tick`. All memories together
    /// may reserve `address_space` bytes. `pool` is the number of places in the pool.
    pub fn start(tick: Duration, address_space: u64, pool: u32) -> wasmtime::Result<Engine> {
        let wasmtime = wasmtime::Engine::new(&settings())?;
        let weak = wasmtime.weak();
        let ticks = TickCounter::default();
        let counted = ticks.clone();
        let pool = Arc::new(Pool::new(pool));
        let pooled = pool.clone();
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            loop {
                thread::sleep(tick);
                match weak.upgrade() {
                    Some(engine) => {
                        counted.advance();
                        engine.increment_epoch();
                        if let Some(pooled) = pooled.engine() {
                            pooled.increment_epoch();
                        }
                    }
                    None => return,
                }
            }
        })?;
        Ok(Engine { wasmtime, tick, space: Arc::new(AddressSpace::new(address_space)), pool, ticks })
    }

    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    pub fn ticks(&self) -> &TickCounter {
        &self.ticks
    }

    /// The address space for the memories of all instances.
    pub fn space(&self) -> &Arc<AddressSpace> {
        &self.space
    }

    /// The engine for components whose instances serve one call, with the same settings. `None` if
    /// there is no room for a pool.
    pub fn pooled(&self) -> Option<&wasmtime::Engine> {
        self.pool.start(&self.space, settings)
    }

    /// A place in the pool for one instance, if there is a free one.
    pub fn place(&self) -> Option<Place> {
        self.pool.place()
    }

    /// The interval of the epoch. A guest yields to the other tasks of its thread at each tick.
    pub fn tick(&self) -> Duration {
        self.tick
    }
}

/// The settings that the compiler's process and the host must share.
fn settings() -> wasmtime::Config {
    let mut config = wasmtime::Config::new();
    config.epoch_interruption(true);
    config.wasm_component_model_async(true);
    config.memory_reservation(space::RESERVATION);
    config.memory_guard_size(space::GUARD);
    config.guard_before_linear_memory(true);
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    config
}

/// A hash of what an artefact depends on besides the component: wasmtime's version, the machine and
/// the settings.
fn compatibility(engine: &wasmtime::Engine) -> u64 {
    // Not `RandomState`, because the hash must be the same in every process.
    #[allow(deprecated)]
    let mut hasher = std::hash::SipHasher::new();
    engine.precompile_compatibility_hash().hash(&mut hasher);
    hasher.finish()
}
