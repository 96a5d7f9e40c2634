//! Thousands of swaps under traffic, every tenth one refused: what grows.

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

/// Components that take turns, of two guests.
const VARIANTS: u32 = 8;

/// Every so many swaps there is one that has never been seen before.
const UNSEEN: u32 = 100;

const RATE: f64 = 2_000.0;

/// What a process holds.
#[derive(Debug, Clone, Copy)]
struct Held {
    resident: f64,
    threads: f64,
    descriptors: f64,
    /// Mappings of compiled components, and all.
    artefacts: f64,
    mappings: f64,
    /// Lines of `/metrics`.
    metrics: f64,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("soak");
    if !machine::has("taskset") {
        report.not_run("swaps by the thousand", "taskset is not installed");
        return report;
    }
    let swaps = effort.swaps / effort.less;
    let dir = machine::empty_dir("soak");
    machine::test_guest(&dir.join("modules"), "snapshot");
    let host = Served::start(&dir, None);
    let manifest = manifest(&dir);
    let load = Load::start(LOAD_CORE, &host.http, "/api/snapshot/count", RATE);
    let guests = ["snapshot", "snapshot-next"].map(|guest| fs::read(machine::test_component(guest)).unwrap());

    let first = (swaps / 10).max(1);
    let (mut at_first, mut refused, mut broadcasts) = (None, 0, 0);
    let begun = Instant::now();
    for number in 1..=swaps {
        let of = guests[number as usize % 2].as_slice();
        let component = variant(of, if number % UNSEEN == 0 { number } else { number / 2 % VARIANTS });
        if number % 10 == 5 {
            refused += 1;
            refuse(&host, number, &component, &manifest);
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
            let held = Held::calm(&host);
            at_first.get_or_insert(held);
            println!("{number} swaps, {:.0?}: {held:?}", begun.elapsed());
        }
    }
    let took = begun.elapsed().as_secs_f64();
    let at_last = Held::calm(&host);
    let seen = load.stop();
    told(&host, &seen, broadcasts);

    let at_first = at_first.unwrap();
    let row = |report: &mut Report, what: &str, unit, of: fn(&Held) -> f64| -> [Row; 2] {
        [(first, &at_first), (swaps, &at_last)]
            .map(|(count, held)| report.row(format!("{what}, after {count} swaps"), unit, vec![of(held)]))
    };
    let [before, after] = row(&mut report, "resident memory", "MB", |held| held.resident);
    report.ratio("resident memory, last beside first", &after, &before, Some(Target::AtMost(1.05)));
    for (what, unit, of) in [
        ("threads", "threads", (|held| held.threads) as fn(&Held) -> f64),
        ("file descriptors", "descriptors", |held| held.descriptors),
        ("mapped artefacts", "mappings", |held| held.artefacts),
        ("all mappings", "mappings", |held| held.mappings),
        ("lines of /metrics", "lines", |held| held.metrics),
    ] {
        let [before, after] = row(&mut report, what, unit, of);
        let more = |parts: &[f64]| parts[0] - parts[1];
        let most = if what == "all mappings" { 8.0 } else { 0.0 };
        report.derived(format!("{what}, more at last"), unit, &[&after, &before], more, Some(Target::AtMost(most)));
    }
    report.row("swaps that took place", "swaps", vec![f64::from(swaps - refused)]);
    report.row("swaps that were refused, as they should be", "swaps", vec![f64::from(refused)]);
    report.row("requests answered meanwhile", "requests", vec![seen["answered"].as_f64().unwrap()]);
    report.row("requests that failed", "requests", vec![seen["failed"].as_f64().unwrap()]);
    report.target(Target::AtMost(0.0));
    report.row("a swap, on average, with traffic", "ms", vec![took * 1e3 / f64::from(swaps)]);
    report
}

fn manifest(dir: &Path) -> Value {
    let text = fs::read_to_string(dir.join("modules/snapshot/module.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Something that is refused, each time for another reason, and the manifest as it was.
fn refuse(host: &Served, number: u32, component: &[u8], manifest: &Value) {
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

/// Every answered request and every broadcast is in the state that went over.
fn told(host: &Served, seen: &Value, broadcasts: u64) {
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

impl Held {
    /// The least of a second's looks, since an old generation may be on its way out.
    fn calm(host: &Served) -> Held {
        let metrics = host.admin("GET", "/metrics", "").lines().count() as f64;
        let looks: Vec<Held> = (0..10)
            .map(|_| {
                thread::sleep(Duration::from_millis(100));
                Held::now(host.id(), metrics)
            })
            .collect();
        let least = |of: fn(&Held) -> f64| looks.iter().map(of).fold(f64::INFINITY, f64::min);
        Held {
            resident: least(|held| held.resident),
            threads: least(|held| held.threads),
            descriptors: least(|held| held.descriptors),
            artefacts: least(|held| held.artefacts),
            mappings: least(|held| held.mappings),
            metrics,
        }
    }

    fn now(id: u32, metrics: f64) -> Held {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let field = |name: &str| -> f64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.trim().trim_end_matches(" kB").trim().parse().unwrap()
        };
        let maps = fs::read_to_string(format!("/proc/{id}/maps")).unwrap();
        Held {
            resident: field("VmRSS:") / 1024.0,
            threads: field("Threads:"),
            descriptors: fs::read_dir(format!("/proc/{id}/fd")).unwrap().count() as f64,
            artefacts: maps.lines().filter(|line| line.contains(".cwasm")).count() as f64,
            mappings: maps.lines().count() as f64,
            metrics,
        }
    }
}
