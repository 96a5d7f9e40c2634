//! Calls, broadcasts and kept channels between nodes, beside bare `async-nats` through the same
//! server.
//!
//! The server is a process of its own. All nodes and clients are in this process, each with threads
//! of its own.

mod durable;
mod hops;
mod kept;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use async_nats::Client;
use fanfare::tooling::{Actor, CallOptions, Emission, Payload, RouteName, Target as CallTarget};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::json;
use tokio::runtime::Runtime;

use hops::Hops;

use crate::node::{self, Node};
use crate::program::Program;
use crate::report::Report;
use crate::{Effort, bare, interleaved, machine, median};

const PAYLOAD: &str = "thirty bytes, neither more nor";
const NODES: usize = 3;
const WORKERS: u32 = 2;

/// How long the idle nodes are watched in each round.
const IDLE: Duration = Duration::from_secs(4);

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("cluster");
    let Some(server) = Program::nats() else {
        report.not_run("calls between nodes", "nats-server is not installed (Debian package nats-server)");
        return report;
    };
    let modules = machine::empty_dir("cluster");
    machine::guest(&modules, "hello", "hello");
    let (started, starts) = mpsc::channel();
    let nodes = start(&modules, Some(&server.url("nats")), &started);
    let route = node::route("hello/broadcast");
    until_seen(&nodes[0], &route);
    let bare = Bare::connect(&server.url("nats"));
    let (few, many) = (10_000 / effort.divisor, 100_000 / effort.divisor);
    let hops = Hops::connect(&server.url("nats"));
    let [bare_one, hops_one, one, bare_many, hops_many, in_64, bare_last, last] = interleaved(
        effort.rounds,
        [
            &mut || bare.rate(few, 1),
            &mut || requests(&hops.runtime, &hops.client, hops::SUBJECT, few, 1),
            &mut || rate(&nodes[0], &route, few, 1),
            &mut || bare.rate(many, 64),
            &mut || requests(&hops.runtime, &hops.client, hops::SUBJECT, many, 64),
            &mut || rate(&nodes[0], &route, many, 64),
            &mut || bare.last(few / 4),
            &mut || last(&nodes[0], &starts, few / 4),
        ],
    );
    drop(bare);
    let bare_one = report.row("bare async-nats: request and reply, one at a time", "calls/s", bare_one);
    let one = report.row("call of a guest on another node, one at a time", "calls/s", one);
    report.ratio("one at a time / bare", &one, &bare_one, None);
    let hops_one = report.row("bare async-nats with the threads of nodes, one at a time", "calls/s", hops_one);
    report.ratio("one at a time / bare with these threads", &one, &hops_one, None);
    let bare_many = report.row("bare async-nats: request and reply, 64 in flight", "calls/s", bare_many);
    let in_64 = report.row("call of a guest on another node, 64 in flight", "calls/s", in_64);
    report.ratio("64 in flight / bare", &in_64, &bare_many, None);
    let hops_many = report.row("bare async-nats with the threads of nodes, 64 in flight", "calls/s", hops_many);
    report.ratio("64 in flight / bare with these threads", &in_64, &hops_many, None);
    let bare_last = report.row("bare async-nats: publish to the last of three subscribers, p50", "us", bare_last);
    let last = report.row("broadcast to the last worker of three nodes, p50", "us", last);
    report.ratio("broadcast / bare", &last, &bare_last, None);
    let of_cluster = (0..effort.rounds).map(|_| idle(effort)).collect();
    drop(nodes);
    durable::measure(&mut report, &server.url("nats"), effort);
    kept::measure(&mut report, &server.url("nats"), effort);
    let alone = start(&modules, None, &started);
    let without = (0..effort.rounds).map(|_| idle(effort)).collect();
    drop(alone);
    let without = report.row("three idle nodes without a cluster", "ms of cpu/s", without);
    let of_cluster = report.row("three idle nodes in a cluster", "ms of cpu/s", of_cluster);
    let more = |parts: &[f64]| (parts[1] - parts[0]) / NODES as f64;
    report.derived("cost of the cluster for an idle node", "ms of cpu/s", &[&without, &of_cluster], more, None);
    report
}

/// Starts nodes, which tell of each broadcast that starts in a worker.
fn start(modules: &Path, nats: Option<&str>, started: &Sender<()>) -> Vec<Node> {
    let node = |number: usize| {
        let started = started.clone();
        let settings = json!({ "node": { "id": format!("n-{number}") }, "cluster": { "nats": nats } });
        let probe = Arc::new(move |call: &fanfare::tooling::Call| {
            if matches!(call.trigger, fanfare::tooling::Trigger::Broadcast(_)) {
                // At the end of the benchmark, the receiver was dropped.
                _ = started.send(());
            }
        });
        Node::with(modules, WORKERS, settings, Some(probe))
    };
    (1..=NODES).map(node).collect()
}

fn emission() -> Emission {
    Emission { module: Some("hello".to_owned()), name: "hello".to_owned(), ..Emission::default() }
}

