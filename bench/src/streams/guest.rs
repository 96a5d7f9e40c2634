//! Ours: `fanfare serve` with a guest that publishes when a request asks it to.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::child::{Child, now};
use super::client::MARKS;
use super::embedded;
use super::server::KEY;
use crate::{http, machine};

/// The test guest that publishes.
pub const MODULE: &str = "streams";

pub struct Guest {
    pub child: Child,
    pub address: String,
    /// The connection of the requests.
    requests: TcpStream,
}

impl Guest {
    /// `manifest` is added to the manifest of the module.
    pub fn start(workers: usize, manifest: Value) -> Guest {
        let dir = machine::empty_dir("streams-guest");
        let modules = dir.join("modules");
        machine::test_guest(&modules, MODULE);
        let file = modules.join(MODULE).join("module.json");
        let mut all: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        all.as_object_mut().unwrap().extend(manifest.as_object().unwrap().clone());
        fs::write(&file, all.to_string()).unwrap();
        let mut config = embedded::settings(workers);
        config["stateDir"] = json!(machine::state_dir());
        fs::write(dir.join("fanfare.json"), config.to_string()).unwrap();

        let (child, address) = serve(&dir);
        Guest { child, requests: TcpStream::connect(&address).unwrap(), address }
    }

    /// Asks the guest to publish events and returns when the request was sent. The reader tells
    /// when all of them have arrived.
    pub fn publish(&mut self, events: u64) -> u64 {
        let body = json!({ "key": KEY, "count": events, "size": MARKS });
        post(&mut self.requests, &format!("/api/{MODULE}/burst"), &body)
    }
}

/// Runs `fanfare serve` in a folder with settings and modules. Returns the process, and the address
/// of its HTTP listener.
pub fn serve(dir: &Path) -> (Child, String) {
    let [address, admin] = [(); 2].map(|()| format!("127.0.0.1:{}", http::free_port()));
    let mut command = Command::new(machine::fanfare());
    command.current_dir(dir).args(["serve", "--env", "production", "--listen", &address, "--admin", &admin]);
    let mut child = Child::of(command.stderr(fs::File::create(dir.join("log")).unwrap()));
    let line = child.line();
    assert!(line.starts_with("fanfare serves"), "{line}: see {}", dir.join("log").display());
    (child, address)
}

/// Sends a request on a connection, and returns when it was sent.
pub fn post(connection: &mut TcpStream, path: &str, body: &Value) -> u64 {
    let body = body.to_string();
    let length = body.len();
    let request = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}");
    let begun = now();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = vec![0; 4_096];
    let count = connection.read(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer[..count]));
    begun
}
