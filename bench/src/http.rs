//! HTTP hello through a guest on one core, compared with other servers that send the same response.

pub mod bare;

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::report::{Report, Row, Target};
use crate::{Effort, calls, machine};

const SERVER_CORE: &str = "0";
pub const LOAD_CORE: &str = "1";
const CONNECTIONS: &str = "32";

/// A server under load.
pub struct Server {
    pub name: String,
    path: &'static str,
    /// Builds the command that starts the server, listening on a port.
    pub start: Box<dyn Fn(u16) -> Command>,
    pub requests: Vec<f64>,
    /// The processor time for a request, which other load on the core changes little.
    pub processor: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
}

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("http");
    if let Err(why) = two_cores() {
        report.not_run("HTTP hello", why);
        return report;
    }
    let mut servers = vec![
        fanfare(),
        bare_hyper(),
        proxy("ProxyHandler, wasi:http 0.2, an instance for each request", "proxy-hello-p2", &[]),
        proxy("ProxyHandler, wasi:http 0.3, as `wasmtime serve` sets it", "proxy-hello", &[]),
        proxy("ProxyHandler, wasi:http 0.3, an instance for 10,000 requests", "proxy-hello", &["10000", "64"]),
    ];
    match machine::has("node") {
        true => servers.push(node()),
        false => report.not_run("node http", "node is not installed"),
    }
    match machine::has("wasmtime") {
        true => {
            let server = wasmtime_serve("`wasmtime serve`", "proxy-hello");
            match server.probe() {
                Ok(()) => servers.push(server),
                Err(why) => report.not_run("`wasmtime serve`", why),
            }
        }
        false => report.not_run("`wasmtime serve`", "wasmtime is not installed"),
    }
    let guest = crate::bare::Guest::load(&machine::component("hello"));
    let mut guest_calls = Vec::new();
    for _ in 0..effort.rounds {
        for server in &mut servers {
            server.measure(effort);
        }
        guest_calls.push(calls::bare_resident(&guest, 200_000 / effort.divisor, 32));
    }
    summarise(&mut report, &servers, guest_calls);
    report
}

/// Why there can be no load on a core of its own.
pub fn two_cores() -> Result<(), &'static str> {
    if !machine::has("wrk") {
        return Err("wrk is not installed (Debian package wrk)");
    }
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        return Err("needs two cores: one for the server and one for the load");
    }
    Ok(())
}

fn summarise(report: &mut Report, servers: &[Server], guest_calls: Vec<f64>) {
    let rows: Vec<(&str, Row)> = servers
        .iter()
        .map(|server| (server.name.as_str(), report.row(server.name.as_str(), "requests/s", server.requests.clone())))
        .collect();
    let of = |name: &str| rows.iter().find(|(known, _)| known.starts_with(name)).map(|(_, row)| row);
    let ours = of("fanfare").unwrap();
    for (server, target) in [
        ("ProxyHandler, wasi:http 0.2, an instance for each request", Some(3.5)),
        ("ProxyHandler, wasi:http 0.3, as `wasmtime serve` sets it", Some(3.5)),
        ("ProxyHandler, wasi:http 0.3, an instance for 10,000 requests", None),
        ("node http", Some(1.4)),
        ("`wasmtime serve`", None),
        ("bare hyper", Some(0.55)),
    ] {
        if let Some(other) = of(server) {
            report.ratio(format!("fanfare / {server}"), ours, other, target.map(Target::AtLeast));
        }
    }
    let processor: Vec<Row> = servers
        .iter()
        .map(|server| {
            report.row(format!("{}, processor time for a request", server.name), "us", server.processor.clone())
        })
        .collect();
    for (server, other) in servers.iter().zip(&processor).skip(1) {
        report.ratio(format!("fanfare / {}, by processor time", server.name), other, &processor[0], None);
    }
    let guest = report.row("bare guest call, 32 in flight", "us", guest_calls);
    let overhead = |parts: &[f64]| parts[0] - parts[1] - parts[2];
    report.derived(
        "fanfare - (hyper + bare guest call), processor time",
        "us",
        &[&processor[0], &processor[1], &guest],
        overhead,
        None,
    );
    for server in servers {
        report.row(format!("{}, latency p50", server.name), "us", server.p50.clone());
        report.row(format!("{}, latency p99", server.name), "us", server.p99.clone());
    }
}

fn fanfare() -> Server {
    let dir = machine::empty_dir("http");
    machine::guest(&dir.join("modules"), "hello", "hello");
    let config = json!({ "stateDir": machine::state_dir(), "admin": { "listen": "127.0.0.1:0" } });
    fs::write(dir.join("fanfare.json"), config.to_string()).unwrap();
    let program = machine::fanfare();
    Server::new("fanfare serve --workers 1", "/api/hello/", move |port| {
        let mut command = pinned(&program);
        command.current_dir(&dir).args(["serve", "--workers", "1", "--env", "production", "--listen"]);
        command.arg(format!("127.0.0.1:{port}"));
        command
    })
}

pub fn bare_hyper() -> Server {
    let program = std::env::current_exe().unwrap();
    Server::new("bare hyper", "/", move |port| {
        let mut command = pinned(&program);
        command.args(["serve-bare", &port.to_string()]);
        command
    })
}

pub fn proxy(name: &str, guest: &str, reuse: &'static [&'static str]) -> Server {
    let (program, component) = (machine::proxy(), machine::component(guest));
    Server::new(name, "/", move |port| {
        let mut command = pinned(&program);
        command.arg(&component).arg(format!("127.0.0.1:{port}")).args(reuse);
        command
    })
}

