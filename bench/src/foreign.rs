//! Components of `wasi:http` in Fanfare, beside `ProxyHandler` and `wasmtime serve`, and bodies of
//! 1 GiB beside bare hyper. Each server has one core.

pub mod bodies;

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::http::{LOAD_CORE, PATIENCE, Running, Server, bare_hyper, free_port, pinned, proxy, two_cores, wait_for};
use crate::report::{Report, Row, Target};
use crate::{Effort, machine};

const GIB: u64 = 1 << 30;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("foreign");
    if let Err(why) = two_cores() {
        report.not_run("components of wasi:http", why);
        return report;
    }
    requests(&mut report, effort);
    large_bodies(&mut report, effort);
    report
}

/// One version of `wasi:http` in all servers.
struct Version {
    name: &'static str,
    component: &'static str,
    /// The ratio to `ProxyHandler`.
    target: f64,
}

const VERSIONS: [Version; 2] = [
    Version { name: "0.3", component: "proxy-hello", target: 1.2 },
    Version { name: "0.2", component: "proxy-hello-p2", target: 1.0 },
];

fn requests(report: &mut Report, effort: Effort) {
    for Version { name, component, target } in VERSIONS {
        let mut servers = vec![fanfare(&format!("fanfare, {name}"), &machine::component(component), json!({}))];
        servers.push(proxy(&format!("ProxyHandler, {name}"), component, &[]));
        match machine::has("wasmtime") {
            true => servers.push(crate::http::wasmtime_serve(&format!("`wasmtime serve`, {name}"), component)),
            false => report.not_run(format!("`wasmtime serve`, {name}"), "wasmtime is not installed"),
        }
        for _ in 0..effort.rounds {
            servers.iter_mut().for_each(|server| server.measure(effort));
        }
        let rates: Vec<Row> = servers
            .iter()
            .map(|server| report.row(server.name.clone(), "requests/s", server.requests.clone()))
            .collect();
        let costs: Vec<Row> = servers
            .iter()
            .map(|server| {
                report.row(format!("{}, processor time for a request", server.name), "us", server.processor.clone())
            })
            .collect();
        for (place, server) in servers.iter().enumerate().skip(1) {
            let what = format!("fanfare / {}", server.name);
            report.ratio(what.clone(), &rates[0], &rates[place], Some(Target::AtLeast(target)));
            report.ratio(format!("{what}, by processor time"), &costs[place], &costs[0], None);
        }
    }
}

/// `fanfare serve` with one module, which is a component of `wasi:http`.
fn fanfare(name: &str, component: &Path, settings: Value) -> Server {
    let dir = machine::empty_dir(&format!("foreign-{}", name.replace(|c: char| !c.is_ascii_alphanumeric(), "-")));
    let file = component.file_name().unwrap().to_string_lossy();
    machine::module(&dir.join("modules"), "foreign", &json!({ "component": file }).to_string(), component);
    let mut config = json!({ "stateDir": machine::state_dir(), "admin": { "listen": "127.0.0.1:0" } });
    config.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    fs::write(dir.join("fanfare.json"), config.to_string()).unwrap();
    let program = machine::fanfare();
    Server::new(name, "/api/foreign/", move |port| {
        let mut command = pinned(&program);
        command.current_dir(&dir).args(["serve", "--workers", "1", "--env", "production", "--listen"]);
        command.arg(format!("127.0.0.1:{port}"));
        command
    })
}

fn large_bodies(report: &mut Report, effort: Effort) {
    let size = GIB / u64::from(effort.divisor);
    let guest = machine::test_component("http-3");
    let ours = fanfare("fanfare, wasi:http 0.3", &guest, json!({ "http": { "maxBody": "1GiB" } }));
    let servers = [(ours, "/api/foreign"), (bare_hyper(), "")];
    for (what, path) in [("to the client", format!("download/{size}")), ("from the client", "upload".to_owned())] {
        let mut rates: [Vec<f64>; 2] = Default::default();
        let mut memory: [Vec<f64>; 2] = Default::default();
        for _ in 0..effort.rounds {
            for (index, (server, root)) in servers.iter().enumerate() {
                let port = free_port();
                let mut command = (server.start)(port);
                let running = Running::start(&mut command);
                wait_for(port);
                // The first body creates what the server keeps.
                transfer(port, &format!("{root}/{path}"), size);
                let before = running.memory(Memory::Now);
                running.forget_highest();
                rates[index].push(transfer(port, &format!("{root}/{path}"), size));
                if index == 0 {
                    memory[0].push(before);
                    memory[1].push(running.memory(Memory::Highest));
                }
            }
        }
        let [ours, bare] = rates;
        let ours = report.row(format!("fanfare, wasi:http 0.3, 1 GiB {what}"), "MB/s", ours);
        let bare = report.row(format!("bare hyper, 1 GiB {what}"), "MB/s", bare);
        report.ratio(format!("fanfare / bare hyper, 1 GiB {what}"), &ours, &bare, None);
        let [before, highest] = memory;
        let before = report.row(format!("fanfare, resident memory before 1 GiB {what}"), "MB", before);
        let highest = report.row(format!("fanfare, highest resident memory during 1 GiB {what}"), "MB", highest);
        let more = |parts: &[f64]| parts[0] - parts[1];
        let what = format!("resident memory, increase by 1 GiB {what}");
        report.derived(what, "MB", &[&highest, &before], more, Some(Target::AtMost(4.0)));
    }
}

/// Which figure of the memory of a process.
#[derive(Clone, Copy)]
enum Memory {
    Now,
    Highest,
}

impl Running {
    /// The resident memory in MB.
    fn memory(&self, which: Memory) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let name = match which {
            Memory::Now => "VmRSS:",
            Memory::Highest => "VmHWM:",
        };
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }

    /// Sets the highest resident memory to that of now (proc(5), `clear_refs`).
    fn forget_highest(&self) {
        fs::write(format!("/proc/{}/clear_refs", self.0.id()), "5").unwrap();
    }
}

/// Transfers a body from another core. Returns MB/s.
fn transfer(port: u16, path: &str, size: u64) -> f64 {
    let command = &mut Command::new("taskset");
    command.args(["-c", LOAD_CORE]).arg(std::env::current_exe().unwrap());
    command.args(["transfer", &port.to_string(), path, &size.to_string(), &PATIENCE.as_secs().to_string()]);
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let seconds: f64 = text.trim().parse().unwrap_or_else(|_| panic!("{command:?}: {output:?}"));
    size as f64 / 1e6 / seconds
}