async fn call(node: &Node, route: &RouteName) -> bool {
    let (target, payload) = (CallTarget::Node(format!("n-{NODES}")), Payload::Text(PAYLOAD.to_owned()));
    node.dispatch.call(&Actor::Operator, target, route, payload, CallOptions::default()).await.is_ok()
}

/// Waits until a node reaches all others.
fn until_seen(node: &Node, route: &RouteName) {
    loop {
        let receipt = node.dispatch.emit(&Actor::Operator, emission(), Payload::None).unwrap();
        let nodes = receipt.extra.iter().find(|(name, _)| name == "nodes").map(|(_, count)| count.as_str());
        if nodes == Some("2") && node.runtime.block_on(call(node, route)) {
            return thread::sleep(Duration::from_millis(100));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

fn rate(node: &Node, route: &RouteName, calls: u32, in_flight: u32) -> f64 {
    let begun = Instant::now();
    node.runtime.block_on(in_flight_at_once(calls, in_flight, || async { assert!(call(node, route).await) }));
    f64::from(calls) / begun.elapsed().as_secs_f64()
}

/// Requests of a client of NATS in each second.
fn requests(runtime: &Runtime, client: &Client, subject: &'static str, calls: u32, in_flight: u32) -> f64 {
    let begun = Instant::now();
    let request = || async { assert!(client.request(subject, PAYLOAD.into()).await.is_ok()) };
    runtime.block_on(in_flight_at_once(calls, in_flight, request));
    f64::from(calls) / begun.elapsed().as_secs_f64()
}

/// Makes calls, some of them at a time.
pub async fn in_flight_at_once<F: Future>(calls: u32, in_flight: u32, call: impl Fn() -> F) {
    let mut running: FuturesUnordered<F> = (0..in_flight.min(calls)).map(|_| call()).collect();
    let mut begun = in_flight.min(calls);
    while running.next().await.is_some() {
        if begun < calls {
            begun += 1;
            running.push(call());
        }
    }
}

/// The median time until the last worker of all nodes has started a broadcast, in microseconds.
fn last(node: &Node, starts: &Receiver<()>, count: u32) -> f64 {
    while starts.try_recv().is_ok() {}
    let one = |_| {
        let begun = Instant::now();
        node.dispatch.emit(&Actor::Operator, emission(), Payload::Text(PAYLOAD.to_owned())).unwrap();
        (0..NODES * WORKERS as usize).for_each(|_| starts.recv().unwrap());
        begun.elapsed().as_secs_f64() * 1e6
    };
    median((0..count).map(one).collect())
}

/// The processor time that this process uses, in milliseconds for each second.
fn idle(effort: Effort) -> f64 {
    let (before, begun) = (used(), Instant::now());
    thread::sleep(IDLE / effort.divisor);
    (used() - before) / begun.elapsed().as_secs_f64()
}

/// The processor time of this process so far, in milliseconds. The system counts in hundredths.
fn used() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks: Vec<f64> = fields.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse().unwrap()).collect();
    (ticks[0] + ticks[1]) * 10.0
}

/// The baseline: clients of NATS, and nothing else.
struct Bare {
    runtime: Runtime,
    client: Client,
    received: Receiver<()>,
}

impl Bare {
    fn connect(url: &str) -> Bare {
        let runtime = bare::runtime();
        let client = runtime.block_on(async_nats::connect(url)).unwrap();
        let (receive, received) = mpsc::channel();
        for number in 0..NODES {
            let (url, receive) = (url.to_owned(), receive.clone());
            thread::spawn(move || bare::runtime().block_on(serve(&url, number == 0, &receive)));
        }
        // Each tells once that it has subscribed.
        (0..NODES).for_each(|_| received.recv().unwrap());
        Bare { runtime, client, received }
    }

    fn rate(&self, calls: u32, in_flight: u32) -> f64 {
        requests(&self.runtime, &self.client, "bare.call", calls, in_flight)
    }

    /// The median time until the last of three subscribers has a message, in microseconds.
    fn last(&self, count: u32) -> f64 {
        let one = |_| {
            let begun = Instant::now();
            self.runtime.block_on(async {
                self.client.publish("bare.all", PAYLOAD.into()).await.unwrap();
                self.client.flush().await.unwrap();
            });
            (0..NODES).for_each(|_| self.received.recv().unwrap());
            begun.elapsed().as_secs_f64() * 1e6
        };
        median((0..count).map(one).collect())
    }
}

/// Receives, and answers calls if it is the one that does.
async fn serve(url: &str, answers: bool, receive: &Sender<()>) {
    let client = async_nats::connect(url).await.unwrap();
    let mut all = client.subscribe("bare.all").await.unwrap();
    let calls = if answers { "bare.call" } else { "bare.none" };
    let mut calls = client.subscribe(calls).await.unwrap();
    client.flush().await.unwrap();
    receive.send(()).unwrap();
    loop {
        tokio::select! {
            Some(message) = calls.next() => {
                client.publish(message.reply.unwrap(), message.payload).await.unwrap();
            }
            Some(_) = all.next() => if receive.send(()).is_err() { return },
            else => return,
        }
    }
}
