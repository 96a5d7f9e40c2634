//! Nodes, servers and networks that fail. What is lost is what docs/faults.md says.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::cable::Cable;
use super::{on, sees, start, two};
use crate::cli::project::{Project, Serving};
use crate::harness::{Nats, Started, TestHost, eventually, json_of, node};
use crate::rpc::{end, message};

/// A node in a process of its own, and its folder.
pub async fn process(nats: &str, id: &str) -> (Project, Serving) {
    let rights = json!({ "rpc": ["echo", "serial", "counts"], "broadcast": ["counts"] });
    let project = Project::with(&["waits", "echo"]).config(node(id, "beta", nats));
    let project = project.config(json!({ "modules": { "waits": { "grants": rights } } }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

async fn state(host: &Started) -> String {
    host.admin("GET", "/v1/nodes", "").await.json()["state"].as_str().unwrap().to_owned()
}

/// Waits until a call to a node ends as wanted.
async fn until(host: &Started, call: Value, wanted: &str) {
    eventually("the call ends as wanted", || async { end(&host.nested(0, call.clone()).await) == wanted }).await;
}

#[tokio::test]
async fn the_calls_of_a_killed_node_end_at_once() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let (_project, b) = process(&nats.url(), "b-1").await;
    sees(&a, &[("a-1", "waits"), ("b-1", "echo")]).await;
    let hold = json!({ "route": "waits/hold", "target": { "node": "b-1" }, "timeoutMs": 20_000 });
    let gather = json!({ "name": "wave", "payload": "x", "timeoutMs": 20_000 });
    let (held, ()) = tokio::join!(a.nested(0, hold), async {
        eventually("b runs it", || async { b.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
        b.signal(Signal::KILL);
        // Until the node counts as gone, nobody receives its calls.
        let refused = a.nested(1, on("b-1", "waits/ok")).await;
        assert!(matches!(end(&refused), "unavailable" | "crashed"), "{refused}");
        let entries = a.run(1, "waits", "gather", gather).await;
        let ends: Vec<&str> = entries.as_array().unwrap().iter().map(|entry| end(&entry["outcome"])).collect();
        assert_eq!(ends[..2], ["ok", "ok"], "{entries}");
        assert!(ends[2..].iter().all(|end| matches!(*end, "unavailable" | "crashed")), "{entries}");
    });
    assert_eq!(end(&held), "crashed", "{held}");
    assert_eq!(message(&held), "node b-1 was lost; the call may have run");
    sees(&a, &[("a-1", "waits")]).await;
    for (target, why) in [
        (json!({ "node": "b-1" }), "node b-1 is not in the cluster now"),
        (json!({ "server": "beta" }), "no node of the server type beta is in the cluster now"),
    ] {
        let refused = a.nested(1, json!({ "route": "waits/ok", "target": target })).await;
        assert_eq!((end(&refused), message(&refused)), ("unavailable", why));
    }
    // The next process has the same id. What the lost one had not started is lost.
    let (_project, b) = process(&nats.url(), "b-1").await;
    sees(&a, &[("a-1", "waits"), ("b-1", "echo")]).await;
    assert_eq!(end(&a.nested(0, on("b-1", "waits/ok")).await), "ok");
    assert_eq!([heard_there(&b, 0, 'x').await, heard_there(&b, 1, 'x').await], [[""; 0]; 2]);
}

#[tokio::test]
async fn without_nats_everything_local_continues_and_the_cluster_heals() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = two(&nats, &["echo"]).await;
    let hold = json!({ "route": "waits/hold", "target": { "node": "b-1" }, "timeoutMs": 20_000 });
    let (held, ()) = tokio::join!(a.nested(0, hold), async {
        eventually("b runs it", || async { b.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
        nats.kill();
    });
    assert_eq!((end(&held), message(&held)), ("crashed", "the connection to NATS was lost; the call may have run"));
    let refused = a.nested(1, on("b-1", "waits/ok")).await;
    assert_eq!(end(&refused), "unavailable", "{refused}");
    assert_eq!(state(&a).await, "down");
    // Nothing local waits for NATS.
    assert_eq!(end(&a.nested(1, json!({ "route": "echo/who", "target": "any" })).await), "ok");
    let receipt = a.run(1, "waits", "emit", json!({ "name": "wave", "payload": "alone" })).await;
    assert_eq!(receipt["ok"]["accepted"], 2, "{receipt}");
    sees(&a, &[("a-1", "waits")]).await;
    // Also when the other nodes count as gone.
    for target in [json!({ "node": "b-1" }), json!({ "server": "beta" })] {
        let refused = a.nested(1, json!({ "route": "waits/ok", "target": target })).await;
        assert_eq!(end(&refused), "unavailable", "{refused}");
        assert!(message(&refused).starts_with("this node is not connected to NATS: "), "{refused}");
    }
    nats.run().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    assert_eq!(end(&a.nested(1, on("b-1", "waits/ok")).await), "ok");
    assert_eq!(a.metric("fanfare_cluster_downs_total", &[]).await, 1.0);
    let events = a.admin("GET", "/v1/events?follow=false", "").await.json();
    let names: Vec<&str> = events.as_array().unwrap().iter().filter_map(|event| event["type"].as_str()).collect();
    let about = ["natsUp", "natsDown", "nodeDown", "nodeUp"];
    let about: Vec<&&str> = names.iter().filter(|name| about.contains(name)).collect();
    assert_eq!(about, [&"natsUp", &"nodeUp", &"natsDown", &"nodeDown", &"natsUp", &"nodeUp"]);
}

#[tokio::test]
async fn a_receipt_names_the_nodes_that_a_broadcast_misses_while_nats_is_away() {
    let Some(mut nats) = Nats::start().await else { return };
    let patient = json!({ "cluster": { "goneAfter": "30s" } });
    let each = async |id: &str| {
        TestHost::waits_for(&["echo"]).config(nats.node(id, "node")).config(patient.clone()).start().await
    };
    let (a, b) = (each("a-1").await, each("b-1").await);
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    nats.kill();
    eventually("a has noticed", || async { state(&a).await == "down" }).await;
    let receipt = a.emit("waits", "wave", "alone").await;
    assert_eq!((&receipt["accepted"], &receipt["nodes"]), (&json!(2), &json!(0)), "{receipt}");
    assert_eq!(receipt["skipped"][0]["node"], "b-1", "{receipt}");
    assert!(receipt["skipped"][0]["reason"].as_str().unwrap().contains("not connected to NATS"), "{receipt}");
    let entries = a.run(1, "waits", "gather", json!({ "name": "wave", "payload": "gathered" })).await;
    let ends: Vec<&str> = entries.as_array().unwrap().iter().map(|entry| end(&entry["outcome"])).collect();
    assert_eq!(ends, ["ok", "ok", "unavailable", "unavailable"], "{entries}");
    nats.run().await;
    eventually("a is connected", || async { state(&a).await == "up" }).await;
    eventually("b is connected", || async { state(&b).await == "up" }).await;
    let reaches = || async { a.emit("waits", "wave", "later").await["nodes"] == 1 };
    eventually("broadcasts reach b", reaches).await;
    for worker in [0, 1] {
        let all = || async { super::heard(&b, worker).await == json!(["later"]) };
        eventually("b has heard the later one only", all).await;
        assert_eq!(super::heard(&a, worker).await, json!(["alone", "gathered", "later"]));
    }
}

#[tokio::test]
pub async fn a_node_starts_without_nats_and_joins_later() {
    let Some(mut nats) = Nats::start().await else { return };
    nats.kill();
    let settings = nats.node("a-1", "alpha");
    let quick = json!({ "cluster": { "timeout": "100ms" } });
    let a = TestHost::waits_for(&[]).config(settings).config(quick).start().await;
    assert_eq!(end(&a.nested(0, json!({ "route": "waits/ok", "target": "any" })).await), "ok");
    nats.run().await;
    let b = start(&nats, "b-1", "beta", &[]).await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
}

/// The question whether another node has its id gets no answer.
#[tokio::test]
async fn a_node_whose_connection_ends_while_it_joins_tries_again() {
    let Some(mut nats) = Nats::start().await else { return };
    let b = start(&nats, "b-1", "beta", &["echo"]).await;
    let cable = Cable::losing(nats.address(), "fanfare.info.a-1").await;
    let mut far = node("a-1", "alpha", &format!("nats://{}", cable.address));
    far["cluster"]["timeout"] = json!("5s");
    let a = TestHost::waits_for(&[]).config(far).start().await;
    eventually("it is connected", || async { a.metric("fanfare_cluster_sure", &[]).await == 0.0 }).await;
    nats.kill();
    eventually("it says so", || async { a.log.contains(&["the node cannot take part in the cluster"]) }).await;
    nats.run().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "echo")]).await;
    }
    assert_eq!(end(&b.nested(0, on("a-1", "waits/ok")).await), "ok");
}

#[tokio::test]
pub async fn a_frozen_node_is_gone_and_comes_back() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let (_project, b) = process(&nats.url(), "b-1").await;
    sees(&a, &[("a-1", "waits"), ("b-1", "echo")]).await;
    b.freeze().await;
    let call = json!({ "route": "waits/ok", "target": { "node": "b-1" }, "timeoutMs": 20_000 });
    let gather = json!({ "name": "wave", "payload": "x", "timeoutMs": 20_000 });
    let (lost, entries) = tokio::join!(a.nested(0, call), a.run(1, "waits", "gather", gather));
    assert_eq!((end(&lost), message(&lost)), ("crashed", "node b-1 was lost; the call may have run"));
    let ends: Vec<&str> = entries.as_array().unwrap().iter().map(|entry| end(&entry["outcome"])).collect();
    assert_eq!(ends, ["ok", "ok", "crashed", "crashed"], "{entries}");
    sees(&a, &[("a-1", "waits")]).await;
    b.signal(Signal::CONT);
    sees(&a, &[("a-1", "waits"), ("b-1", "echo")]).await;
    assert_eq!(end(&a.nested(0, on("b-1", "waits/ok")).await), "ok");
    // It has heard the others all the time, and takes none of them for gone.
    let events = b.operator("GET", "/v1/events?follow=false").await.json();
    assert!(!events.to_string().contains("nodeDown"), "{events}");
}

