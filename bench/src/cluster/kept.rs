//! Publishes to channels whose history the cluster keeps, beside a bare publish to JetStream and a
//! channel with its history in memory. Each waits until its message is kept.

use std::cell::Cell;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fanfare::tooling::Payload;
use serde_json::json;

use super::durable::Bare;
use super::{PAYLOAD, in_flight_at_once};
use crate::node::Node;
use crate::report::Report;
use crate::{Effort, interleaved, machine};

const MANIFEST: &str = r#"{
  "component": "hello.wasm",
  "routes": [],
  "channels": {
    "hello/memory": { "history": 100 },
    "hello/kept/*": { "history": { "count": 100, "keep": "cluster" } }
  }
}"#;

/// The messages in flight.
const MANY: u32 = 64;

pub fn measure(report: &mut Report, url: &str, effort: Effort) {
    let (modules, none) = (machine::empty_dir("cluster-kept"), machine::empty_dir("cluster-kept-none"));
    machine::module(&modules, "hello", MANIFEST, &machine::component("hello"));
    let node = |id: &str, modules: &Path| {
        let settings = json!({ "node": { "id": id }, "cluster": { "nats": url, "name": "kept" } });
        Node::with(modules, 1, settings, None)
    };
    let (home, other) = (node("k-1", &modules), node("k-2", &none));
    let memory = ["hello/memory".to_owned()];
    let kept: Vec<String> = (0..MANY).map(|number| format!("hello/kept/{number}")).collect();
    let one = &kept[..1];
    for node in [&home, &other] {
        while !node.runtime.block_on(publish(node, &kept[0])) {
            thread::sleep(Duration::from_millis(10));
        }
    }
    let bare = Bare::connect(url, "bare-kept");
    let (few, many) = (4_000 / effort.divisor, 40_000 / effort.divisor);
    let [bare_one, memory_one, kept_one, bare_many, memory_many, kept_many, spread, far] = interleaved(
        effort.rounds,
        [
            &mut || bare.rate(few, 1),
            &mut || rate(&home, &memory, few, 1),
            &mut || rate(&home, one, few, 1),
            &mut || bare.rate(many, MANY),
            &mut || rate(&home, &memory, many, MANY),
            &mut || rate(&home, one, many, MANY),
            &mut || rate(&home, &kept, many, MANY),
            &mut || rate(&other, one, many, MANY),
        ],
    );
    let mut row = |what: String, rates| report.row(what, "messages/s", rates);
    let bare_one = row("bare publish to JetStream beside channels, one at a time".to_owned(), bare_one);
    row("publish to a channel with its history in memory, one at a time".to_owned(), memory_one);
    let kept_one = row("publish to a channel that the cluster keeps, one at a time".to_owned(), kept_one);
    let bare_many = row(format!("bare publish to JetStream beside channels, {MANY} in flight"), bare_many);
    row(format!("publish to a channel with its history in memory, {MANY} in flight"), memory_many);
    let kept_many = row(format!("publish to a channel that the cluster keeps, {MANY} in flight"), kept_many);
    let spread = row(format!("publish to {MANY} channels that the cluster keeps, one in flight each"), spread);
    row(format!("the same to one channel, from a node that is not the home, {MANY} in flight"), far);
    report.ratio("channel that the cluster keeps / bare publish, one at a time", &kept_one, &bare_one, None);
    report.ratio(
        format!("channel that the cluster keeps / bare publish, {MANY} in flight"),
        &kept_many,
        &bare_many,
        None,
    );
    report.ratio(format!("{MANY} channels that the cluster keeps / bare publish"), &spread, &bare_many, None);
}

/// Publishes a message. Returns whether it is in the history of its channel.
async fn publish(node: &Node, channel: &str) -> bool {
    matches!(node.host().publish_to_channel(channel, Payload::Text(PAYLOAD.to_owned())).await, Ok(Some(_)))
}

/// Messages that are kept in each second. The channels take turns.
fn rate(node: &Node, channels: &[String], count: u32, in_flight: u32) -> f64 {
    let (begun, next) = (Instant::now(), Cell::new(0));
    let publish = || async {
        let turn = next.replace(next.get() + 1);
        assert!(publish(node, &channels[turn % channels.len()]).await);
    };
    node.runtime.block_on(in_flight_at_once(count, in_flight, publish));
    f64::from(count) / begun.elapsed().as_secs_f64()
}
