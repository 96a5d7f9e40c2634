//! Which nodes are there.

use std::io::Write as _;
use std::net::{Shutdown, TcpStream};

use fanfare::StartError;
use fanfare::api::HostEvent;
use serde_json::{Value, json};

use super::nodes::answer_as;
use super::{heard, on, sees, start, two};
use crate::harness::{Nats, Started, TestHost, eventually, node};
use crate::rpc::{end, message};

/// The host events of these types so far.
async fn events(host: &Started, types: &[&str]) -> Vec<Value> {
    let all = host.admin("GET", "/v1/events?follow=false", "").await.json();
    let wanted = |event: &&Value| types.iter().any(|name| event["type"] == *name);
    all.as_array().unwrap().iter().filter(wanted).cloned().collect()
}

#[tokio::test]
pub async fn nodes_that_come_and_go_are_events_and_hooks() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats, &[]).await;
    eventually("the cluster is ready", || async { events(&a, &["clusterReady"]).await.len() == 1 }).await;
    let up = events(&a, &["natsUp", "nodeUp"]).await;
    let expected = json!({ "node": "b-1", "server": "beta", "workers": 2 });
    assert!(["node", "server", "workers"].iter().all(|key| up[1][key] == expected[key]), "{up:?}");
    assert_eq!(up[0]["address"], nats.url());
    b.stop().await;
    eventually("the node is gone", || async { !events(&a, &["nodeDown"]).await.is_empty() }).await;
    let down = events(&a, &["nodeDown"]).await;
    assert_eq!((&down[0]["node"], &down[0]["reason"]), (&json!("b-1"), &json!("it stopped")));
    sees(&a, &[("a-1", "waits")]).await;
    let gone = a.nested(0, on("b-1", "waits/ok")).await;
    assert_eq!((end(&gone), message(&gone)), ("unavailable", "node b-1 is not in the cluster now"));
    assert_eq!(a.metric("fanfare_cluster_nodes", &[]).await, 1.0);
}

#[tokio::test]
async fn a_server_of_the_settings_that_has_not_come_yet_is_unavailable() {
    let Some(nats) = Nats::start().await else { return };
    let mut settings = node("a-1", "alpha", &nats.url());
    settings["cluster"]["servers"] = json!({ "beta": [{ "id": "b-1", "port": 1 }] });
    let a = TestHost::waits_for(&[]).config(settings).start().await;
    sees(&a, &[("a-1", "waits")]).await;
    let early = a.nested(0, on("b-1", "waits/ok")).await;
    assert_eq!((end(&early), message(&early)), ("unavailable", "node b-1 is not in the cluster now"));
    let early = a.nested(0, json!({ "route": "waits/ok", "target": { "server": "beta" } })).await;
    assert_eq!(end(&early), "unavailable", "{early}");
    let unknown = a.nested(0, on("c-1", "waits/ok")).await;
    assert_eq!((end(&unknown), message(&unknown)), ("not-found", "there is no node c-1"));
}

