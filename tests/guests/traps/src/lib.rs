//! Traps in several ways.

use common::{hold, holding, ok, release, who};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

/// Traps with the instruction `unreachable`, without a message.
#[handler]
fn trap() {
    innermost_function_that_traps();
}

/// The backtrace shows the name of this function.
#[inline(never)]
fn innermost_function_that_traps() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

/// Panics: Rust prints a message to stderr, then traps.
#[handler]
fn panics(body: Text) {
    panic!("{}", *body);
}

/// Calls itself until the stack overflows.
#[handler]
fn recurse() -> Json<u64> {
    #[inline(never)]
    fn down(level: u64) -> u64 {
        std::hint::black_box(if level == u64::MAX { 0 } else { 1 + down(std::hint::black_box(level + 1)) })
    }
    Json(down(0))
}

/// Traps after it has waited for a call, and so not in the first turn of its own call.
#[handler]
async fn later() -> Result<()> {
    rpc::call("/ok", ()).await?;
    panic!("later");
}

/// Traps after `who` of worker 1 has counted it.
#[handler]
async fn after_effect() -> Result<()> {
    rpc::to(Target::Worker(1)).call("/who", ()).await?;
    panic!("after the effect");
}

fanfare_sdk::module!(trap, panics, recurse, later, after_effect, hold, holding, release, who, ok);
