//! Thousands of swaps under traffic, of which every tenth is rejected. Shows what grows.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::paced::Load;
use crate::report::{Report, Row, Target};
use crate::served::{Served, variant};
use crate::swap::LOAD_CORE;
use crate::{Effort, machine};

/// The number of different components of each of the two guests.
const VARIANTS: u32 = 8;

/// One swap in this number has a component that was never compiled before.
const UNSEEN: u32 = 100;

const RATE: f64 = 2_000.0;

/// The resources of a process.
#[derive(Debug, Clone, Copy)]
struct Resources {
    resident: f64,
    threads: f64,
    descriptors: f64,
    /// Mappings of compiled components.
    artefacts: f64,
    /// All mappings.
    mappings: f64,
    /// Lines of `/metrics`.
    metrics: f64,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("soak");
    if !machine::has("taskset") {
        report.not_run("soak", "taskset is not installed (Debian package util-linux)");
        return report;
    }
    let swaps = effort.swaps / effort.divisor;
    let dir = machine::empty_dir("soak");
    machine::test_guest(&dir.join("modules"), "snapshot");
    let host = Served::start(&dir, None);
    let manifest = manifest(&dir);
    let load = Load::start(LOAD_CORE, &host.http, "/api/snapshot/count", RATE);
    let guests = ["snapshot", "snapshot-next"].map(|guest| fs::read(machine::test_component(guest)).unwrap());

    let first = (swaps / 10).max(1);
    let (mut at_first, mut rejected, mut broadcasts) = (None, 0, 0);
    let begun = Instant::now();
    for number in 1..=swaps {
        let of = guests[number as usize % 2].as_slice();
        let component = variant(of, if number % UNSEEN == 0 { number } else { number / 2 % VARIANTS });
        if number % 10 == 5 {
            rejected += 1;
            reject(&host, number, &component, &manifest);
            continue;
        }
        host.put("snapshot", "snapshot.wasm", &component);
        let outcome = host.reload("snapshot");
        assert_eq!(
            (&outcome["outcome"], &outcome["running"]),
            (&json!("swapped"), &json!(0)),
            "swap {number}: {outcome}"
        );
        broadcasts += 1;
        let receipt = host.admin("POST", "/v1/modules/snapshot/broadcasts/mark", "");
        assert!(receipt.contains(r#""accepted":2"#), "{receipt}");
        if number == first || number % (swaps / 10).max(1) == 0 {
            let resources = Resources::calm(&host);
            at_first.get_or_insert(resources);
            println!("{number} swaps, {:.0?}: {resources:?}", begun.elapsed());
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let at_last = Resources::calm(&host);
    let seen = load.stop();
    assert_nothing_lost(&host, &seen, broadcasts);

    let at_first = at_first.unwrap();
    let row = |report: &mut Report, what: &str, unit, of: fn(&Resources) -> f64| -> [Row; 2] {
        [(first, &at_first), (swaps, &at_last)]
            .map(|(count, process)| report.row(format!("{what}, after {count} swaps"), unit, vec![of(process)]))
    };
    let [before, after] = row(&mut report, "resident memory", "MB", |process| process.resident);
    report.ratio("resident memory, last / first", &after, &before, Some(Target::AtMost(1.05)));
    for (what, unit, of) in [
        ("threads", "threads", (|process| process.threads) as fn(&Resources) -> f64),
        ("file descriptors", "descriptors", |process| process.descriptors),
        ("mapped artefacts", "mappings", |process| process.artefacts),
        ("all mappings", "mappings", |process| process.mappings),
        ("lines of /metrics", "lines", |process| process.metrics),
    ] {
        let [before, after] = row(&mut report, what, unit, of);
        let more = |parts: &[f64]| parts[0] - parts[1];
        let most = if what == "all mappings" { 8.0 } else { 0.0 };
        report.derived(format!("{what}, increase"), unit, &[&after, &before], more, Some(Target::AtMost(most)));
    }
    report.row("completed swaps", "swaps", vec![f64::from(swaps - rejected)]);
    report.row("rejected swaps, as intended", "swaps", vec![f64::from(rejected)]);
    report.row("answered requests", "requests", vec![seen["answered"].as_f64().unwrap()]);
    report.row("failed requests", "requests", vec![seen["failed"].as_f64().unwrap()]);
    report.target(Target::AtMost(0.0));
    report.row("average time of a swap, with traffic", "ms", vec![took * 1e3 / f64::from(swaps)]);
    report
}

fn manifest(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("modules/snapshot/module.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Requests a swap that is rejected, each time for another reason, and restores the manifest.
fn reject(host: &Served, number: u32, component: &[u8], manifest: &Value) {
    let with = |config: Value| {
        let mut manifest = manifest.clone();
        manifest["config"] = config;
        manifest.to_string()
    };
    let broken = &component[..component.len() / 2];
    let (component, config) = match number / 10 % 6 {
        0 => (broken, json!({})),
        1 => (component, json!({ "load": "fails" })),
        2 => (component, json!({ "load": "traps", "worker": 1 })),
        3 => (component, json!({ "startup": "fails" })),
        4 => (component, json!({ "startup": "traps", "worker": 1 })),
        _ => (component, json!({ "rotues": [] })),
    };
    let text = match config.get("rotues") {
        Some(_) => manifest.to_string().replace("\"routes\"", "\"rotues\""),
        None => with(config),
    };
    host.put("snapshot", "module.json", text.as_bytes());
    host.put("snapshot", "snapshot.wasm", component);
    let outcome = host.reload("snapshot");
    assert_eq!(outcome["code"], "refused", "swap {number}: {outcome}");
    host.put("snapshot", "module.json", manifest.to_string().as_bytes());
}

/// Asserts that the state contains every answered request and every broadcast.
fn assert_nothing_lost(host: &Served, seen: &Value, broadcasts: u64) {
    let mut counts = 0;
    for worker in [0, 1] {
        let look = host.admin("POST", &format!("/v1/modules/snapshot/call?target=worker-{worker}&path=look"), "");
        let look: Value = serde_json::from_str(&look).unwrap();
        let look: Value = serde_json::from_str(look["payload"].as_str().unwrap()).unwrap();
        counts += look["count"].as_u64().unwrap();
        assert_eq!(look["heard"], broadcasts, "no broadcast is lost or doubled: {look}");
    }
    assert_eq!(Some(counts), seen["answered"].as_u64(), "every answered request counts once");
}

impl Resources {
    /// The minimum of ten samples in a second, because a previous generation may still drain.
    fn calm(host: &Served) -> Resources {
        let metrics = host.admin("GET", "/metrics", "").lines().count() as f64;
        let samples: Vec<Resources> = (0..10)
            .map(|_| {
                thread::sleep(Duration::from_millis(100));
                Resources::now(host.id(), metrics)
            })
            .collect();
        let least = |of: fn(&Resources) -> f64| samples.iter().map(of).fold(f64::INFINITY, f64::min);
        Resources {
            resident: least(|process| process.resident),
            threads: least(|process| process.threads),
            descriptors: least(|process| process.descriptors),
            artefacts: least(|process| process.artefacts),
            mappings: least(|process| process.mappings),
            metrics,
        }
    }

    fn now(id: u32, metrics: f64) -> Resources {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse().unwrap()
        };
        let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
        Resources {
            resident: field("VmRSS:") / 1024.0,
            threads: field("Threads:"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as f64,
            artefacts: maps.lines().filter(|line| line.contains(".cwasm")).count() as f64,
            mappings: maps.lines().count() as f64,
            metrics,
        }
    }
}
