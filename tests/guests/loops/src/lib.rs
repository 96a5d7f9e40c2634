//! Computes: for ever, or for a while.

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{hold, ok, release, who};
use fanfare_sdk::prelude::*;

/// For ever.
#[handler]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// So many milliseconds by the clock.
#[handler]
fn busy(ms: Json<u64>) -> Json<u64> {
    let (begin, mut turns) = (Instant::now(), 0_u64);
    while begin.elapsed() < Duration::from_millis(*ms) {
        turns = black_box(turns + 1);
    }
    Json(turns)
}

fanfare_sdk::module!(spin, busy, hold, release, who, ok);
