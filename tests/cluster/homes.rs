//! Channels whose messages get their places on one node, their home.

mod each;
mod faults;
pub mod kept;
mod order;
mod routes;
mod targets;

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::channels::{Client, PATHS};
use crate::harness::{Nats, Started, TestHost, eventually};

const GUEST: &str = "channels";

/// A node with the module `channels`.
fn with(config: Value) -> TestHost {
    let listeners = json!([
        { "path": PATHS[0], "protocol": 1, "module": GUEST },
        { "path": PATHS[1], "module": GUEST },
    ]);
    TestHost::with(GUEST)
        .grant(GUEST, json!({ "sessions": true, "channels": ["lobby/*"] }))
        .config(config)
        .config(json!({ "websocket": { "listeners": listeners } }))
        .workers(1)
}

async fn node(nats: &Nats, id: &str) -> Started {
    with(nats.node(id, "node")).start().await
}

/// Waits until each of these nodes knows all of them, and no others.
async fn agree(hosts: &[&Started], ids: &[&str]) {
    for host in hosts {
        eventually("the node knows the others", || async {
            let status = host.admin("GET", "/v1/nodes", "").await.json();
            let mut found: Vec<&str> =
                status["nodes"].as_array().unwrap().iter().filter_map(|node| node["id"].as_str()).collect();
            found.sort_unstable();
            found == ids && status["state"] == "up"
        })
        .await;
    }
}

/// Three nodes that know each other.
async fn three(nats: &Nats) -> [Started; 3] {
    let all = [node(nats, "a-1").await, node(nats, "b-1").await, node(nats, "c-1").await];
    agree(&[&all[0], &all[1], &all[2]], &["a-1", "b-1", "c-1"]).await;
    all
}

/// The hash of a channel and a node, as docs/cluster.md describes it for all versions.
fn weight(channel: &str, node: &str) -> u64 {
    let bytes = channel.bytes().chain([0xff]).chain(node.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// The home of a channel among some nodes.
fn home<'a>(channel: &str, nodes: &[&'a str]) -> &'a str {
    nodes.iter().max_by_key(|node| (weight(channel, node), Reverse(**node))).unwrap()
}

/// A channel with a prefix that has these homes: each among some nodes.
pub fn channel(prefix: &str, homes: &[(&str, &[&str])]) -> String {
    let names = (0..).map(|number| format!("channels/{prefix}/{number}"));
    names.take(10_000).find(|name| homes.iter().all(|(node, nodes)| home(name, nodes) == *node)).unwrap()
}

async fn used(host: &Started, what: Value) -> Value {
    host.post(&format!("/api/{GUEST}/use"), what.to_string()).await.json()
}

/// The epoch and the number of a message.
pub fn place(message: &Value) -> (String, u64) {
    let text = message["position"].as_str().unwrap_or_else(|| panic!("{message}"));
    let (epoch, number) = text.split_once('-').unwrap();
    (epoch.to_owned(), number.parse().unwrap())
}

/// Publishes until the channel has a home that accepts the message.
async fn publish_at_last(client: &mut Client, channel: &str, data: Value) {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let answer = client.ask("#publish", json!({ "channel": channel, "data": data })).await;
        if answer["error"].is_null() {
            return;
        }
        assert!(Instant::now() < end, "{answer}");
        tokio::task::yield_now().await;
    }
}
