//! Thousands of swaps under traffic, of which every tenth is rejected. Shows what grows.

use std::fs;
use std::path::Path;
use std::time::Instant;

use serde_json::{Value, json};

use crate::paced::Load;
use crate::report::{Report, Target};
use crate::resources::{self, Resources};
use crate::served::{Served, variant};
use crate::swap::LOAD_CORE;
use crate::{Effort, machine};

/// The number of different components of each of the two guests.
const VARIANTS: u32 = 8;

/// One swap in this number has a component that was never compiled before.
const UNSEEN: u32 = 100;

const RATE: f64 = 2_000.0;

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

    resources::report(&mut report, "swaps", (first, &at_first.unwrap()), (swaps, &at_last));
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
