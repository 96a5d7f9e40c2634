//! wasmtime: one engine a process, its epoch ticker, and the cache of compiled components.
//!
//! Knows only wasmtime. Components are compiled in a child process ([`compile`]), so that a hostile or huge
//! one costs this process nothing, and are mapped from the cache ([`cache`]) afterwards.

pub mod cache;
pub mod compile;
pub mod space;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

pub use cache::{Cache, CacheError};
pub use compile::{Compilation, CompileError, Compiler, run_child};
pub use space::{NoSpace, Reserved, Space};

/// The engine all components of this process run in. Its ticker ends with the last clone.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    tick: Duration,
    space: Arc<Space>,
    ticks: Ticks,
}

/// How many ticks have gone by.
#[derive(Debug, Clone, Default)]
pub struct Ticks(Arc<AtomicU64>);

impl Ticks {
    pub fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn advance(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Engine {
    /// Starts the engine and a thread that advances its epoch every `tick`. Memories may reserve
    /// `address_space` bytes.
    pub fn start(tick: Duration, address_space: u64) -> wasmtime::Result<Engine> {
        let wasmtime = wasmtime::Engine::new(&settings())?;
        let weak = wasmtime.weak();
        let ticks = Ticks::default();
        let counted = ticks.clone();
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            loop {
                thread::sleep(tick);
                match weak.upgrade() {
                    Some(engine) => {
                        counted.advance();
                        engine.increment_epoch();
                    }
                    None => return,
                }
            }
        })?;
        Ok(Engine { wasmtime, tick, space: Arc::new(Space::new(address_space)), ticks })
    }

    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
    }

    /// Counts them.
    pub fn ticks(&self) -> &Ticks {
        &self.ticks
    }

    /// The room for the memories of all instances.
    pub fn space(&self) -> &Arc<Space> {
        &self.space
    }

    /// The longest that one guest keeps the thread from the others.
    pub fn tick(&self) -> Duration {
        self.tick
    }
}

/// The settings that compiling and running must agree on.
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
