//! The parts that load modules.

use std::path::PathBuf;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;

use super::StartError;
use crate::config::{Config, opens_test_routes};
use crate::engine::{Cache, Compiler, Engine};
use crate::isolate::{self, GuestLinker};
use crate::outgoing::Outgoing;
use crate::registry::{Disks, Loader, PlacesOf};
use crate::stores::Stores;

/// Builds the parts that load modules: the engine with its linker, the cache and the compiler.
pub(super) fn loader(
    config: &Config,
    compiler: PathBuf,
    places_of: PlacesOf,
) -> Result<(Loader, GuestLinker), StartError> {
    // The engine starts a thread.
    let engine_error = |error: wasmtime::Error| match error.downcast::<std::io::Error>() {
        Ok(error) => StartError::Worker(error),
        Err(error) => StartError::Engine(format!("{error:#}")),
    };
    let loader = Loader {
        engine: Engine::start(config.engine.tick, config.engine.address_space, config.engine.pool)
            .map_err(engine_error)?,
        cache: Cache::open(
            &config.shared_dir().join("cache"),
            config.engine.cache_size,
            config.engine.function_cache_size,
        )?,
        compiler: Compiler {
            program: compiler,
            memory: config.engine.compile_memory,
            timeout: config.engine.compile_timeout,
            max_component: config.engine.max_component,
            functions: config.engine.function_cache_size,
        },
        settings: config.engine.clone(),
        test_routes: opens_test_routes(&config.environment),
        places_of,
        refused: Counter::default(),
        stores: Arc::new(Stores::new(config.keyvalue.clone())),
        disks: Disks::default(),
        outgoing: Arc::new(Outgoing::new(config.outgoing.clone(), config.outgoing.ca_file(&config.root))),
    };
    let linker = isolate::linker(&loader.engine).map_err(engine_error)?;
    Ok((loader, linker))
}
