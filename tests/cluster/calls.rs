//! Calls between nodes.

use serde_json::{Value, json};

use super::{on, sees, start, two};
use crate::harness::{Nats, TestHost, eventually};
use crate::rpc::{end, message, replied};

#[tokio::test]
async fn a_call_crosses_nodes_on_each_version_of_nats() {
    for nats in Nats::all().await {
        let (a, _b) = two(&nats, &["echo"]).await;
        for target in [json!({ "node": "b-1" }), json!({ "server": "beta" })] {
            let wanted = json!({ "route": "echo/context", "target": target, "timeoutMs": 700, "subdomain": "acme" });
            let context = replied(&a.nested(1, wanted).await);
            assert_eq!((&context["whoami"]["node"], &context["whoami"]["server"]), (&json!("b-1"), &json!("beta")));
            assert_eq!((&context["trigger"], &context["subdomain"]), (&json!("rpc"), &json!("acme")));
            let left = context["deadlineMs"].as_u64().unwrap();
            assert!((1..=700).contains(&left), "{left}");
            let origin = context["origin"].as_str().unwrap();
            assert!(["waits", "Worker(1)", "a-1"].iter().all(|part| origin.contains(part)), "{origin}");
        }
        let fails = json!({ "name": "no", "message": "not today", "status": 418, "data": "why" });
        let failed = json!({ "route": "echo/fail", "target": { "node": "b-1" }, "payload": fails });
        let failed = a.nested(0, failed).await;
        let failure = json!({ "name": "no", "status": 418, "data": "\"why\"" });
        assert_eq!((end(&failed), &failed["error"]["failure"]), ("failure", &failure), "{failed}");
        let missing = a.nested(0, on("b-1", "echo/nothing")).await;
        assert_eq!((end(&missing), message(&missing)), ("not-found", "there is no route echo/nothing"));
        let elsewhere = a.nested(0, on("c-1", "echo/who")).await;
        assert_eq!((end(&elsewhere), message(&elsewhere)), ("not-found", "there is no node c-1"));
        let late = json!({ "route": "waits/hold", "target": { "node": "b-1" }, "timeoutMs": 100 });
        assert_eq!(end(&a.nested(0, late).await), "timeout");
    }
}

#[tokio::test]
async fn a_module_that_only_other_nodes_have_is_called_there_in_turn() {
    let Some(nats) = Nats::start().await else { return };
    let rights = json!({ "rpc": ["echo"] });
    let a = TestHost::waits_for(&[]).config(nats.node("a-1", "alpha")).grant("waits", rights.clone());
    let a = a.manifest("waits", json!({ "capabilities": rights })).start().await;
    let b = start(&nats, "b-1", "beta", &["echo"]).await;
    let c = start(&nats, "c-1", "beta", &["echo"]).await;
    for host in [&a, &b, &c] {
        sees(host, &[("a-1", "waits"), ("b-1", "echo"), ("c-1", "echo")]).await;
    }
    let who = |target: Value| json!({ "route": "echo/context", "target": target });
    let mut nodes = Vec::new();
    for _ in 0..4 {
        let ended = a.nested(0, who(json!("any"))).await;
        assert_eq!(end(&ended), "ok", "{ended}");
        nodes.push(replied(&ended)["whoami"]["node"].as_str().unwrap().to_owned());
    }
    nodes.sort();
    assert_eq!(nodes, ["b-1", "b-1", "c-1", "c-1"]);
    for target in [json!("any"), json!({ "server": "beta" })] {
        for _ in 0..3 {
            let context = replied(&b.nested(0, who(target.clone())).await);
            assert_eq!(context["whoami"]["node"], "b-1", "a node that has the module comes first");
        }
    }
    let missing = a.nested(0, json!({ "route": "flags/x", "target": "any" })).await;
    assert_eq!(end(&missing), "forbidden", "{missing}");
    // The module comes to the node, and goes again.
    std::fs::remove_dir_all(b.dir.path().join("modules/echo")).unwrap();
    b.admin("POST", "/v1/reload", "").await;
    eventually("the other node serves all calls", || async {
        let status = a.admin("GET", "/v1/nodes", "").await.json();
        status["nodes"][1]["modules"].get("echo").is_none()
    })
    .await;
    for _ in 0..3 {
        assert_eq!(replied(&b.nested(0, who(json!("any"))).await)["whoami"]["node"], "c-1");
    }
    c.stop().await;
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
    let gone = a.nested(0, who(json!("any"))).await;
    assert_eq!((end(&gone), message(&gone)), ("unavailable", "no node with the module echo is in the cluster now"));
}

#[tokio::test]
async fn groups_reach_every_node() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats, &["echo"]).await;
    let places = async |group: Value| {
        let entries = a.run(1, "waits", "every", json!({ "route": "echo/who", "group": group })).await;
        let place = |entry: &Value| {
            assert_eq!(replied(&entry["outcome"])["isolate"], entry["isolate"], "{entry}");
            (entry["node"].as_str().unwrap_or("here").to_owned(), entry["isolate"].as_str().unwrap().to_owned())
        };
        entries.as_array().unwrap().iter().map(place).collect::<Vec<_>>()
    };
    let all = [("here", "worker-0"), ("here", "worker-1"), ("b-1", "worker-0"), ("b-1", "worker-1")];
    assert_eq!(places(json!("cluster")).await, all.map(|(node, isolate)| (node.to_owned(), isolate.to_owned())));
    let nodes: Vec<String> = places(json!("nodes")).await.into_iter().map(|(node, _)| node).collect();
    assert_eq!(nodes, ["here", "b-1"]);
    let notify = json!({ "route": "/hear", "payload": "note", "group": "cluster" });
    assert_eq!(a.run(0, "waits", "notify", notify).await, json!({ "ok": 4 }));
    for host in [&a, &b] {
        for worker in [0, 1] {
            let arrived = || async { super::heard(host, worker).await == json!(["note"]) };
            eventually("the notification arrives everywhere", arrived).await;
        }
    }
}

