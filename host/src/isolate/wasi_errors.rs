//! `wasi:io/error`, without what is only for the operator.

use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::bindings::io::error::Error;

use super::state::State;

/// Replaces the function of wasmtime, which adds a backtrace of the host when the host runs with
/// `RUST_BACKTRACE`.
pub fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    linker.instance("wasi:io/error@0.2.12")?.func_wrap(
        "[method]error.to-debug-string",
        |store: StoreContextMut<'_, State>, (error,): (Resource<Error>,)| -> wasmtime::Result<(String,)> {
            Ok((format!("{:#}", store.data().table.get(&error)?),))
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}
