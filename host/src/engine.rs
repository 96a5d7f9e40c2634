//! wasmtime: one engine a process, its epoch ticker, and the cache of compiled components.
//!
//! Knows only wasmtime. Components are compiled in a child process ([`compile`]), so that a hostile or huge
//! one costs this process nothing, and are mapped from the cache ([`cache`]) afterwards.

pub mod cache;
pub mod compile;

use std::thread;
use std::time::Duration;

pub use cache::{Cache, CacheError};
pub use compile::{CompileError, Compiler};

/// The engine all components of this process run in. Its ticker ends with the last clone.
#[derive(Clone)]
pub struct Engine {
    wasmtime: wasmtime::Engine,
    tick: Duration,
}

impl Engine {
    /// Starts the engine and a thread that advances its epoch every `tick`.
    pub fn start(tick: Duration) -> wasmtime::Result<Engine> {
        let wasmtime = wasmtime::Engine::new(&settings())?;
        let weak = wasmtime.weak();
        thread::Builder::new().name("epoch".to_owned()).spawn(move || {
            loop {
                thread::sleep(tick);
                match weak.upgrade() {
                    Some(engine) => engine.increment_epoch(),
                    None => return,
                }
            }
        })?;
        Ok(Engine { wasmtime, tick })
    }

    pub fn wasmtime(&self) -> &wasmtime::Engine {
        &self.wasmtime
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
    config.wasm_backtrace_max_frames(std::num::NonZeroUsize::new(32));
    config
}
