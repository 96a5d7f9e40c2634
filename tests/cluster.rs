//! Nodes that a NATS server connects.

mod broadcasts;
mod brokers;
mod cable;
pub mod calls;
mod channels;
pub mod durable;
mod events;
pub mod faults;
pub mod forward;
mod frozen;
pub mod homes;
mod layouts;
mod members;
mod messages;
mod missed;
mod network;
mod nodes;
pub mod presence;
mod push_limits;
mod pushes;
mod rolling;
mod rollouts;
mod schedules;
mod security;
mod sessions;
mod stops;
mod storm;
pub mod streams;
mod traces;
mod up;

use serde_json::{Value, json};

use crate::harness::{Nats, Started, TestHost, eventually};

/// Starts a node with modules, `waits` among them.
async fn start(nats: &Nats, id: &str, server: &str, modules: &[&str]) -> Started {
    TestHost::waits_for(modules).config(nats.node(id, server)).start().await
}

/// Waits until a node knows exactly these nodes, itself among them, each with a module.
async fn sees(host: &Started, nodes: &[(&str, &str)]) {
    eventually("the node sees the others", || async {
        let status = host.admin("GET", "/v1/nodes", "").await.json();
        let listed = status["nodes"].as_array().unwrap();
        let has = |(id, module): &(&str, &str)| {
            listed.iter().any(|node| node["id"] == *id && node["modules"].get(*module).is_some())
        };
        listed.len() == nodes.len() && nodes.iter().all(has)
    })
    .await;
}

/// Two nodes that see each other: `a-1` of the server type `alpha` and `b-1` of `beta`.
async fn two(nats: &Nats, modules: &[&str]) -> (Started, Started) {
    let (a, b) = (start(nats, "a-1", "alpha", modules).await, start(nats, "b-1", "beta", modules).await);
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    (a, b)
}

/// Three nodes with `echo` that see each other.
async fn three(nats: &Nats) -> [Started; 3] {
    let all = [
        start(nats, "a-1", "alpha", &["echo"]).await,
        start(nats, "b-1", "beta", &["echo"]).await,
        start(nats, "c-1", "alpha", &["echo"]).await,
    ];
    for host in &all {
        sees(host, &[("a-1", "echo"), ("b-1", "echo"), ("c-1", "echo")]).await;
    }
    all
}

/// A call to a node.
fn on(node: &str, route: &str) -> Value {
    json!({ "route": route, "target": { "node": node } })
}

/// The payloads that a worker has heard, in their order.
async fn heard(host: &Started, worker: u32) -> Value {
    host.run(worker, "waits", "heard&method=GET", Value::Null).await
}
