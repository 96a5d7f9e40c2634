//! The time from exec to ready with twenty modules, and the memory of an idle host.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::json;

use crate::report::{Report, Target};
use crate::{Effort, http, machine};

const MODULES: u32 = 20;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("start");
    let dir = machine::empty_dir("start");
    let modules = dir.join("modules");
    let hello = fs::read(machine::component("hello")).unwrap();
    let manifest = fs::read_to_string(machine::root().join("bench/guests/hello/module.json")).unwrap();
    for number in 0..MODULES {
        // Different bytes, so that the host compiles and caches each on its own.
        let name = format!("m{number:02}");
        let component = dir.join("hello.wasm");
        fs::write(&component, [hello.as_slice(), &custom_section(&name)].concat()).unwrap();
        machine::module(&modules, &name, &manifest, &component);
    }
    let listen = json!({ "listen": "127.0.0.1:0" });
    fs::write(dir.join("fanfare.json"), json!({ "http": listen, "admin": listen }).to_string()).unwrap();

    let (mut cold, mut cached, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    let paths = [0, MODULES - 1].map(|number| format!("/api/m{number:02}/"));
    for _ in 0..effort.rounds {
        let _ = fs::remove_dir_all(dir.join(".fanfare"));
        cold.push(ready(&dir, 2, &paths).0);
        // The first start filled the cache, so these find everything compiled.
        let mut both: Vec<_> = (0..3).map(|_| ready(&dir, 2, &paths)).collect();
        both.sort_by(|a, b| a.0.total_cmp(&b.0));
        cached.push(both[1].0);
        memory.push(both[1].1);
    }
    report.row("exec to ready, 20 Rust modules, 2 workers, compiled before", "ms", cached);
    report.target(Target::AtMost(100.0));
    report.row("exec to ready, nothing compiled before", "ms", cold);
    report.row("resident memory of that host while idle", "MB", memory);
    report
}

/// Returns a custom section, which changes nothing but the bytes of a component.
fn custom_section(name: &str) -> Vec<u8> {
    let mut section = vec![0, u8::try_from(name.len()).unwrap() + 1, u8::try_from(name.len()).unwrap()];
    section.extend(name.as_bytes());
    section
}

/// The milliseconds until the host reports that it serves, and its megabytes after it has answered
/// a request for each of the paths.
pub fn ready(dir: &Path, workers: u32, paths: &[String]) -> (f64, f64) {
    let mut command = Command::new(machine::fanfare());
    command.current_dir(dir).args(["serve", "--workers", &workers.to_string()]);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let begun = Instant::now();
    let mut child = command.spawn().unwrap();
    let line = http::first_line(&mut child);
    let elapsed = begun.elapsed().as_secs_f64() * 1e3;
    let address = line.trim().strip_prefix("fanfare serves http://").unwrap_or_else(|| panic!("{line}"));
    for path in paths {
        let answer = get(address, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    let kilobytes: f64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    (elapsed, kilobytes / 1024.0)
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}
