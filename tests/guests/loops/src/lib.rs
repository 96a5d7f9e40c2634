//! Computes without end or for a given time.

use std::hint::black_box;
use std::time::{Duration, Instant};

use common::{hold, ok, release, who};
use fanfare_sdk::prelude::*;
use fanfare_sdk::spawn;

/// Computes without end.
#[handler]
fn spin() {
    let mut turns = 0_u64;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

fn compute(ms: u64) -> u64 {
    let (begin, mut turns) = (Instant::now(), 0_u64);
    while begin.elapsed() < Duration::from_millis(ms) {
        turns = black_box(turns + 1);
    }
    turns
}

/// Computes for `ms` milliseconds of wall-clock time.
#[handler]
fn busy(ms: Json<u64>) -> Json<u64> {
    Json(compute(*ms))
}

/// Computes for `ms` milliseconds before the reply, and again when the host has the reply.
#[handler]
fn busy_after(ms: Json<u64>) -> Json<u64> {
    spawn(async move {
        _ = rpc::call("/ok", ()).await;
        compute(*ms);
    });
    Json(compute(*ms))
}

/// Computes and then waits for these numbers of milliseconds, `times` times.
#[handler]
fn naps(Json((times, computes, waits)): Json<(u32, u64, u64)>) -> &'static str {
    for _ in 0..times {
        compute(computes);
        std::thread::sleep(Duration::from_millis(waits));
    }
    "ok"
}

fanfare_sdk::module!(spin, busy, busy_after, naps, hold, release, who, ok);
