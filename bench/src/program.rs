//! Servers of other projects that benchmarks start.

use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::{http, machine};

/// A server on a port of its own, killed when dropped.
pub struct Program {
    child: Child,
    pub port: u16,
}

impl Program {
    /// Starts `nats-server` with JetStream. `None` if it is not installed.
    pub fn nats() -> Option<Program> {
        Program::start("nats-server", |command, port| {
            command.args(["--addr", "127.0.0.1", "--port", port, "--jetstream", "--store_dir"]);
            command.arg(machine::empty_dir("nats-server"));
        })
    }

    /// Starts `redis-server`, which keeps nothing. `None` if it is not installed.
    pub fn redis() -> Option<Program> {
        Program::start("redis-server", |command, port| {
            command.args(["--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]);
        })
    }

    /// Starts a server, and waits until it accepts connections.
    fn start(name: &str, arguments: impl FnOnce(&mut Command, &str)) -> Option<Program> {
        if !machine::has(name) {
            return None;
        }
        let port = http::free_port();
        let mut command = Command::new(name);
        arguments(&mut command, &port.to_string());
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let program = Program { child, port };
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            thread::sleep(Duration::from_millis(10));
        }
        Some(program)
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its address, with the scheme of its protocol.
    pub fn url(&self, scheme: &str) -> String {
        format!("{scheme}://127.0.0.1:{}", self.port)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
