//! Clients on frontends: messages that backends run, and pushes to the clients of other nodes,
//! beside the same on one node.
//!
//! NATS, nodes and clients are processes of their own and share the cores of the machine, so that
//! the time of all of them is part of every figure. mydog 2.3.0 on a machine with two cores
//! forwards 21,000 to 54,000 messages a second with 64 in flight.

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::Program;
use crate::report::{Report, Row, Target};
use crate::streams::child::{Child, processor};
use crate::streams::client::{Client, MARK, MARKS};
use crate::streams::guest;
use crate::websockets::client::Sender;
use crate::{Effort, machine, median};

/// The guest that returns messages, and pushes.
const MODULE: &str = "sessions";
/// The frontend's own module, which is the same guest.
const GATE: &str = "gate";
const PATH: &str = "/socketcluster/";

/// The clients, the messages of each that wait for their replies, and the messages of a round.
const FLIGHTS: [(&str, usize, usize, usize); 3] = [
    ("one client, one at a time", 1, 1, 10_000),
    ("one client, 64 in flight", 1, 64, 100_000),
    ("8 clients, 64 in flight each", 8, 64, 200_000),
];

/// The clients that a push reaches, and the pushes of a round.
const REACHED: usize = 10_000;
const PUSHES: u32 = 50;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("frontends");
    let Some(nats) = Program::nats() else {
        report.not_run("clients on frontends", "nats-server is not installed (Debian package nats-server)");
        return report;
    };
    messages(&mut report, &nats, effort);
    pushes(&mut report, &nats, effort);
    report
}

/// A node as a process.
struct Node {
    child: Child,
    address: String,
    requests: TcpStream,
}

impl Node {
    /// Starts a node of a cluster, or one without a cluster.
    fn start(id: &str, server: &str, nats: Option<&Program>, modules: &[&str]) -> Node {
        let dir = machine::empty_dir(&format!("frontends-{id}"));
        for module in modules {
            let manifest = fs::read_to_string(machine::root().join("tests/guests/sessions/module.json")).unwrap();
            machine::module(&dir.join("modules"), module, &manifest, &machine::test_component(MODULE));
        }
        let grants: serde_json::Map<String, Value> =
            modules.iter().map(|name| (name.to_string(), json!({ "grants": { "sessions": true } }))).collect();
        let config = json!({
            "workers": 1,
            "node": { "id": id, "server": server },
            "cluster": { "nats": nats.map(|nats| nats.url("nats")), "name": "frontends" },
            "http": { "maxConnections": 1_000_000 },
            "websocket": {
                "maxClients": 1_000_000, "pingInterval": "1h", "pingTimeout": "24h",
                "listeners": modules.first().map(|module| json!([{ "path": PATH, "module": module }])),
            },
            "modules": grants,
            "stateDir": machine::state_dir(),
        });
        fs::write(dir.join("fanfare.json"), config.to_string()).unwrap();
        let (child, address) = guest::serve(&dir);
        Node { child, requests: TcpStream::connect(&address).unwrap(), address }
    }

    /// Asks the guest to push to the clients of all nodes, and returns when the request was sent.
    fn push(&mut self) -> u64 {
        let text = char::from(MARK).to_string().repeat(MARKS);
        let push = json!({ "do": "push", "to": ["everyone"], "name": "n", "payload": text });
        guest::post(&mut self.requests, &format!("/api/{MODULE}/outside/use"), &push)
    }
}

/// The messages a second, and the microseconds of processor time for one of them.
struct Round {
    rate: f64,
    processor: f64,
}

