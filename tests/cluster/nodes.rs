//! The nodes of the cluster, as guests see them.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::presence::publish;
use super::up::{free_ports, project};
use super::{sees, start};
use crate::harness::{Nats, Started, TestHost, eventually};

/// What `nodes` of the contract returns in a guest of a host.
async fn told(host: &Started, wanted: Value) -> Value {
    host.run(1, "echo", "nodes", wanted).await
}

fn ids(nodes: &Value) -> Vec<&str> {
    nodes.as_array().unwrap().iter().map(|node| node["id"].as_str().unwrap()).collect()
}

/// Waits until a guest sees these nodes.
async fn guest_sees(host: &Started, nodes: &[&str]) {
    eventually("the guest sees the nodes", || async { ids(&told(host, json!({})).await) == nodes }).await;
}

#[tokio::test]
async fn guests_see_the_nodes_with_their_types_and_settings() {
    for nats in Nats::all().await {
        let port = free_ports(2);
        let gate = json!({ "id": "gate-1", "port": port, "frontend": true, "clientPort": port + 1 });
        let own = json!({ "weight": 3, "region": { "name": "eu" } });
        let mut entry = gate.clone();
        entry.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let project = project(Some(&nats), json!({ "gate": [entry] }));
        let gate = project.serve(&["--node", "gate-1"]).await;
        let a = start(&nats, "a-1", "alpha", &["echo"]).await;
        sees(&a, &[("a-1", "echo"), ("gate-1", "echo")]).await;

        let all = told(&a, json!({})).await;
        let facts = |node: &Value| {
            assert!(node["since_ms"].as_u64().unwrap() > 1_700_000_000_000, "{node}");
            let names = ["id", "server", "frontend", "workers", "settings", "extra"];
            names.map(|name| node[name].clone())
        };
        let expected = [json!(["a-1", "alpha", true, 2, {}, []]), json!(["gate-1", "gate", true, 1, own, []])];
        assert_eq!([json!(facts(&all[0])), json!(facts(&all[1]))], expected, "{all}");
        // Each node tells the same.
        let from_gate = async || {
            let sent = project.run(&["cluster", "send", "gate-1", "echo", "nodes", "{}", "--node", "gate-1"]).await;
            assert_eq!(sent.code, 0, "{}", sent.err);
            sent.json()
        };
        eventually("gate-1 knows a-1", || async { from_gate().await == all }).await;

        assert_eq!(told(&a, json!({ "server": "gate" })).await, json!([all[1]]));
        assert_eq!(told(&a, json!({ "server": "alpha" })).await, json!([all[0]]));
        assert_eq!(told(&a, json!({ "server": "beta" })).await, json!([]));
        assert_eq!(told(&a, json!({ "id": "gate-1" })).await, all[1]);
        assert_eq!(told(&a, json!({ "id": "a-1" })).await, all[0]);
        assert_eq!(told(&a, json!({ "id": "gate-2" })).await, Value::Null);

        gate.signal(Signal::KILL);
        guest_sees(&a, &["a-1"]).await;
        assert_eq!(told(&a, json!({ "id": "gate-1" })).await, Value::Null);
        assert_eq!(told(&a, json!({ "server": "gate" })).await, json!([]));
    }
}

#[tokio::test]
async fn a_guest_without_a_cluster_sees_its_own_node() {
    let host = TestHost::waits_for(&["echo"]).config(json!({ "node": { "id": "one", "server": "lone" } }));
    let host = host.start().await;
    let all = told(&host, json!({})).await;
    assert_eq!((ids(&all), &all[0]["server"], &all[0]["workers"]), (vec!["one"], &json!("lone"), &json!(2)));
    assert_eq!(told(&host, json!({ "id": "one" })).await, all[0]);
    assert_eq!(told(&host, json!({ "server": "lone" })).await, all);
    assert_eq!(told(&host, json!({ "server": "other" })).await, json!([]));
    assert_eq!(told(&host, json!({ "id": "two" })).await, Value::Null);
}

/// Answers the questions for the facts of a node, until the server ends or the stream is closed.
pub fn answer_as(nats: &Nats, node: &str, facts: Value) -> TcpStream {
    let mut stream = TcpStream::connect(nats.address()).unwrap();
    let text = format!("CONNECT {{\"verbose\":false}}\r\nSUB fanfare.info.{node} 1\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let answering = stream.try_clone().unwrap();
    let lines = BufReader::new(stream.try_clone().unwrap()).lines();
    std::thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            // `MSG <subject> <subscription> <answer to> <size>`
            let words: Vec<&str> = line.split_whitespace().collect();
            let text = match words.as_slice() {
                ["PING"] => "PONG\r\n".to_owned(),
                ["MSG", _, _, reply, _] => {
                    let facts = facts.to_string();
                    format!("PUB {reply} {}\r\n{facts}\r\n", facts.len())
                }
                _ => continue,
            };
            if stream.write_all(text.as_bytes()).is_err() {
                return;
            }
        }
    });
    answering
}

#[tokio::test]
async fn a_node_whose_facts_are_too_large_is_not_known() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let beat = |node: &str| {
        json!({ "version": 2, "node": node, "boot": "x", "since": 1, "revision": 1, "phase": "here" }).to_string()
    };
    // `{"a":".."}` with 16 KiB is the most that the settings of a node allow.
    let room = 16 * 1_024 - r#"{"a":""}"#.len();
    for (node, size) in [("z-8", room), ("z-9", room + 1)] {
        let settings = json!({ "a": "x".repeat(size) });
        answer_as(&nats, node, json!({ "id": node, "boot": "x", "server": "z", "revision": 1, "settings": settings }));
    }
    eventually("both were asked", || async {
        publish(&nats, "fanfare.nodes", &beat("z-8"));
        publish(&nats, "fanfare.nodes", &beat("z-9"));
        let listed = told(&a, json!({ "server": "z" })).await;
        !listed.as_array().unwrap().is_empty() && a.metric("fanfare_cluster_malformed_total", &[]).await >= 1.0
    })
    .await;
    let listed = told(&a, json!({ "server": "z" })).await;
    assert_eq!(ids(&listed), ["z-8"]);
    assert_eq!(listed[0]["settings"]["a"].as_str().unwrap().len(), room);
}
