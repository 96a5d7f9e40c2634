//! Messages of a Redis channel to a handler, beside a bare loop of the `redis` crate.
//!
//! The server is a process of its own, and shares the cores of the machine with both.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use fanfare::tooling::Probe;
use futures_util::StreamExt;
use serde_json::json;

use crate::node::Node;
use crate::program::Program;
use crate::report::Report;
use crate::{Effort, bare, interleaved, machine, median};

const PAYLOAD: &str = "thirty bytes, neither more nor";

/// The most messages that are published and not received, below the queue of a subscription.
const IN_FLIGHT: u32 = 1_000;

/// The messages that are published at once.
const PART: u32 = 100;

/// The channels: of the bare loop, and of handlers that run one at a time and 64 at once.
const BARE: &str = "bare";
const ONE: &str = "one";
const MANY: &str = "many";

const MANIFEST: &str = r#"{
  "component": "hello.wasm",
  "routes": [{ "path": "message", "handler": "hello", "middlewares": "inner" }],
  "subscriptions": {
    "one": { "redis": "one", "path": "message", "queue": { "messages": 2000 } },
    "many": { "redis": "many", "path": "message", "queue": { "messages": 2000 }, "concurrency": 64 }
  }
}"#;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("redis");
    let Some(server) = Program::redis() else {
        report.not_run("Redis to a handler", "redis-server is not installed (Debian package redis-server)");
        return report;
    };
    let (count, received) = Count::new();
    let modules = machine::empty_dir("redis");
    machine::module(&modules, "hello", MANIFEST, &machine::component("hello"));
    let settings = json!({
        "redis": { "url": server.url("redis") },
        "modules": { "hello": { "grants": { "subscribe": ["redis:one", "redis:many"] } } },
    });
    let node = Node::with(&modules, 1, settings, Some(count.probe()));
    let (url, bare) = (server.url("redis"), count.clone());
    thread::spawn(move || bare::runtime().block_on(subscribe(&url, &bare)));
    let load = Load { publisher: Publisher::connect(&server), count, received };
    let [bare_latency, latency, bare_rate, rate, rate_of_many] = thread::scope(|scope| {
        // Subscriptions run in the runtime of the host.
        let (runtime, (done, is_done)) = (&node.runtime, tokio::sync::oneshot::channel::<()>());
        scope.spawn(move || drop(runtime.block_on(is_done)));
        let measured = measure(load, &effort);
        drop(done);
        measured
    });
    let bare_latency = report.row("bare: to a loop of the redis crate, one at a time, p50", "us", bare_latency);
    let latency = report.row("to a handler, one at a time, p50", "us", latency);
    report.ratio("one at a time / bare", &latency, &bare_latency, None);
    let bare_rate = report.row("bare, as fast as it receives", "messages/s", bare_rate);
    let rate = report.row("to a handler, as fast as it receives", "messages/s", rate);
    report.ratio("to a handler / bare", &rate, &bare_rate, None);
    let rate_of_many = report.row("to a handler, 64 at once, as fast as it receives", "messages/s", rate_of_many);
    report.ratio("to a handler, 64 at once / bare", &rate_of_many, &bare_rate, None);
    drop(node);
    report
}

fn measure(mut load: Load, effort: &Effort) -> [Vec<f64>; 5] {
    [BARE, ONE, MANY].into_iter().for_each(|channel| load.until_subscribed(channel));
    let (few, many) = (10_000 / effort.divisor, 200_000 / effort.divisor);
    let load = RefCell::new(load);
    interleaved(
        effort.rounds,
        [
            &mut || load.borrow_mut().latency(BARE, few),
            &mut || load.borrow_mut().latency(ONE, few),
            &mut || load.borrow_mut().rate(BARE, many),
            &mut || load.borrow_mut().rate(ONE, many),
            &mut || load.borrow_mut().rate(MANY, many),
        ],
    )
}