#[tokio::test]
async fn a_node_behind_a_cut_network_knows_that_it_is_alone() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let far = node("b-1", "beta", &format!("nats://{}", cable.address));
    let b = TestHost::waits_for(&["echo"]).config(far).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    cable.pull();
    let call = json!({ "route": "waits/ok", "target": { "node": "a-1" }, "timeoutMs": 20_000 });
    let lost = b.nested(0, call).await;
    assert_eq!(end(&lost), "crashed", "{lost}");
    eventually("it knows", || async { state(&b).await == "down" }).await;
    let downs = b.events_named(&["natsDown"]).await;
    assert_eq!(downs[0]["reason"], "NATS is connected, but delivers nothing", "its own heartbeats say so first");
    sees(&a, &[("a-1", "waits")]).await;
    sees(&b, &[("b-1", "waits")]).await;
    assert_eq!(end(&b.nested(1, json!({ "route": "echo/who", "target": "any" })).await), "ok");
    assert_eq!(end(&b.nested(1, on("a-1", "waits/ok")).await), "unavailable");
    cable.plug_in();
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    assert_eq!(end(&b.nested(0, on("a-1", "waits/ok")).await), "ok");
}

#[tokio::test]
async fn one_of_three_servers_may_end() {
    let Some(mut servers) = Nats::three().await else { return };
    let urls: Vec<String> = servers.iter().map(Nats::url).collect();
    let urls = urls.join(",");
    let each = async |id: &str| TestHost::waits_for(&[]).config(node(id, "node", &urls)).start().await;
    let a = each("a-1").await;
    // A node also starts with another server than the first one.
    servers[0].kill();
    let b = each("b-1").await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
    }
    servers[0].run().await;
    for server in &mut servers {
        server.kill();
        for host in [&a, &b] {
            sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
        }
        // A call that was on its way to the server that ended is lost.
        let call = json!({ "route": "waits/ok", "target": { "node": "b-1" }, "timeoutMs": 500 });
        until(&a, call, "ok").await;
        server.run().await;
    }
}