#[tokio::test]
async fn a_node_that_stops_answers_the_calls_that_it_has() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats, &[]).await;
    let c = start(&nats, "c-1", "beta", &[]).await;
    sees(&a, &[("a-1", "waits"), ("b-1", "waits"), ("c-1", "waits")]).await;
    let hold = json!({ "route": "waits/slow", "target": { "node": "b-1" }, "timeoutMs": 8_000, "payload": 2_500 });
    let (held, _) = tokio::join!(a.nested(0, hold), async {
        eventually("b runs it", || async { b.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
        let refused = async {
            sees(&a, &[("a-1", "waits"), ("c-1", "waits")]).await;
            let refused = a.nested(1, on("b-1", "waits/ok")).await;
            assert_eq!(end(&refused), "unavailable", "it gets no further calls: {refused}");
            for _ in 0..4 {
                let elsewhere = a.nested(1, json!({ "route": "waits/who", "target": { "server": "beta" } })).await;
                assert_eq!(end(&elsewhere), "ok", "the other node of the type gets them: {elsewhere}");
            }
            let receipt = a.emit("waits", "wave", "late").await;
            assert_eq!((&receipt["nodes"], &receipt["skipped"]), (&json!(1), &json!([])), "{receipt}");
            assert_eq!(a.metric("fanfare_cluster_waiting", &[]).await, 1.0, "b still runs the call that it has");
        };
        let running = b.running();
        tokio::join!(running.shutdown(), refused)
    });
    assert_eq!(end(&held), "ok", "{held}");
    let arrived = || async { heard(&c, 1).await == json!(["late"]) };
    eventually("the broadcast runs on the other node", arrived).await;
}

#[tokio::test]
async fn an_id_in_use_is_refused() {
    for nats in Nats::all().await {
        let _a = start(&nats, "a-1", "alpha", &[]).await;
        let second = TestHost::waits_for(&[]).config(nats.node("a-1", "alpha"));
        let Err(StartError::Cluster(error)) = second.try_start().await else { panic!("it started") };
        let text = error.to_string();
        let pid = std::process::id().to_string();
        let parts = ["the node id a-1 is in use", &pid, "set node.id"];
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }
}

#[tokio::test]
async fn an_id_is_free_again_when_its_node_has_ended() {
    let Some(nats) = Nats::start().await else { return };
    let first = start(&nats, "a-1", "alpha", &[]).await;
    first.stop().await;
    let _second = start(&nats, "a-1", "alpha", &[]).await;
}

/// Publishes as another program of the cluster does.
pub fn publish(nats: &Nats, subject: &str, payload: &str) {
    let mut stream = TcpStream::connect(nats.address()).unwrap();
    let text = format!("CONNECT {{\"verbose\":false}}\r\nPUB {subject} {}\r\n{payload}\r\nPING\r\n", payload.len());
    stream.write_all(text.as_bytes()).unwrap();
    // The server answers the ping when it has the message.
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains("PONG") {
        let mut chunk = [0; 1_024];
        let size = std::io::Read::read(&mut stream, &mut chunk).unwrap();
        assert_ne!(size, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..size]);
    }
}

#[tokio::test]
async fn nodes_with_another_version_of_the_protocol_are_named_and_not_called() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let beat =
        json!({ "version": 9, "node": "z-9", "boot": "x", "since": 1, "revision": 1, "phase": "here", "later": 1 });
    let listed = || async {
        publish(&nats, "fanfare.nodes", &beat.to_string());
        let status = a.admin("GET", "/v1/nodes", "").await.json();
        status["nodes"].as_array().unwrap().iter().any(|node| node["id"] == "z-9" && node["protocol"] == 9)
    };
    eventually("it is listed", listed).await;
    let logged = || async { a.log.contains(&["another version of the protocol between nodes", "z-9"]) };
    eventually("it is logged", logged).await;
    let called = a.nested(0, on("z-9", "waits/ok")).await;
    let both = "node z-9 has version 9 of the protocol between nodes, and this node has version 2";
    assert_eq!((end(&called), message(&called)), ("unavailable", both));
    // A call of such a node says so, and nothing else happens.
    publish(&nats, "fanfare.call.a-1", "\u{9}{}");
    publish(&nats, "fanfare.call.a-1", "");
    publish(&nats, "fanfare.nodes", "not JSON");
    publish(&nats, "fanfare.broadcast.waits", "\u{1}broken");
    eventually("all are counted", || async { a.metric("fanfare_cluster_malformed_total", &[]).await == 4.0 }).await;
    assert_eq!(end(&a.nested(0, on("a-1", "waits/ok")).await), "ok");
}