/// The baseline: receives the messages of a channel, and nothing else.
async fn subscribe(url: &str, count: &Count) {
    let client = redis::Client::open(url).unwrap();
    let mut pubsub = client.get_async_pubsub().await.unwrap();
    pubsub.subscribe(BARE).await.unwrap();
    let mut messages = pubsub.on_message();
    while let Some(message) = messages.next().await {
        assert!(!message.get_payload_bytes().is_empty());
        count.add();
    }
}

/// Tells the load of the messages that were received.
#[derive(Clone)]
struct Count {
    received: Arc<AtomicU32>,
    /// Tells of each message whose number this divides.
    every: Arc<AtomicU32>,
    tell: Sender<()>,
}

impl Count {
    fn new() -> (Count, Receiver<()>) {
        let (tell, told) = mpsc::channel();
        (Count { received: Arc::default(), every: Arc::new(AtomicU32::new(1)), tell }, told)
    }

    fn add(&self) {
        let received = self.received.fetch_add(1, Relaxed) + 1;
        if received.is_multiple_of(self.every.load(Relaxed)) {
            // At the end of the benchmark, the receiver was dropped.
            let _ = self.tell.send(());
        }
    }

    /// Counts the calls of the host.
    fn probe(&self) -> Probe {
        let count = self.clone();
        Arc::new(move |_| count.add())
    }
}

/// Publishes messages, and waits until they were received.
struct Load {
    publisher: Publisher,
    count: Count,
    received: Receiver<()>,
}

impl Load {
    fn until_subscribed(&mut self, channel: &str) {
        self.publisher.publish(channel, 1);
        while self.publisher.answers(1) == 0 {
            thread::sleep(Duration::from_millis(10));
            self.publisher.publish(channel, 1);
        }
        self.received.recv().unwrap();
    }

    fn begin(&self, every: u32) {
        self.count.received.store(0, Relaxed);
        self.count.every.store(every, Relaxed);
    }

    /// The median time until a message is received, in microseconds.
    fn latency(&mut self, channel: &str, count: u32) -> f64 {
        self.begin(1);
        let mut values = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            self.publisher.publish(channel, 1);
            self.received.recv().unwrap();
            values.push(begun.elapsed().as_secs_f64() * 1e6);
            self.publisher.answers(1);
        }
        median(values)
    }

    /// Messages a second.
    fn rate(&mut self, channel: &str, count: u32) -> f64 {
        self.begin(PART);
        let (begun, parts) = (Instant::now(), count / PART);
        let mut received = 0;
        for part in 0..parts {
            while part - received >= IN_FLIGHT / PART {
                self.received.recv().unwrap();
                received += 1;
            }
            self.publisher.publish(channel, PART);
            self.publisher.answers(PART);
        }
        (received..parts).for_each(|_| self.received.recv().unwrap());
        f64::from(parts * PART) / begun.elapsed().as_secs_f64()
    }
}

/// A connection that publishes.
struct Publisher {
    stream: BufReader<TcpStream>,
}

impl Publisher {
    fn connect(server: &Program) -> Publisher {
        let stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
        stream.set_nodelay(true).unwrap();
        Publisher { stream: BufReader::new(stream) }
    }

    fn publish(&mut self, channel: &str, count: u32) {
        let (length, size) = (channel.len(), PAYLOAD.len());
        let command = format!("*3\r\n$7\r\nPUBLISH\r\n${length}\r\n{channel}\r\n${size}\r\n{PAYLOAD}\r\n");
        self.stream.get_mut().write_all(command.repeat(count as usize).as_bytes()).unwrap();
    }

    /// Reads the answers to this number of messages. Returns how many subscribers got the last one.
    fn answers(&mut self, count: u32) -> u32 {
        let mut line = String::new();
        for _ in 0..count {
            line.clear();
            self.stream.read_line(&mut line).unwrap();
        }
        line.trim().trim_start_matches(':').parse().unwrap_or_else(|_| panic!("{line}"))
    }
}