fn messages(report: &mut Report, nats: &Program, effort: Effort) {
    let single = Node::start("single", "single", None, &[MODULE]);
    let front = Node::start("gate-1", "gate", Some(nats), &[GATE]);
    let back = Node::start("chat-1", "chat", Some(nats), &[MODULE]);
    // A message is unknown until the frontend knows the backend.
    thread::sleep(Duration::from_secs(3));
    let event = &format!("{MODULE}.echo");
    let all = [single.child.id(), front.child.id(), back.child.id(), nats.id()];
    for (name, clients, in_flight, messages) in FLIGHTS {
        let count = (messages / effort.divisor as usize).max(100);
        let (mut local, mut forwarded) = (Vec::new(), Vec::new());
        for _ in 0..effort.rounds {
            local.push(round(&single.address, event, &all, clients, in_flight, count));
            forwarded.push(round(&front.address, event, &all, clients, in_flight, count));
        }
        let mut row = |what: String, unit, values: &[Round], part: fn(&Round) -> f64| {
            report.row(what, unit, values.iter().map(part).collect())
        };
        let here = row(format!("messages of clients on their node, {name}"), "messages/s", &local, |round| round.rate);
        let there = row(format!("forwarded to a backend, {name}"), "messages/s", &forwarded, |round| round.rate);
        row(
            format!("processor time of both nodes and NATS for a forwarded message, {name}"),
            "us",
            &forwarded,
            |round| round.processor,
        );
        report.ratio(format!("forwarded / on their node, {name}"), &there, &here, None);
    }
}

/// Lets clients send messages, and waits for all replies.
fn round(address: &str, event: &str, nodes: &[u32], clients: usize, in_flight: usize, messages: usize) -> Round {
    let each = messages / clients;
    let start = || Sender::start(address, PATH, event, in_flight, each);
    let mut senders: Vec<Sender> = (0..clients).map(|_| start()).collect();
    let used = || nodes.iter().map(|node| processor(*node)).sum::<f64>();
    let before = used();
    senders.iter_mut().for_each(Sender::begin);
    let took = senders.iter_mut().map(Sender::took).fold(0.0, f64::max);
    let sent = (each * clients) as f64;
    Round { rate: sent / took * 1e9, processor: (used() - before) / sent * 1e6 }
}

/// Pushes to many clients, which are on one node, or on two others.
fn pushes(report: &mut Report, nats: &Program, effort: Effort) {
    let (reached, pushes) = (REACHED / effort.divisor as usize, (PUSHES / effort.divisor).max(2));
    let path = format!("/api/{MODULE}/echo");
    let (mut local, mut remote) = (Vec::new(), Vec::new());
    for round in 0..effort.rounds {
        let mut single = Node::start("single", "single", None, &[MODULE]);
        let mut clients = [Client::open_websockets(&single.address, reached, &path)];
        local.push(times(&mut clients, pushes, || single.push()));
        drop((clients, single));
        let start = |number: u32| Node::start(&format!("push-{round}-{number}"), "gate", Some(nats), &[MODULE]);
        let (mut from, others) = (start(1), [start(2), start(3)]);
        let mut clients = others.each_ref().map(|node| Client::open_websockets(&node.address, reached / 2, &path));
        // A push reaches the nodes that its node knows.
        thread::sleep(Duration::from_secs(3));
        remote.push(times(&mut clients, pushes, || from.push()));
    }
    let what = format!("a push to {reached} clients, time to the last");
    let local = report.row(format!("{what}, all on its node"), "ms", local);
    let remote: Row = report.row(format!("{what}, on two other nodes"), "ms", remote);
    report.ratio(format!("on two other nodes / on its node, {what}"), &remote, &local, Some(Target::AtMost(1.5)));
}

/// The median of the milliseconds until the last client has the message.
fn times(clients: &mut [Client], pushes: u32, mut push: impl FnMut() -> u64) -> f64 {
    // The first ones fill buffers that stay.
    let mut once = || {
        clients.iter_mut().for_each(|clients| clients.expect(1));
        let begun = push();
        let last = clients.iter_mut().map(|clients| clients.last(1)).max().unwrap_or_default();
        (last - begun) as f64 / 1e6
    };
    (0..3).for_each(|_| _ = once());
    median((0..pushes).map(|_| once()).collect())
}
