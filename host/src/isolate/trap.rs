//! Describes in words why a store failed.

use std::fmt::Write;

use wasmtime::component::ResourceTableError;
use wasmtime::{Trap, WasmBacktrace};

use super::error::Crash;
use super::limits::StoreLimit;
use super::state::State;
use crate::call::bounds::{self, Bound};
use crate::call::text::{MESSAGE, NAME, REPORT, line, lines};
use crate::config::Limits;

/// Returns the crash that an error of the store stands for.
pub fn crash(error: &wasmtime::Error, state: &State, limits: &Limits) -> Crash {
    let last_line = state.last_line().map(|text| line(&text, MESSAGE));
    Crash::Trap { report: describe(error, state, limits), last_line }
}

/// Returns the reason in the first line and the guest's backtrace below it.
fn describe(error: &wasmtime::Error, state: &State, limits: &Limits) -> String {
    let mut text = line(&reason(error, state, limits), MESSAGE);
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    for frame in backtrace.frames() {
        let function = frame.func_name().map_or_else(
            || format!("<wasm function {}>", frame.func_index()),
            |name| format!("{:#}", rustc_demangle::demangle(name)),
        );
        let _ = write!(text, "\n    at {}", line(&function, 4 * NAME));
        for symbol in frame.symbols() {
            if let (Some(file), Some(number)) = (symbol.file(), symbol.line()) {
                let _ = write!(text, " ({}:{number})", line(file, 4 * NAME));
            }
        }
    }
    lines(&text, REPORT)
}

fn reason(error: &wasmtime::Error, state: &State, limits: &Limits) -> String {
    if state.cpu.exceeded() {
        return format!("a call used more processor time than limits.cpu, {:?}", limits.cpu);
    }
    let what = match (error.downcast_ref::<Trap>(), error.downcast_ref::<wasmtime_wasi::I32Exit>()) {
        (_, Some(exit)) => format!("the guest called exit({})", exit.0),
        (Some(trap), None) => trap.to_string(),
        (None, None) => {
            if let Some(bound) = bound(error) {
                bound.count();
            }
            error.root_cause().to_string()
        }
    };
    match state.usage.refused() {
        Some(StoreLimit::Memory) => {
            format!("{what}, after it was refused more than limits.memory, {} bytes", limits.memory)
        }
        Some(StoreLimit::Tables) => format!("{what}, after it reached limits.tables, {}", limits.tables),
        None => what,
    }
}

/// Returns the fixed bound that caused a trap of wasmtime's WASI.
fn bound(error: &wasmtime::Error) -> Option<&'static Bound> {
    if let Some(ResourceTableError::Full) = error.downcast_ref() {
        return Some(&bounds::RESOURCES);
    }
    // The error of `get-random-bytes` has no type to match on.
    error.root_cause().to_string().starts_with("requested len ").then_some(&bounds::RANDOM)
}