fn node() -> Server {
    let script = machine::root().join("bench/servers/hello.mjs");
    Server::new("node http", "/", move |port| {
        let mut command = pinned(&PathBuf::from("node"));
        command.arg(&script).arg(port.to_string());
        command
    })
}

pub fn wasmtime_serve(name: &str, guest: &str) -> Server {
    let component = machine::component(guest);
    Server::new(name, "/", move |port| {
        let mut command = pinned(&PathBuf::from("wasmtime"));
        // Without `cli` it links only the world `proxy`, and Rust's std imports more than that.
        command.args(["serve", "-Scli", "-Sp3", "-Wcomponent-model-async", "--addr", &format!("127.0.0.1:{port}")]);
        command.arg(&component);
        command
    })
}

/// Pins a program to the server's core.
pub fn pinned(program: &PathBuf) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", SERVER_CORE]).arg(program);
    // With it, wasmtime walks the stack for each error that it makes, also while it drops a store.
    command.env_remove("RUST_BACKTRACE");
    command
}

/// A server process, killed when dropped.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Running {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit());
        Running(command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}")))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Server {
    pub fn new(name: &str, path: &'static str, start: impl Fn(u16) -> Command + 'static) -> Server {
        Server {
            name: name.to_owned(),
            path,
            start: Box::new(start),
            requests: Vec::new(),
            processor: Vec::new(),
            p50: Vec::new(),
            p99: Vec::new(),
        }
    }

    /// Starts the server once and sends one request. Returns the reason when that fails, because
    /// another version of an installed program may have other options.
    fn probe(&self) -> Result<(), String> {
        let port = free_port();
        let mut command = (self.start)(port);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = Running(command.spawn().map_err(|error| format!("{command:?}: {error}"))?);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Ok(Some(status)) = child.0.try_wait() {
                let mut output = String::new();
                let _ = child.0.stderr.take().map(|mut stderr| stderr.read_to_string(&mut output));
                let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).take(3).collect();
                return Err(format!("the server ended with {status}: {}", lines.join(" ")));
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("the server did not listen within {PATIENCE:?}"));
            }
            thread::sleep(Duration::from_millis(10));
        }
        let status = status_of(port, self.path).map_err(|error| format!("the server does not respond: {error}"))?;
        if status.contains(" 200") { Ok(()) } else { Err(format!("the server responds with {status}")) }
    }

    /// Starts the server, measures it under load, and ends it.
    pub fn measure(&mut self, effort: Effort) {
        let port = free_port();
        let mut command = (self.start)(port);
        let child = Running::start(&mut command);
        wait_for(port);
        let seconds = if effort.divisor == 1 { "5s" } else { "1s" };
        wrk(port, self.path, "1s");
        let before = processor_time(child.0.id());
        let output = wrk(port, self.path, seconds);
        let spent = processor_time(child.0.id()) - before;
        drop(child);
        let failed = output.contains("Non-2xx") || output.contains("Socket errors");
        assert!(!failed, "{}: {output}", self.name);
        self.requests.push(field(&output, "Requests/sec:").parse().unwrap());
        let count: f64 =
            output.split(" requests in").next().unwrap().split_whitespace().next_back().unwrap().parse().unwrap();
        self.processor.push(spent / count);
        self.p50.push(microseconds(field(&output, "50%")));
        self.p99.push(microseconds(field(&output, "99%")));
    }
}

fn wrk(port: u16, path: &str, seconds: &str) -> String {
    let output = Command::new("taskset")
        .args(["-c", LOAD_CORE, "wrk", "--latency", "-t1", "-c", CONNECTIONS, "-d", seconds])
        .arg(format!("http://127.0.0.1:{port}{path}"))
        .output()
        .unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The processor time of a process in microseconds, with a resolution of 10 ms.
fn processor_time(id: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks = |place: usize| fields[place].parse::<f64>().unwrap();
    (ticks(11) + ticks(12)) * 1e4
}

/// The word after another word in wrk's output.
fn field<'a>(output: &'a str, word: &str) -> &'a str {
    let mut words = output.split_whitespace();
    words.find(|found| *found == word).and_then(|_| words.next()).unwrap_or_else(|| panic!("no {word} in {output}"))
}

fn microseconds(text: &str) -> f64 {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap();
    let value: f64 = text[..split].parse().unwrap();
    value
        * match &text[split..] {
            "us" => 1.0,
            "ms" => 1e3,
            _ => 1e6,
        }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The time that a server may need to listen, and to respond.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Sends a request and returns the status line of the response.
fn status_of(port: u16, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    Ok(line.trim().to_owned())
}

pub fn wait_for(port: u16) {
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(begun.elapsed() < PATIENCE, "no server on port {port}");
        thread::sleep(Duration::from_millis(10));
    }
    // A host that listens may still be loading its modules.
    thread::sleep(Duration::from_millis(300));
}

/// Returns the first line that a program prints, and discards the rest.
pub fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(script: &'static str) -> Server {
        Server::new("test", "/", move |port| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh", &port.to_string()]);
            command
        })
    }

    #[test]
    fn a_server_that_does_not_start_reports_the_reason() {
        let why = server("echo 'unknown option -Sp3' >&2; exit 2").probe().unwrap_err();
        assert!(why.contains("exit status: 2") && why.contains("unknown option -Sp3"), "{why}");
    }

    #[test]
    fn wasmtime_serve_links_all_of_wasi() {
        let command = (wasmtime_serve("test", "proxy-hello").start)(1);
        let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        assert!(args.contains(&"-Scli".to_owned()), "{args:?}");
    }
}
