//! What a module costs in each language: its calls, its memory, the time to load it.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::node::Node;
use crate::report::Report;
use crate::{Effort, calls, interleaved, machine, start};

/// Each language with the component that its SDK made of the module in `sdk/cases`, or, without an
/// SDK, that of `tests/guests/languages`. All have the handler `echo`.
const LANGUAGES: [(&str, &str); 6] = [
    ("Rust", "tests/guests/conformance/conformance.wasm"),
    ("C", "target/languages/c-sdk/c-sdk.wasm"),
    ("JavaScript", "target/languages/javascript-sdk/javascript-sdk.wasm"),
    ("QuickJS, without an SDK", "target/languages/javascript/javascript.wasm"),
    ("Python", "target/languages/python-sdk/python-sdk.wasm"),
    ("StarlingMonkey, without an SDK", "target/languages/starlingmonkey/starlingmonkey.wasm"),
];

/// Room for the memory that some languages lose in every call.
const LIMIT: &str = "1GiB";

/// Calls before memory is measured for the first time, so that the heap has its working size.
const WARM: u32 = 20_000;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("languages");
    let dir = machine::empty_dir("languages");
    report.row(
        "exec to ready without modules",
        "ms",
        exec_to_ready(&project(&dir, "none", None), effort.rounds, false),
    );
    for (language, component) in LANGUAGES {
        let component = machine::root().join(component);
        if !component.exists() {
            report.not_run(language, "not built: run tests/guests/languages/build");
            continue;
        }
        let size = fs::metadata(&component).unwrap().len() as f64 / 1e6;
        report.row(format!("{language}, size of the component"), "MB", vec![size]);
        let project = project(&dir, language.split(',').next().unwrap(), Some(&component));
        let rounds = effort.rounds.min(2);
        report.row(format!("{language}, exec to ready"), "ms", exec_to_ready(&project, effort.rounds, false));
        report.row(
            format!("{language}, exec to ready, nothing compiled before"),
            "ms",
            exec_to_ready(&project, rounds, true),
        );
        of_calls(&mut report, language, &project.join("modules"), effort);
    }
    report
}

/// The time of a call and the memory of the instance.
fn of_calls(report: &mut Report, language: &str, modules: &Path, effort: Effort) {
    let node = Node::start(modules, 1);
    let calls = 40_000 / effort.divisor;
    let call = |in_flight| calls::resident(&node, "POST echo/echo", calls, in_flight);
    let [one, many] = interleaved(effort.rounds, [&mut || call(1), &mut || call(64)]);
    report.row(format!("{language}, a call, one at a time"), "us", one);
    report.row(format!("{language}, a call, 64 in flight"), "us", many);
    // Instances start with the memory that they need for a few calls at once.
    let node = Node::start(modules, 1);
    report.row(format!("{language}, memory of an instance before its first call"), "MiB", vec![memory(&node) / MIB]);
    calls::resident(&node, "POST echo/echo", WARM, 64);
    let before = memory(&node);
    let calls = 5 * calls;
    calls::resident(&node, "POST echo/echo", calls, 64);
    let after = memory(&node);
    report.row(format!("{language}, memory of an instance after {WARM} calls"), "MiB", vec![before / MIB]);
    // `resident` adds a twentieth to warm up.
    let lost = (after - before) / (1.05 * f64::from(calls));
    report.row(format!("{language}, memory lost with each further call"), "bytes", vec![lost]);
}

const MIB: f64 = 1_048_576.0;

/// The linear memory of the only instance.
fn memory(node: &Node) -> f64 {
    node.host().status().isolates.iter().map(|isolate| isolate.memory as f64).sum()
}

/// A project that has no module, or one with the handler `echo`.
fn project(dir: &Path, name: &str, component: Option<&Path>) -> PathBuf {
    let dir = dir.join(name);
    fs::create_dir_all(dir.join("modules")).unwrap();
    if let Some(component) = component {
        let manifest = json!({
            "component": component.file_name().unwrap().to_str(),
            "routes": [{ "path": "echo", "handler": "echo" }],
            "limits": { "memory": LIMIT },
        });
        machine::module(&dir.join("modules"), "echo", &manifest.to_string(), component);
    }
    let listen = json!({ "listen": "127.0.0.1:0" });
    let settings = json!({ "http": listen, "admin": listen, "limits": { "max": { "memory": LIMIT } } });
    fs::write(dir.join("fanfare.json"), settings.to_string()).unwrap();
    dir
}

/// Milliseconds until a host with one worker serves. It finds everything compiled, unless it starts
/// `cold`.
fn exec_to_ready(project: &Path, rounds: usize, cold: bool) -> Vec<f64> {
    let ready = || {
        if cold {
            let _ = fs::remove_dir_all(project.join(".fanfare"));
        }
        start::ready(project, 1, &[]).0
    };
    if !cold {
        ready();
    }
    (0..rounds).map(|_| ready()).collect()
}
