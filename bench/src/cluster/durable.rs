//! Durable emissions beside a bare publish to JetStream: both wait until the stream has it.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, Context, stream};
use fanfare::tooling::{Actor, Emission, Payload};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{PAYLOAD, in_flight_at_once};
use crate::node::Node;
use crate::report::Report;
use crate::{Effort, bare, interleaved, machine};

const MANIFEST: &str = r#"{
  "component": "hello.wasm",
  "routes": [{ "path": "kept", "handler": "hello", "middlewares": "inner" }],
  "broadcasts": { "kept": { "path": "kept", "delivery": "durable" } }
}"#;

pub fn measure(report: &mut Report, url: &str, effort: Effort) {
    let modules = machine::empty_dir("cluster-durable");
    machine::module(&modules, "hello", MANIFEST, &machine::component("hello"));
    let settings = json!({ "node": { "id": "d-1" }, "cluster": { "nats": url, "name": "durable" } });
    let node = Node::with(&modules, 1, settings, None);
    until_kept(&node);
    let bare = Bare::connect(url, "bare");
    let (few, many) = (4_000 / effort.divisor, 40_000 / effort.divisor);
    let [bare_one, one, bare_many, in_64] = interleaved(
        effort.rounds,
        [&mut || bare.rate(few, 1), &mut || rate(&node, few, 1), &mut || bare.rate(many, 64), &mut || {
            rate(&node, many, 64)
        }],
    );
    let bare_one = report.row("bare publish to JetStream, one at a time", "messages/s", bare_one);
    let one = report.row("durable emit, one at a time", "messages/s", one);
    report.ratio("durable emit / bare publish, one at a time", &one, &bare_one, None);
    let bare_many = report.row("bare publish to JetStream, 64 in flight", "messages/s", bare_many);
    let in_64 = report.row("durable emit, 64 in flight", "messages/s", in_64);
    report.ratio("durable emit / bare publish, 64 in flight", &in_64, &bare_many, None);
}

async fn emit(node: &Node) -> bool {
    let emission = Emission { module: Some("hello".to_owned()), name: "kept".to_owned(), ..Emission::default() };
    let payload = Payload::Text(PAYLOAD.to_owned());
    node.dispatch.emit_durable(&Actor::Operator, emission, payload, None).await.is_ok()
}

/// Waits until the node has its stream.
fn until_kept(node: &Node) {
    while !node.runtime.block_on(emit(node)) {
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Emissions that are kept in each second.
fn rate(node: &Node, count: u32, in_flight: u32) -> f64 {
    let begun = Instant::now();
    node.runtime.block_on(in_flight_at_once(count, in_flight, || async { assert!(emit(node).await) }));
    f64::from(count) / begun.elapsed().as_secs_f64()
}

/// The baseline: a client of NATS and a stream of its own.
pub(super) struct Bare {
    runtime: Runtime,
    jetstream: Context,
    subject: String,
}

impl Bare {
    pub(super) fn connect(url: &str, stream: &str) -> Bare {
        let (runtime, subject) = (bare::runtime(), format!("{stream}.kept"));
        let jetstream = runtime.block_on(async {
            let jetstream = jetstream::new(async_nats::connect(url).await.unwrap());
            let config = stream::Config {
                name: stream.to_owned(),
                subjects: vec![subject.clone()],
                duplicate_window: Duration::from_secs(120),
                ..stream::Config::default()
            };
            jetstream.create_stream(config).await.unwrap();
            jetstream
        });
        Bare { runtime, jetstream, subject }
    }

    pub(super) fn rate(&self, count: u32, in_flight: u32) -> f64 {
        let begun = Instant::now();
        let publish = || async {
            let kept = self.jetstream.publish(self.subject.clone(), PAYLOAD.into()).await.unwrap();
            assert!(kept.await.is_ok());
        };
        self.runtime.block_on(in_flight_at_once(count, in_flight, publish));
        f64::from(count) / begun.elapsed().as_secs_f64()
    }
}
