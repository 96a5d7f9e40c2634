//! Kills of workers under traffic: the requests that fail, and what grows. Half of the kills are
//! graceful, the other half immediate.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::paced::Load;
use crate::report::{Report, Target};
use crate::resources::{self, Resources};
use crate::served::Served;
use crate::swap::LOAD_CORE;
use crate::{Effort, machine};

const RATE: f64 = 2_000.0;

/// The time between two kills, so that requests arrive meanwhile.
const PAUSE: Duration = Duration::from_millis(10);

/// The workers of a [`Served`].
const WORKERS: u32 = 2;

/// Kills of all workers in one mode, under traffic.
struct Phase {
    seen: Value,
    /// The running calls that ended as `crashed`.
    crashed: u64,
    /// The average time of a kill of one worker, in milliseconds.
    took: f64,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("kills");
    if !machine::has("taskset") {
        report.not_run("kills", "taskset is not installed (Debian package util-linux)");
        return report;
    }
    let kills = (effort.kills / effort.divisor).max(8);
    let dir = machine::empty_dir("kills");
    machine::test_guest(&dir.join("modules"), "snapshot");
    let host = Served::start(&dir, None);

    let first = kills / 4;
    let half = (kills - first) / 2;
    let warm = [false, true].map(|immediate| under_load(&host, first / 2, immediate));
    let at_first = Resources::calm(&host);
    let phases = [false, true].map(|immediate| under_load(&host, half, immediate));
    let at_last = Resources::calm(&host);
    resources::report(&mut report, "kills", (first, &at_first), (first + 2 * half, &at_last));

    let [graceful, immediate] = &phases;
    for (name, phase) in [("graceful", graceful), ("immediate", immediate)] {
        let number = |key: &str| phase.seen[key].as_f64().unwrap_or(f64::NAN);
        report.row(format!("{name}: answered requests"), "requests", vec![number("answered")]);
        report.row(format!("{name}: p99"), "us", vec![number("p99")]);
        report.row(format!("{name}: time of a kill of one worker"), "ms", vec![phase.took]);
    }
    let failed = |phase: &Phase| phase.seen["failed"].as_u64().unwrap_or(u64::MAX);
    report.row("graceful: failed requests", "requests", vec![failed(graceful) as f64]);
    report.target(Target::AtMost(0.0));
    report.row("immediate: failed requests, the calls in flight", "requests", vec![failed(immediate) as f64]);
    let other = |phase: &Phase| failed(phase).abs_diff(phase.crashed) as f64;
    report.row("immediate: failed requests that were not in flight", "requests", vec![other(immediate)]);
    report.target(Target::AtMost(0.0));
    assert!(warm.iter().all(|phase| other(phase) == 0.0), "the first kills failed other requests");
    report
}

/// Kills single workers, this number of times, while requests arrive at a fixed rate.
fn under_load(host: &Served, kills: u32, immediate: bool) -> Phase {
    let load = Load::start(LOAD_CORE, &host.http, "/api/snapshot/count", RATE);
    let (mut took, mut crashed) = (Duration::ZERO, 0);
    for number in 0..kills {
        let body = format!("{{\"id\":{},\"immediate\":{immediate}}}", number % WORKERS);
        thread::sleep(PAUSE);
        let begun = Instant::now();
        let answer = host.admin("POST", "/v1/workers/kill", &body);
        took += begun.elapsed();
        let killed: Value = serde_json::from_str(&answer).unwrap_or_else(|_| panic!("{answer}"));
        crashed += killed[0]["modules"][0]["crashed"].as_u64().unwrap_or_else(|| panic!("{answer}"));
    }
    Phase { seen: load.stop(), crashed, took: took.as_secs_f64() * 1e3 / f64::from(kills) }
}