/// The payloads that begin with a letter, among those that a worker of a process has heard.
async fn heard_there(host: &Serving, worker: u32, letter: char) -> Vec<String> {
    let path = format!("/v1/modules/waits/call?target=worker-{worker}&path=heard&method=GET");
    let all = json_of(&host.operator("POST", &path).await.json());
    let texts = all.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned());
    texts.filter(|text| text.starts_with(letter)).collect()
}

#[tokio::test]
async fn a_node_that_was_frozen_for_long_runs_what_has_arrived_for_it_once() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &["echo"]).await;
    let c = start(&nats, "c-1", "alpha", &["echo"]).await;
    let (_project, b) = process(&nats.url(), "b-1").await;
    let all = [("a-1", "echo"), ("b-1", "echo"), ("c-1", "echo")];
    let b_sees_all = || async { b.operator("GET", "/v1/nodes").await.json()["nodes"].as_array().unwrap().len() == 3 };
    for host in [&a, &c] {
        sees(host, &all).await;
    }
    eventually("b sees the others", b_sees_all).await;
    b.freeze().await;
    // Five times `cluster.goneAfter`.
    let (begun, frozen) = (Instant::now(), Duration::from_secs(3));
    let (mut ends, mut waves, mut pace) = (Vec::new(), Vec::new(), tokio::time::interval(Duration::from_millis(40)));
    while begun.elapsed() < frozen {
        pace.tick().await;
        let number = waves.len();
        let receipt = a.run(0, "waits", "emit", json!({ "name": "wave", "payload": format!("w{number}") })).await;
        assert_eq!((&receipt["ok"]["accepted"], &receipt["ok"]["skipped"]), (&json!(2), &json!([])), "{receipt}");
        waves.push(format!("w{number}"));
        let payload = format!("c{number}");
        let call =
            json!({ "route": "waits/hear", "target": { "node": "b-1" }, "payload": payload, "timeoutMs": 20_000 });
        let ended = a.nested(1, call).await;
        ends.push((payload, end(&ended).to_owned()));
    }
    // The first call waits until the node counts as gone. Later ones do not start.
    let (first, later) = ends.split_first().unwrap();
    assert_eq!(first.1, "crashed", "{ends:?}");
    assert!(later.len() > 10 && later.iter().all(|(_, end)| end == "unavailable"), "{ends:?}");
    let gathered = a.run(1, "waits", "gather", json!({ "name": "wave", "payload": "gathered" })).await;
    let places: Vec<_> = gathered.as_array().unwrap().iter().map(|entry| entry["node"].as_str()).collect();
    assert_eq!(places, [None, None, Some("c-1"), Some("c-1")], "{gathered}");

    b.signal(Signal::CONT);
    for host in [&a, &c] {
        sees(host, &all).await;
    }
    eventually("b sees the others again", b_sees_all).await;
    a.run(0, "waits", "emit", json!({ "name": "wave", "payload": "w-last" })).await;
    waves.push("w-last".to_owned());
    // NATS has kept the broadcasts for it, because c has the module too.
    for worker in [0, 1] {
        let last = || async { heard_there(&b, worker, 'w').await.last().is_some_and(|wave| wave == "w-last") };
        eventually("b has heard the last one", last).await;
        assert_eq!(heard_there(&b, worker, 'w').await, waves, "each once, in their order");
        assert_eq!(heard_there(&b, worker, 'g').await, ["gathered"]);
        for host in [&a, &c] {
            let heard = super::heard(host, worker).await;
            let heard: Vec<_> = heard.as_array().unwrap().iter().filter(|wave| **wave != "gathered").collect();
            assert_eq!(heard, waves.iter().collect::<Vec<_>>());
        }
    }
    assert_eq!(b.metric("fanfare_cluster_missed_total", &[]).await, 0.0);
    // The call that ended as `crashed` has run once, and the others not at all.
    let mut calls = heard_there(&b, 0, 'c').await;
    calls.extend(heard_there(&b, 1, 'c').await);
    assert_eq!(calls, ["c0"]);
    let events = b.operator("GET", "/v1/events?follow=false").await.json();
    assert!(!events.to_string().contains("nodeDown"), "{events}");
}

