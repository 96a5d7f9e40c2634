//! Says in words why a store is gone.

use std::fmt::Write;

use wasmtime::{Trap, WasmBacktrace};

use super::logs::escaped;
use super::state::State;
use crate::config::Limits;

/// Bytes of a reason, and of a name in a backtrace: a guest may have chosen both.
const REASON: usize = 4_096;
const NAME: usize = 512;

/// The reason in the first line, the guest's backtrace below it.
pub fn describe(error: &wasmtime::Error, state: &State, limits: &Limits) -> String {
    let mut text = escaped([reason(error, state, limits).as_str()], REASON);
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else { return text };
    for frame in backtrace.frames() {
        let function = frame.func_name().map_or_else(
            || format!("<wasm function {}>", frame.func_index()),
            |name| format!("{:#}", rustc_demangle::demangle(name)),
        );
        let _ = write!(text, "\n    at {}", escaped([function.as_str()], NAME));
        for symbol in frame.symbols() {
            if let (Some(file), Some(line)) = (symbol.file(), symbol.line()) {
                let _ = write!(text, " ({}:{line})", escaped([file], NAME));
            }
        }
    }
    text
}

fn reason(error: &wasmtime::Error, state: &State, limits: &Limits) -> String {
    if state.cpu.exceeded() {
        return format!("a call used more processor time than limits.cpu, {:?}", limits.cpu);
    }
    let what = match (error.downcast_ref::<Trap>(), error.downcast_ref::<wasmtime_wasi::I32Exit>()) {
        (_, Some(exit)) => format!("the guest called exit({})", exit.0),
        (Some(trap), None) => trap.to_string(),
        (None, None) => error.root_cause().to_string(),
    };
    match state.taken.refused() {
        Some("limits.memory") => {
            format!("{what}, after it was refused more than limits.memory, {} bytes", limits.memory)
        }
        Some(limit) => format!("{what}, after it reached {limit}, {}", limits.tables),
        None => what,
    }
}
