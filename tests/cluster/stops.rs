//! Nodes that stop in order while others call them, and read what they publish.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Value, json};

use super::cable::Cable;
use super::nodes::answer_as;
use super::presence::publish;
use super::streams::{streams, until_state};
use super::{sees, start};
use crate::cli::project::Project;
use crate::harness::{Connection, EventStream, Nats, Started, TestHost, eventually, node};
use crate::rpc::end;

#[tokio::test]
async fn no_call_fails_when_nodes_stop_in_order_one_after_another() {
    let Some(nats) = Nats::start().await else { return };
    // What is on its way to a node that stops arrives late.
    let cable = Cable::to(nats.address(), Duration::from_millis(20)).await;
    let far = node("a-1", "alpha", &format!("nats://{}", cable.address));
    let a = TestHost::waits_for(&["echo"]).config(far).start().await;
    let beta = async |id: &str| start(&nats, id, "beta", &["echo"]).await;
    let mut others = vec![beta("b-1").await, beta("c-1").await];
    sees(&a, &[("a-1", "echo"), ("b-1", "echo"), ("c-1", "echo")]).await;
    let (stop, answered) = (AtomicBool::new(false), AtomicU64::new(0));
    let calls = async |worker: u32| {
        while !stop.load(Relaxed) {
            let call = json!({ "route": "echo/who", "target": { "server": "beta" } });
            let told = a.nested(worker, call).await;
            assert_eq!(end(&told), "ok", "{told}");
            answered.fetch_add(1, Relaxed);
        }
    };
    let stops = async {
        for id in ["d-1", "e-1", "f-1", "g-1"] {
            let before = answered.load(Relaxed);
            eventually("calls go on", || async { answered.load(Relaxed) > before + 50 }).await;
            others.remove(0).stop().await;
            others.push(beta(id).await);
            eventually("a sees it", || async { knows(&a, id).await }).await;
        }
        stop.store(true, Relaxed);
    };
    tokio::join!(stops, calls(0), calls(0), calls(0), calls(1), calls(1), calls(1));
}

#[tokio::test]
async fn nothing_is_left_of_a_node_that_has_ended() {
    let Some(nats) = Nats::start().await else { return };
    let b = start(&nats, "b-1", "beta", &["echo"]).await;
    for stops in [false, true] {
        let a = start(&nats, "a-1", "alpha", &["echo"]).await;
        sees(&a, &[("a-1", "echo"), ("b-1", "echo")]).await;
        let told = a.nested(0, json!({ "route": "echo/who", "target": { "server": "beta" } })).await;
        assert_eq!(end(&told), "ok", "{told}");
        let left = Arc::downgrade(a.running().dispatch());
        match stops {
            true => _ = a.stop().await,
            false => drop(a),
        }
        eventually("nothing is left", || async { left.strong_count() == 0 }).await;
        eventually("b misses it", || async { listed(&b, "a-1").await.is_none() }).await;
    }
}

async fn knows(host: &Started, id: &str) -> bool {
    listed(host, id).await.is_some_and(|node| node["modules"].get("echo").is_some())
}

async fn listed(host: &Started, id: &str) -> Option<Value> {
    let nodes = host.admin("GET", "/v1/nodes", "").await.json();
    nodes["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).cloned()
}

#[tokio::test]
async fn a_node_answers_one_that_stops_once_it_has_read_that() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let facts = json!({ "id": "z-1", "boot": "x", "server": "zeta", "revision": 1, "workers": 1 });
    let _z = answer_as(&nats, "z-1", facts);
    let beat = |phase: &str| {
        json!({ "version": 2, "node": "z-1", "boot": "x", "since": 1, "revision": 1, "phase": phase }).to_string()
    };
    eventually("a knows z", || async {
        publish(&nats, "fanfare.nodes", &beat("here"));
        listed(&a, "z-1").await.is_some()
    })
    .await;
    let publishes = |subject: &str, payload: &str| format!("PUB {subject} {}\r\n{payload}\r\n", payload.len());
    let many = publishes("fanfare.nodes", &beat("here")).repeat(20_000);
    let last = publishes("fanfare.nodes", &beat("leaving")) + &publishes("fanfare.info.a-1 answer", "settles");
    let answered = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(nats.address()).unwrap();
        let text = format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\n{many}{last}");
        stream.write_all(text.as_bytes()).unwrap();
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let answer = lines.find(|line| line.starts_with("MSG answer")).unwrap();
        (nats, answer)
    });
    let (_nats, _answer) = answered.await.unwrap();
    assert_eq!(listed(&a, "z-1").await, None);
}

#[tokio::test]
async fn what_a_node_has_published_before_it_stops_in_order_arrives() {
    let Some(nats) = Nats::start().await else { return };
    let b = streams(&nats, "b-1").start().await;
    until_state(&b, "up").await;
    let mut reader = EventStream::open(b.http, "/stream?connectKey=streams/x").await;
    let padding = "x".repeat(1_000);
    // What the node has written arrives late, so that something waits when it ends.
    let cable = Cable::to(nats.address(), Duration::from_millis(20)).await;
    let far = node("a-1", "node", &format!("nats://{}", cable.address));
    let project = Project::with(&["streams"]).config(far);
    for round in 0..5 {
        let a = project.serve(&[]).await;
        let state = || async { a.operator("GET", "/v1/nodes").await.json()["state"].clone() };
        eventually("a is up", || async { state().await == "up" }).await;
        let numbers = round * 500..(round + 1) * 500;
        let burst = json!({ "key": "streams/x", "from": numbers.start, "count": 500, "size": 1_000 });
        let mut connection = Connection::open(a.http).await;
        let reached = connection.send("POST", "/api/streams/burst", &[], burst.to_string()).await;
        assert_eq!(reached.status, 200, "{}", reached.text());
        // In a process of its own, nothing is written after its end.
        assert_eq!(a.stop().await.0, Some(0));
        for number in numbers {
            let event = reader.event().await.unwrap();
            let data = format!("{number}{padding}");
            assert!(event.name() == "message" && event.text() == data, "{number}");
        }
    }
}
