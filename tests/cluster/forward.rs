//! Messages of clients that other nodes run: clients on frontends of the type `gate`, and their
//! module on backends of the type `chat`.

mod copies;
mod faults;
mod limits;
mod lost;
mod messages;
mod order;
mod plain;
mod routers;

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::sees;
use crate::harness::{Nats, Started, TestHost, WebSocket};
use crate::socketcluster::greet;

const PATH: &str = "/socketcluster/";

/// A frontend. Its module `gate` is the guest `sessions`, too.
fn gate(nats: &Nats, id: &str) -> TestHost {
    let listener = json!({ "path": PATH, "module": "gate" });
    TestHost::empty()
        .and_as("sessions", "gate")
        .grant("gate", json!({ "sessions": true }))
        .config(nats.node(id, "gate"))
        .config(json!({ "websocket": { "listeners": [listener] } }))
}

/// A backend with the module `sessions`, whose config has the number of the backend.
fn chat(nats: &Nats, number: u32) -> TestHost {
    TestHost::with("sessions")
        .grant("sessions", json!({ "sessions": true }))
        .manifest("sessions", json!({ "config": { "version": number } }))
        .config(nats.node(&format!("chat-{number}"), "chat"))
}

/// Waits until each host knows the frontend `gate-1` and these backends.
async fn all_see(hosts: &[&Started], backends: &[&str]) {
    let nodes: Vec<(&str, &str)> = backends.iter().map(|id| (*id, "sessions")).chain([("gate-1", "gate")]).collect();
    for host in hosts {
        sees(host, &nodes).await;
    }
}

/// A frontend and two backends that see each other. `routers` is `cluster.routers` of the frontend.
async fn three(nats: &Nats, routers: Value) -> (Started, [Started; 2]) {
    three_of(nats, gate(nats, "gate-1").config(json!({ "cluster": { "routers": routers } }))).await
}

async fn three_of(nats: &Nats, front: TestHost) -> (Started, [Started; 2]) {
    let front = front.start().await;
    let backs = [chat(nats, 1).start().await, chat(nats, 2).start().await];
    all_see(&[&front, &backs[0], &backs[1]], &["chat-1", "chat-2"]).await;
    (front, backs)
}

/// A frontend and a backend that see each other.
async fn pair(nats: &Nats) -> (Started, Started) {
    pair_of(gate(nats, "gate-1"), chat(nats, 1)).await
}

async fn pair_of(front: TestHost, back: TestHost) -> (Started, Started) {
    let (front, back) = (front.start().await, back.start().await);
    all_see(&[&front, &back], &["chat-1"]).await;
    (front, back)
}

/// A client of SocketCluster with an open session.
async fn client(host: &Started) -> WebSocket {
    client_at(host.http).await
}

async fn client_at(address: SocketAddr) -> WebSocket {
    let mut client = WebSocket::open(address, PATH).await;
    let greeted = greet(&mut client, Value::Null).await;
    assert!(greeted["data"]["id"].is_string(), "{greeted}");
    client
}

/// Sends a message without waiting for its answer.
async fn send(client: &mut WebSocket, cid: u64, name: &str, data: Value) {
    client.send(&json!({ "event": name, "data": data, "cid": cid }).to_string()).await;
}

/// Sends a message and returns the next packet.
async fn call(client: &mut WebSocket, name: &str, data: Value) -> Value {
    client.ask(json!({ "event": name, "data": data, "cid": 7 })).await
}

/// Calls a function of `sessions` on a backend, in a call of the client.
async fn there(client: &mut WebSocket, what: Value) -> Value {
    let answer = call(client, "sessions.use", what).await;
    assert_eq!(answer["rid"], 7, "{answer}");
    answer["data"].clone()
}

/// The same on the frontend.
async fn here(client: &mut WebSocket, what: Value) -> Value {
    let answer = call(client, "gate.use", what).await;
    assert_eq!(answer["rid"], 7, "{answer}");
    answer["data"].clone()
}

/// Calls several functions of `sessions` on a backend, in one call of the client.
async fn steps(client: &mut WebSocket, steps: &[Value]) -> Vec<Value> {
    let steps: Vec<Value> = steps.iter().map(|step| json!({ "use": step })).collect();
    let answer = call(client, "sessions.steps", json!(steps)).await;
    serde_json::from_value(answer["data"].clone()).unwrap_or_else(|_| panic!("{answer}"))
}

/// What the module has recorded in the workers of a backend.
async fn seen(back: &Started) -> Vec<Value> {
    let mut all = Vec::new();
    for worker in 0..2 {
        all.extend(back.run(worker, "sessions", "seen", Value::Null).await.as_array().unwrap().clone());
    }
    all
}

/// The number of the backend that runs the messages of a client.
async fn node_of(client: &mut WebSocket) -> u64 {
    let facts = call(client, "sessions.facts", Value::Null).await;
    facts["data"]["version"].as_u64().unwrap_or_else(|| panic!("{facts}"))
}

/// Sets a value of the session.
fn set(key: &str, value: &Value) -> Value {
    json!({ "do": "set", "values": [[key, value.to_string()]] })
}

/// The numbers in a fact that the filter `step` of a backend has seen, in the worker that runs the
/// messages of the only client.
async fn numbers_seen(back: &Started, fact: &str) -> Vec<u64> {
    let mut all = Vec::new();
    for worker in 0..2 {
        let seen = back.run(worker, "sessions", "seen", Value::Null).await;
        let bodies: Vec<u64> =
            seen.as_array().unwrap().iter().map(|facts| facts[fact].as_str().unwrap().parse().unwrap()).collect();
        assert!(all.is_empty() || bodies.is_empty(), "one worker runs the messages of a session");
        all.extend(bodies);
    }
    all
}
