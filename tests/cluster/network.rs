//! Networks between the nodes and NATS that are slow, or cut for a while.

use std::time::Duration;

use serde_json::{Value, json};

use super::cable::Cable;
use super::{heard, on, sees, start};
use crate::harness::{Nats, Started, TestHost, eventually, node};
use crate::rpc::{end, message};

/// The payloads that begin with a letter, among those that a worker has heard.
async fn heard_of(host: &Started, worker: u32, letter: char) -> Vec<String> {
    let all = heard(host, worker).await;
    let texts = all.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
    texts.filter(|text| text.starts_with(letter)).collect()
}

#[tokio::test]
async fn a_cluster_works_over_a_slow_network() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::from_millis(200)).await;
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let far = node("b-1", "beta", &format!("nats://{}", cable.address));
    let b = TestHost::waits_for(&["echo"]).config(far).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    let count = 60;
    let emits = async |host: &Started, letter: char| {
        for number in 0..count {
            let emission = json!({ "name": "wave", "payload": format!("{letter}{number}") });
            let receipt = host.run(number % 2, "waits", "emit", emission).await;
            assert_eq!(receipt["ok"]["skipped"], json!([]), "{receipt}");
        }
    };
    let calls = async |host: &Started, other: &str| {
        for ended in futures_util::future::join_all((0..20).map(|_| host.nested(0, on(other, "echo/who")))).await {
            assert_eq!(end(&ended), "ok", "{ended}");
        }
    };
    let gathers = async |host: &Started| {
        let entries = host.run(1, "waits", "gather", json!({ "name": "wave", "payload": "gathered" })).await;
        let entries = entries.as_array().unwrap();
        assert_eq!(entries.len(), 4, "{entries:?}");
        assert!(entries.iter().all(|entry| end(&entry["outcome"]) == "ok"), "{entries:?}");
    };
    tokio::join!(
        emits(&a, 'a'),
        emits(&b, 'b'),
        calls(&a, "b-1"),
        calls(&b, "a-1"),
        gathers(&a),
        gathers(&b),
        calls(&a, "b-1"),
        calls(&b, "a-1"),
    );
    for host in [&a, &b] {
        for (worker, letter) in [(0, 'a'), (1, 'a'), (0, 'b'), (1, 'b')] {
            let expected: Vec<String> = (0..count).map(|number| format!("{letter}{number}")).collect();
            let arrived = || async { heard_of(host, worker, letter).await.len() >= expected.len() };
            eventually("all broadcasts arrive", arrived).await;
            assert_eq!(heard_of(host, worker, letter).await, expected, "each once, in the order of its node");
        }
        assert_eq!(host.metric("fanfare_cluster_downs_total", &[]).await, 0.0);
        assert_eq!(host.metric("fanfare_cluster_missed_total", &[]).await, 0.0);
        assert!(host.events_named(&["nodeDown"]).await.is_empty(), "no node counted as gone");
    }
    let micros = a.metric("fanfare_cluster_round_trip_microseconds", &["node=\"b-1\""]).await;
    assert!(micros >= 400_000.0, "there and back: {micros}");
}

/// The process that a host has for a node, and the state of the host.
async fn listed(host: &Started, id: &str) -> (Value, String) {
    let status = host.admin("GET", "/v1/nodes", "").await.json();
    let found = status["nodes"].as_array().unwrap().iter().find(|node| node["id"] == id).cloned();
    (found.map_or(Value::Null, |node| node["boot"].clone()), status["state"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn of_two_nodes_that_took_one_id_on_both_sides_of_a_cut_one_is_refused() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let witness = start(&nats, "w-1", "alpha", &["echo"]).await;
    let far = node("a-1", "beta", &format!("nats://{}", cable.address));
    let first = TestHost::waits_for(&["echo"]).config(far).start().await;
    sees(&witness, &[("a-1", "echo"), ("w-1", "echo")]).await;
    cable.pull();
    sees(&witness, &[("w-1", "echo")]).await;
    // The id is free on this side.
    let second = start(&nats, "a-1", "beta", &["echo"]).await;
    sees(&witness, &[("a-1", "echo"), ("w-1", "echo")]).await;
    let ((own, _), (earlier, _)) = (listed(&second, "a-1").await, listed(&first, "a-1").await);
    assert_ne!(own, earlier);
    cable.plug_in();

    // The one that has the id on the side of the others keeps it. The other one says so.
    eventually("the first one is refused", || async { listed(&first, "a-1").await.1 == "conflict" }).await;
    let status = first.admin("GET", "/v1/nodes", "").await.json();
    assert_eq!(status["reason"], "another node has the id of this node: set node.id", "{status}");
    assert_eq!(listed(&second, "a-1").await.1, "up");
    // It hears the others, but calls none of them.
    eventually("the first one sees the others", || async { listed(&first, "w-1").await.0.is_string() }).await;
    let refused = first.nested(0, on("w-1", "waits/ok")).await;
    assert_eq!(end(&refused), "unavailable", "{refused}");
    assert!(message(&refused).contains("another node has the id of this node"), "{refused}");
    let receipt = first.emit("waits", "wave", "alone").await;
    assert_eq!((&receipt["accepted"], &receipt["nodes"]), (&json!(2), &json!(0)), "it serves alone: {receipt}");
    assert_eq!(receipt["skipped"][0]["node"], "w-1", "{receipt}");
    // The others call one of them only.
    assert_eq!(listed(&witness, "a-1").await.0, own);
    for number in 0..10 {
        let call = json!({ "route": "waits/hear", "target": { "node": "a-1" }, "payload": format!("call{number}") });
        assert_eq!(end(&witness.nested(0, call).await), "ok");
    }
    let mut calls = Vec::new();
    for worker in [0, 1] {
        calls.extend(heard_of(&second, worker, 'c').await);
        assert_eq!(heard_of(&first, worker, 'c').await, [""; 0]);
    }
    assert_eq!(calls.len(), 10, "{calls:?}");
    // When the id is free again, the one that was refused takes part.
    second.stop().await;
    eventually("it takes part again", || async {
        let (boot, state) = listed(&first, "a-1").await;
        state == "up" && listed(&witness, "a-1").await.0 == boot
    })
    .await;
    assert_eq!(end(&witness.nested(0, on("a-1", "waits/ok")).await), "ok");
}