/// What the node answers to a message of another program, which it has received whole.
pub fn answered(nats: &Nats, subject: &str, message: &str) -> String {
    let mut stream = TcpStream::connect(nats.address()).unwrap();
    let size = message.len();
    let text = format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {size}\r\n{message}\r\n");
    stream.write_all(text.as_bytes()).unwrap();
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        let size = std::io::Read::read(&mut stream, &mut chunk).unwrap();
        assert_ne!(size, 0, "{}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&chunk[..size]);
        let text = String::from_utf8_lossy(&answer);
        if text
            .split_once("MSG answer")
            .is_some_and(|(_, rest)| rest.ends_with("\r\n") && rest.matches("\r\n").count() > 1)
        {
            return text.into_owned();
        }
    }
}

#[tokio::test]
async fn a_message_of_another_version_is_refused_with_both_versions_until_its_node_is_updated() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1", "alpha", &[]).await;
    let beat = |version: u8, boot: &str, since: u64| {
        let beat = json!({ "version": version, "node": "z-7", "boot": boot, "since": since, "revision": 1 });
        let mut beat = beat.as_object().unwrap().clone();
        beat.insert("phase".to_owned(), json!("here"));
        publish(&nats, "fanfare.nodes", &Value::from(beat).to_string());
    };
    let z = async || {
        let status = a.admin("GET", "/v1/nodes", "").await.json();
        status["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "z-7").cloned().unwrap_or_default()
    };
    let facts = |boot: &str| json!({ "id": "z-7", "boot": boot, "server": "zeta", "revision": 1, "workers": 1 });
    let old = answer_as(&nats, "z-7", facts("old"));
    eventually("the other version is listed", || async {
        beat(1, "old", 1);
        z().await["protocol"] == 1
    })
    .await;
    let called = a.nested(0, on("z-7", "waits/ok")).await;
    assert_eq!(end(&called), "unavailable", "{called}");
    let both = "it has version 1 of the protocol between nodes, and this node has version 2";
    let refused = answered(&nats, "fanfare.call.a-1", "\u{1}anything");
    assert!(refused.contains(both) && refused.contains("invalid"), "{refused}");
    publish(&nats, "fanfare.broadcast.waits", "\u{1}anything");
    let logged = || async { a.log.contains(&["a broadcast of another node cannot be read", both, "waits"]) };
    eventually("the broadcast is named in the log", logged).await;
    assert_eq!(heard(&a, 0).await, json!([]));
    assert_eq!(a.gather("waits", "wave", "x").await.len(), 2, "nobody waits for it");
    // The next process of this node has the version of the others.
    old.shutdown(Shutdown::Both).unwrap();
    let _new = answer_as(&nats, "z-7", facts("new"));
    eventually("it is one of the nodes", || async {
        beat(2, "new", 2);
        let z = z().await;
        z["server"] == "zeta" && z["protocol"].is_null()
    })
    .await;
    assert!(a.log.contains(&["a node is up", "z-7"]));
}

#[tokio::test]
async fn clusters_with_different_names_do_not_see_each_other() {
    let Some(nats) = Nats::start().await else { return };
    let (a, _b) = two(&nats, &[]).await;
    let other = TestHost::waits_for(&[]).config(nats.node("a-1", "alpha"));
    let other = other.config(json!({ "cluster": { "name": "staging" } })).start().await;
    sees(&other, &[("a-1", "waits")]).await;
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
}

#[tokio::test]
async fn a_node_without_a_cluster_lists_itself() {
    let host = TestHost::waits_for(&[]).start().await;
    let status = host.admin("GET", "/v1/nodes", "").await.json();
    assert_eq!(status["state"], "alone");
    assert_eq!((&status["nodes"][0]["id"], &status["nodes"][0]["own"]), (&json!("node-1"), &json!(true)));
    assert!(status["nodes"][0]["modules"]["waits"].is_string(), "{status}");
    assert!(status["nodes"][0]["since"].as_u64().unwrap() > 1_700_000_000_000);
    let _: HostEvent = serde_json::from_value(json!({ "type": "clusterReady", "nodes": 1 })).unwrap();
}
