//! The released clients of SocketCluster from npm, each a process that
//! `tests/readers/socketcluster.mjs` drives.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;

use super::PATHS;
use crate::harness::{not_run, program, root, spawn};

/// How long a client may take for its next line.
const PATIENCE: Duration = Duration::from_secs(60);

/// The events that the scripts listen to.
const EVENTS: [&str; 5] = ["news", "question", "burst", "said", "whispered"];

/// A released client. Dropping it kills its process.
pub struct Client {
    /// The release and the version of the protocol.
    pub name: String,
    _child: Child,
    input: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    /// Lines that a wait has skipped.
    skipped: Vec<Value>,
    calls: u64,
}

/// Starts all pairs of a release and a protocol, side by side. `None` without node or the packages.
pub async fn clients(address: SocketAddr) -> Option<Vec<Client>> {
    let mut clients = Vec::new();
    for (release, protocol) in [(14, 1), (20, 2), (20, 1)] {
        clients.push(Client::start(release, protocol, address)?);
    }
    for client in &mut clients {
        client.wait("connect").await;
    }
    Some(clients)
}

impl Client {
    fn start(release: u32, protocol: usize, address: SocketAddr) -> Option<Client> {
        let installed = root().join(format!("target/readers/npm/node_modules/sc{release}"));
        let (Some(node), true) = (program(&["node"]), installed.exists()) else {
            not_run("the clients of SocketCluster: install node, then run tests/readers/install");
            return None;
        };
        let mut command = Command::new(node);
        command.arg(root().join("tests/readers/socketcluster.mjs"));
        command.args([release.to_string(), protocol.to_string(), address.port().to_string()]);
        command.arg(PATHS[protocol - 1]).args(EVENTS);
        let mut child = spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let lines = BufReader::new(output).lines();
        let name = format!("client {release}, protocol {protocol}");
        Some(Client { name, _child: child, input, lines, skipped: Vec::new(), calls: 0 })
    }

    pub async fn command(&mut self, command: Value) {
        self.input.write_all(format!("{command}\n").as_bytes()).await.unwrap();
    }

    /// Waits for a line for which a condition holds. Lines before it wait for later calls.
    pub async fn line(&mut self, what: &str, is_it: impl Fn(&Value) -> bool) -> Value {
        if let Some(index) = self.skipped.iter().position(&is_it) {
            return self.skipped.remove(index);
        }
        loop {
            let line = timeout(PATIENCE, self.lines.next_line()).await;
            let line = line.unwrap_or_else(|_| panic!("{} waits for {what}, has {:?}", self.name, self.skipped));
            let line = line.unwrap().unwrap_or_else(|| panic!("{} has ended before {what}", self.name));
            let line: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{} prints {line}", self.name));
            if is_it(&line) {
                return line;
            }
            self.skipped.push(line);
        }
    }

    /// Waits for a line of a type.
    pub async fn wait(&mut self, kind: &str) -> Value {
        self.line(kind, |line| line["type"] == kind).await
    }

    /// Whether a line of a type has arrived that nothing has waited for.
    pub fn has_skipped(&self, kind: &str) -> bool {
        self.skipped.iter().any(|line| line["type"] == kind)
    }

    /// Emits an event that is to be answered. Returns the number of the call.
    pub async fn begin(&mut self, name: &str, data: Value) -> u64 {
        self.calls += 1;
        self.command(json!({ "do": "call", "call": self.calls, "name": name, "data": data })).await;
        self.calls
    }

    pub async fn answer(&mut self, call: u64) -> Value {
        self.line("an answer", |line| line["type"] == "answer" && line["call"] == call).await
    }

    /// Subscribes to a channel, and waits until the package says that it is.
    pub async fn subscribe(&mut self, channel: &str, options: Value) {
        self.command(json!({ "do": "subscribe", "channel": channel, "options": options })).await;
        self.line("a subscription", |line| line["type"] == "subscribe" && line["channel"] == channel).await;
    }

    /// Publishes to a channel and waits for the answer.
    pub async fn publish(&mut self, channel: &str, data: Value) -> Value {
        self.calls += 1;
        let publish = json!({ "do": "publish", "call": self.calls, "channel": channel, "data": data });
        self.command(publish).await;
        self.answer(self.calls).await
    }

    /// The data of the next message of a channel.
    pub async fn message(&mut self, channel: &str) -> Value {
        let message = self.line("a message", |line| line["type"] == "message" && line["channel"] == channel).await;
        message["data"].clone()
    }

    /// The next answer to any call.
    pub async fn next_answer(&mut self) -> Value {
        self.wait("answer").await
    }

    /// Emits an event and waits for its answer.
    pub async fn call(&mut self, name: &str, data: Value) -> Value {
        let call = self.begin(name, data).await;
        self.answer(call).await
    }

    /// Emits an event and returns the data of its answer.
    pub async fn data(&mut self, name: &str, data: Value) -> Value {
        let answer = self.call(name, data).await;
        assert!(answer.get("error").is_none(), "{}: {answer}", self.name);
        answer.get("data").cloned().unwrap_or_default()
    }
}