/// Emits on a node whose network carries nothing, until a receipt says that a queue is full.
async fn fill(queue: Value) {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let b = start(&nats, "b-1", "beta", &[]).await;
    let far = node("a-1", "alpha", &format!("nats://{}", cable.address));
    let patient = json!({ "cluster": { "goneAfter": "30s", "queue": queue } });
    let a = TestHost::waits_for(&[]).config(far).config(patient).start().await;
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
    cable.pull();
    let payload = "x".repeat(64 * 1_024);
    let (mut sent, mut refused) = (0, None);
    while refused.is_none() {
        let receipt = a.emit("waits", "wave", payload.clone()).await;
        assert_eq!(receipt["accepted"], 2, "it runs here: {receipt}");
        refused = receipt["skipped"].get(0).cloned();
        sent += usize::from(refused.is_none());
        assert!(sent < 3_000, "the queue has a limit: the network and the client keep the others");
    }
    let refused = refused.unwrap();
    assert!(refused.to_string().contains("cluster.queue has no room"), "{refused}");
    assert_eq!(refused["node"], "b-1", "{refused}");
    assert!(a.metric("fanfare_cluster_refused_total", &[]).await >= 1.0);
    cable.plug_in();
    // What was accepted arrives, once in each worker.
    let ran = || async { b.metric("fanfare_calls_total", &["module=\"waits\"", "trigger=\"broadcast\""]).await };
    eventually("it arrives", || async { ran().await == 2.0 * sent as f64 }).await;
    assert_eq!(b.metric("fanfare_cluster_missed_total", &[]).await, 0.0);
}

#[tokio::test]
pub async fn broadcasts_beyond_the_messages_of_the_queue_are_named_in_the_receipt() {
    fill(json!({ "messages": 2 })).await;
}

#[tokio::test]
pub async fn broadcasts_beyond_the_bytes_of_the_queue_are_named_in_the_receipt() {
    fill(json!({ "bytes": "200KiB" })).await;
}
