//! The cost of a swap for concurrent requests, at half the rate that the host can serve.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::paced::Load;
use crate::report::{Report, Target};
use crate::served::{Served, variant};
use crate::{Effort, machine};

pub const SERVER_CORE: &str = "0";
pub const LOAD_CORE: &str = "1";

/// The time from the start of one swap to the start of the next, unless a swap takes longer.
const EVERY: Duration = Duration::from_millis(100);

/// A module under load.
struct Subject {
    name: &'static str,
    module: &'static str,
    file: &'static str,
    path: &'static str,
    /// The two components that alternate.
    components: [Vec<u8>; 2],
    calm: Seen,
    cached: Seen,
    cold: Seen,
    saturated: Vec<f64>,
}

/// One value for each round.
#[derive(Default)]
struct Seen {
    p50: Vec<f64>,
    p99: Vec<f64>,
    failed: Vec<f64>,
    swap_p50: Vec<f64>,
    swap_p99: Vec<f64>,
}

impl Seen {
    fn note(&mut self, seen: &Value, mut swaps: Vec<f64>) {
        let number = |key: &str| seen[key].as_f64().unwrap_or(f64::NAN);
        self.p50.push(number("p50"));
        self.p99.push(number("p99"));
        self.failed.push(number("failed"));
        swaps.sort_by(f64::total_cmp);
        if let Some(last) = swaps.len().checked_sub(1) {
            self.swap_p50.push(swaps[last / 2]);
            self.swap_p99.push(swaps[last * 99 / 100]);
        }
    }
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("swap");
    if !machine::has("taskset") || std::thread::available_parallelism().map_or(1, usize::from) < 2 {
        report.not_run("swaps under load", "needs taskset and two cores: one for the host and one for the load");
        return report;
    }
    let dir = machine::empty_dir("swap");
    let modules = dir.join("modules");
    machine::guest(&modules, "hello", "hello");
    machine::test_guest(&modules, "snapshot");
    let hello = fs::read(machine::component("hello")).unwrap();
    let snapshots = ["snapshot", "snapshot-next"].map(|guest| fs::read(machine::test_component(guest)).unwrap());
    let subject = |name, module, file, path, components| Subject {
        name,
        module,
        file,
        path,
        components,
        calm: Seen::default(),
        cached: Seen::default(),
        cold: Seen::default(),
        saturated: Vec::new(),
    };
    let mut subjects = [
        subject("hello", "hello", "hello.wasm", "/api/hello/", [hello.clone(), variant(&hello, 0)]),
        subject("with state", "snapshot", "snapshot.wasm", "/api/snapshot/count", snapshots),
    ];
    let host = Served::start(&dir, Some(SERVER_CORE));
    for subject in &subjects {
        // Both are compiled before the first measurement.
        subject.swap(&host, &subject.components[1]);
        subject.swap(&host, &subject.components[0]);
    }
    let phase = Duration::from_secs(5) / effort.divisor.min(5);
    let mut number = 0;
    for _ in 0..effort.rounds {
        for subject in &mut subjects {
            subject.measure(&host, phase, &mut number);
        }
    }
    for subject in &subjects {
        subject.summarise(&mut report);
    }
    report
}

impl Subject {
    fn swap(&self, host: &Served, component: &[u8]) -> f64 {
        host.put(self.module, self.file, component);
        let begun = Instant::now();
        let outcome = host.reload(self.module);
        assert_eq!(outcome["outcome"], "swapped", "{outcome}");
        begun.elapsed().as_secs_f64() * 1e3
    }

    /// Sends requests for the time of a phase, and swaps the next component every `EVERY` if there
    /// is one.
    fn under_load(
        &self,
        host: &Served,
        rate: f64,
        phase: Duration,
        mut next: impl FnMut() -> Option<Vec<u8>>,
    ) -> (Value, Vec<f64>) {
        let load = Load::start(LOAD_CORE, &host.http, self.path, rate);
        let begun = Instant::now();
        let mut swaps = Vec::new();
        let mut due = begun + EVERY;
        while begun.elapsed() < phase {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            due = (due + EVERY).max(Instant::now());
            if let Some(component) = next() {
                swaps.push(self.swap(host, &component));
            }
        }
        (load.stop(), swaps)
    }

    fn measure(&mut self, host: &Served, phase: Duration, number: &mut u32) {
        let (saturated, _) = self.under_load(host, 0.0, phase / 2, || None);
        let saturated = saturated["rate"].as_f64().unwrap();
        self.saturated.push(saturated);
        let rate = saturated / 2.0;
        let (calm, _) = self.under_load(host, rate, phase, || None);
        self.calm.note(&calm, Vec::new());
        let mut turn = 0;
        let (cached, swaps) = self.under_load(host, rate, phase, || {
            turn += 1;
            Some(self.components[turn % 2].clone())
        });
        self.cached.note(&cached, swaps);
        let unseen = u32::from(std::process::id() as u16) << 16;
        let (cold, swaps) = self.under_load(host, rate, phase, || {
            *number += 1;
            Some(variant(&self.components[0], unseen + *number))
        });
        self.cold.note(&cold, swaps);
    }

    fn summarise(&self, report: &mut Report) {
        let name = self.name;
        report.row(format!("{name}: highest rate"), "requests/s", self.saturated.clone());
        report.row(format!("{name}: at half that rate, no swaps, p50"), "us", self.calm.p50.clone());
        let calm = report.row(format!("{name}: at half that rate, no swaps, p99"), "us", self.calm.p99.clone());
        let every = EVERY.as_millis();
        for (what, seen, target) in [
            (format!("a swap every {every} ms, compiled before"), &self.cached, Some(Target::AtMost(2.0))),
            ("one cold swap after another, each compiled first".to_owned(), &self.cold, None),
        ] {
            report.row(format!("{name}: {what}, p50"), "us", seen.p50.clone());
            let p99 = report.row(format!("{name}: {what}, p99"), "us", seen.p99.clone());
            report.ratio(format!("{name}: {what}, p99 / no swaps"), &p99, &calm, target);
            report.row(format!("{name}: {what}, failed requests"), "requests", seen.failed.clone());
            report.target(Target::AtMost(0.0));
            report.row(format!("{name}: {what}, time of a swap, p50"), "ms", seen.swap_p50.clone());
            report.row(format!("{name}: {what}, time of a swap, p99"), "ms", seen.swap_p99.clone());
        }
    }
}
