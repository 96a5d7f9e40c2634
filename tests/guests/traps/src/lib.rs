//! Traps, in several ways.

use common::{hold, holding, ok, release, who};
use fanfare_sdk::prelude::*;
use fanfare_sdk::types::Target;

/// The instruction itself, without a word.
#[handler]
fn trap() {
    innermost_function_that_traps();
}

/// A function whose name a backtrace shows.
#[inline(never)]
fn innermost_function_that_traps() {
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}

/// What Rust does with a panic: a message to stderr, then a trap.
#[handler]
fn panics(body: Text) {
    panic!("{}", *body);
}

/// Calls itself until the stack is used up.
#[handler]
fn recurse() -> Json<u64> {
    #[inline(never)]
    fn down(level: u64) -> u64 {
        std::hint::black_box(if level == u64::MAX { 0 } else { 1 + down(std::hint::black_box(level + 1)) })
    }
    Json(down(0))
}

/// After it has waited for a call of its own, so not in its first turn.
#[handler]
async fn later() -> Result<()> {
    rpc::call("/ok", ()).await?;
    panic!("later");
}

/// After it has been counted by `who` of worker 1.
#[handler]
async fn after_effect() -> Result<()> {
    rpc::to(Target::Worker(1)).call("/who", ()).await?;
    panic!("after its effect");
}

fanfare_sdk::module!(trap, panics, recurse, later, after_effect, hold, holding, release, who, ok);
