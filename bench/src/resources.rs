//! What a process uses, and rows that show whether it grows.

use std::fs;
use std::thread;
use std::time::Duration;

use crate::report::{Report, Row, Target};
use crate::served::Served;

/// The resources of a process.
#[derive(Debug, Clone, Copy)]
pub struct Resources {
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

/// Compares the resources after a number of swaps or kills with those after more of them.
pub fn report(report: &mut Report, of: &str, first: (u32, &Resources), last: (u32, &Resources)) {
    let row = |report: &mut Report, what: &str, unit, get: fn(&Resources) -> f64| -> [Row; 2] {
        [first, last]
            .map(|(count, process)| report.row(format!("{what}, after {count} {of}"), unit, vec![get(process)]))
    };
    let [before, after] = row(report, "resident memory", "MB", |process| process.resident);
    report.ratio("resident memory, last / first", &after, &before, Some(Target::AtMost(1.05)));
    for (what, unit, get) in [
        ("threads", "threads", (|process| process.threads) as fn(&Resources) -> f64),
        ("file descriptors", "descriptors", |process| process.descriptors),
        ("mapped artefacts", "mappings", |process| process.artefacts),
        ("all mappings", "mappings", |process| process.mappings),
        ("lines of /metrics", "lines", |process| process.metrics),
    ] {
        let [before, after] = row(report, what, unit, get);
        let more = |parts: &[f64]| parts[0] - parts[1];
        let most = if what == "all mappings" { 8.0 } else { 0.0 };
        report.derived(format!("{what}, increase"), unit, &[&after, &before], more, Some(Target::AtMost(most)));
    }
}

impl Resources {
    /// The minimum of ten samples in a second, because a previous generation may still drain.
    pub fn calm(host: &Served) -> Resources {
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
