//! Messages from the embedding program to a worker and back: `RunningHost::send_to_worker`.
//!
//! SocketCluster 14.4.2 with 2 workers on a machine with two cores needs 0.14 to 0.22 ms for
//! `sendToWorker` and its acknowledgement. With 64 messages in flight, it delivers 38,000 to 48,000
//! a second.

use std::time::Instant;

use fanfare::tooling::wit;
use futures_util::stream::{self, StreamExt};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, oneshot};

use crate::bare::{self, Message};
use crate::node::Node;
use crate::report::{Report, Target};
use crate::{Effort, interleaved, machine, median};

const PAYLOAD: &str = "thirty bytes, neither more nor";
const IN_FLIGHT: usize = 64;

const MANIFEST: &str = r#"{
  "component": "hello.wasm",
  "routes": [{ "path": "message", "handler": "hello", "middlewares": "inner" }],
  "hooks": { "masterMessage": { "path": "message" } }
}"#;

pub fn run(effort: Effort) -> Report {
    let mut report = Report::new("messages");
    let modules = machine::empty_dir("messages");
    machine::module(&modules, "hello", MANIFEST, &machine::component("hello"));
    let node = Node::start(&modules, 2);
    let bare = Bare::start();

    let (few, many) = (20_000 / effort.divisor, 200_000 / effort.divisor);
    let [bare_one, one, bare_many, in_64] = interleaved(
        effort.rounds,
        [
            &mut || latency(&bare.runtime, few, || bare.send()),
            &mut || latency(&node.runtime, few, || send(&node)),
            &mut || rate(&bare.runtime, many, || bare.send()),
            &mut || rate(&node.runtime, many, || send(&node)),
        ],
    );
    let bare_one = report.row("bare: to a thread with a guest and back, one at a time, p50", "us", bare_one);
    let one = report.row("send_to_worker, one at a time, p50", "us", one);
    report.target(Target::AtMost(140.0));
    report.ratio("one at a time / bare", &one, &bare_one, None);
    let bare_many = report.row("bare, 64 in flight", "messages/s", bare_many);
    let in_64 = report.row("send_to_worker, 64 in flight", "messages/s", in_64);
    report.target(Target::AtLeast(48_000.0));
    report.ratio("64 in flight / bare", &in_64, &bare_many, None);
    bare.stop();
    report
}

async fn send(node: &Node) {
    node.host().send_to_worker(1, Some("hello"), PAYLOAD).await.unwrap();
}

/// The median time of a message and its reply, in microseconds.
fn latency<F: Future>(runtime: &Runtime, count: u32, send: impl Fn() -> F) -> f64 {
    runtime.block_on(async {
        let mut values = Vec::new();
        for _ in 0..count {
            let begun = Instant::now();
            send().await;
            values.push(begun.elapsed().as_secs_f64() * 1e6);
        }
        median(values)
    })
}

/// Messages a second.
fn rate<F: Future>(runtime: &Runtime, count: u32, send: impl Fn() -> F) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        stream::iter(0..count).map(|_| send()).buffer_unordered(IN_FLIGHT).for_each(async |_| {}).await;
        f64::from(count) / begun.elapsed().as_secs_f64()
    })
}

/// A thread with a guest, and nothing else.
struct Bare {
    send: mpsc::Sender<Message>,
    thread: std::thread::JoinHandle<()>,
    runtime: Runtime,
}

impl Bare {
    fn start() -> Bare {
        let (send, thread) = bare::Guest::load(&machine::component("hello")).thread(IN_FLIGHT);
        let bare = Bare { send, thread, runtime: bare::runtime() };
        // Waits until the thread has its instance.
        bare.runtime.block_on(bare.send());
        bare
    }

    async fn send(&self) {
        let (reply, ended) = oneshot::channel();
        let call = bare::call("hello", wit::Trigger::Rpc, PAYLOAD.to_owned());
        self.send.send(Message { call, reply: Some(reply) }).await.ok().unwrap();
        ended.await.unwrap();
    }

    fn stop(self) {
        drop(self.send);
        self.thread.join().unwrap();
    }
}