#[tokio::test]
async fn a_call_that_returns_to_a_waiting_serial_guest_would_deadlock() {
    let Some(nats) = Nats::start().await else { return };
    let rights = json!({ "rpc": ["waits"] });
    let node = |id: &str| {
        let host = TestHost::waits_for(&["serial"]).workers(1).grant("serial", rights.clone());
        host.manifest("serial", json!({ "capabilities": rights })).config(nats.node(id, "node"))
    };
    let (a, b) = (node("a-1").start().await, node("b-1").start().await);
    for host in [&a, &b] {
        sees(host, &[("a-1", "serial"), ("b-1", "serial")]).await;
    }
    let back = json!({ "route": "serial/who", "target": { "node": "a-1" } });
    let through = json!({ "route": "waits/nested", "target": { "node": "b-1" }, "payload": back });
    let ended = replied(&a.run(0, "serial", "nested", through).await);
    assert_eq!(end(&ended), "would-deadlock", "{ended}");
}

#[tokio::test]
async fn what_is_too_large_for_nats_is_refused_with_the_limit() {
    let Some(nats) = Nats::configured("max_payload: 65536").await else { return };
    let (a, _b) = two(&nats, &["echo"]).await;
    let send = async |size: usize| {
        let wanted = json!({ "route": "echo/echo", "target": { "node": "b-1" }, "payload": "x".repeat(size) });
        a.nested(0, wanted).await
    };
    assert_eq!(end(&send(60_000).await), "ok");
    let large = send(70_000).await;
    assert_eq!(end(&large), "invalid", "{large}");
    assert!(message(&large).contains("max_payload of the NATS server allows 65536"), "{large}");
    let wanted = json!({ "route": "echo/big?bytes=70000", "target": { "node": "b-1" } });
    let large = a.nested(0, wanted).await;
    assert_eq!(end(&large), "invalid", "{large}");
    assert!(message(&large).contains("the reply has"), "{large}");
    // A broadcast runs on this node, and the receipt names the others.
    let receipt = a.emit("waits", "wave", "x".repeat(70_000)).await;
    assert_eq!((&receipt["accepted"], &receipt["nodes"]), (&json!(2), &json!(0)), "{receipt}");
    let skipped = &receipt["skipped"][0];
    let reason = skipped["reason"].as_str().unwrap();
    assert!(skipped["node"] == "b-1" && reason.contains("max_payload of the NATS server allows 65536"), "{receipt}");
}

#[tokio::test]
pub async fn calls_beyond_the_limits_are_refused_and_counted() {
    let Some(nats) = Nats::start().await else { return };
    let node = |id: &str, limits: Value| {
        let host = TestHost::waits_for(&[]).config(nats.node(id, "node"));
        host.config(json!({ "cluster": limits })).start()
    };
    let a = node("a-1", json!({ "maxWaiting": 2 })).await;
    let b = node("b-1", json!({ "maxServing": 1 })).await;
    let c = node("c-1", json!({})).await;
    for host in [&a, &b, &c] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits"), ("c-1", "waits")]).await;
    }
    let hold = |node: &str| json!({ "route": "waits/hold", "target": { "node": node }, "timeoutMs": 5_000 });
    let holding = async |host: &crate::harness::Started| host.metric("fanfare_cluster_serving", &[]).await;
    let first =
        tokio::join!(async { (a.nested(0, hold("b-1")).await, a.nested(0, on("b-1", "waits/ok")).await) }, async {
            eventually("b runs a call", || async { holding(&b).await == 1.0 }).await;
            let refused = c.nested(0, on("b-1", "waits/ok")).await;
            assert_eq!(end(&refused), "overloaded", "{refused}");
            assert!(message(&refused).contains("cluster.maxServing"), "{refused}");
            // With a second one, `a` has as many calls that wait as it may have.
            let (held, ()) = tokio::join!(a.nested(1, hold("c-1")), async {
                eventually("a waits for two", || async { a.metric("fanfare_cluster_waiting", &[]).await == 2.0 }).await;
                let refused = a.nested(0, on("c-1", "waits/ok")).await;
                assert_eq!(end(&refused), "overloaded", "{refused}");
                assert!(message(&refused).contains("cluster.maxWaiting"), "{refused}");
                for worker in [0, 1] {
                    c.run(worker, "waits", "release", Value::Null).await;
                    b.run(worker, "waits", "release", Value::Null).await;
                }
            });
            assert_eq!(end(&held), "ok", "{held}");
        },);
    assert_eq!((end(&first.0.0), end(&first.0.1)), ("ok", "ok"), "{first:?}");
    assert_eq!(a.metric("fanfare_cluster_waiting_refused_total", &[]).await, 1.0);
    assert_eq!(b.metric("fanfare_cluster_serving_refused_total", &[]).await, 1.0);
    assert_eq!(a.metric("fanfare_cluster_sent_total", &["node=\"b-1\""]).await, 2.0);
    assert_eq!(b.metric("fanfare_cluster_received_total", &["node=\"a-1\""]).await, 2.0);
    assert_eq!(a.metric("fanfare_cluster_in_flight", &[]).await, 0.0);
}
