//! The servers that are compared, each with one thread for its clients.

use std::fs;
use std::io::Read;
use std::net::TcpStream;
use std::process::Command;

use fanfare::Config;
use fanfare::tooling::EchoServer;
use serde_json::{Value, json};

use crate::machine;
use crate::streams::child::Child;
use crate::streams::client::{MARK, MARKS};
use crate::streams::guest;

/// The guest that returns messages, and pushes.
const MODULE: &str = "sessions";

/// A server, and what clients do with it.
#[derive(Debug)]
pub struct Kind {
    pub name: &'static str,
    start: fn() -> Server,
    pub path: &'static str,
    pub is_socketcluster: bool,
    /// The part of the messages of the bare server that it must reach.
    pub target: Option<f64>,
}

pub const KINDS: [Kind; 4] = [
    kind("bare tokio-websockets", bare, "/", None),
    kind("native echo", embedded, "/echo", Some(0.85)),
    kind("guest, plain", || Server::of_guest(1), "/api/sessions/echo", Some(0.5)),
    Kind { is_socketcluster: true, ..kind("guest, SocketCluster", || Server::of_guest(1), "/socketcluster/", None) },
];

const fn kind(name: &'static str, start: fn() -> Server, path: &'static str, target: Option<f64>) -> Kind {
    Kind { name, start, path, is_socketcluster: false, target }
}

impl Kind {
    pub fn start(&self) -> Server {
        (self.start)()
    }
}

pub struct Server {
    pub child: Child,
    pub address: String,
}

/// The settings of a host whose clients are measured. Bounds that protect memory do not limit them,
/// and no client has to answer pings.
fn settings(workers: usize) -> Value {
    json!({
        "workers": workers,
        "http": { "maxConnections": 1_000_000 },
        "websocket": {
            "maxClients": 1_000_000, "pingInterval": "1h", "pingTimeout": "24h",
            "listeners": [{ "path": "/socketcluster/", "module": MODULE }],
        },
        "modules": { MODULE: { "grants": { "sessions": true } } },
        "stateDir": machine::state_dir(),
    })
}

fn bare() -> Server {
    Server::serving(Child::of(&mut Command::new(machine::baseline("websocket-echo"))))
}

fn embedded() -> Server {
    Server::serving(Child::start(&["echo-server"]))
}

/// `echo-server`: a host without modules that returns messages.
pub fn native() {
    fanfare::raise_descriptor_limit();
    let dir = machine::empty_dir("websockets-native");
    let mut config = settings(1);
    config["http"]["listen"] = json!("127.0.0.1:0");
    let server = EchoServer::start(&Config::from_text(&config.to_string(), &dir).unwrap()).unwrap();
    println!("serves {}", server.addr());
    // It serves until its input ends.
    _ = std::io::stdin().read(&mut [0]);
}

impl Server {
    /// A process that prints its address.
    fn serving(mut child: Child) -> Server {
        let line = child.line();
        let address = line.strip_prefix("serves ").unwrap_or_else(|| panic!("{line}")).to_owned();
        Server { child, address }
    }

    /// `fanfare serve` with a guest.
    pub fn of_guest(workers: usize) -> Server {
        let dir = machine::empty_dir("websockets-guest");
        machine::test_guest(&dir.join("modules"), MODULE);
        fs::write(dir.join("fanfare.json"), settings(workers).to_string()).unwrap();
        let (child, address) = guest::serve(&dir);
        Server { child, address }
    }
}

/// A host with a guest that pushes to all of its clients.
pub struct Pusher {
    pub server: Server,
    requests: TcpStream,
}

impl Pusher {
    pub const PATH: &str = "/api/sessions/echo";

    pub fn start(workers: usize) -> Pusher {
        let server = Server::of_guest(workers);
        Pusher { requests: TcpStream::connect(&server.address).unwrap(), server }
    }

    /// Asks the guest to push, and returns when the request was sent.
    pub fn push(&mut self) -> u64 {
        let text = char::from(MARK).to_string().repeat(MARKS);
        let push = json!({ "do": "send", "to": "everyone", "name": "n", "payload": text });
        guest::post(&mut self.requests, &format!("/api/{MODULE}/outside/use"), &push)
    }
}
