//! Messages whose backend is frozen or has another version, or whose frontend is killed.

use std::sync::Arc;

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};

use super::faults::{backend, client_of, metric, project};
use super::limits::release;
use super::{all_see, call, chat, client, client_at, gate, here, pair, seen, send, set, there};
use crate::cli::project::{freeze, pid_of};
use crate::cluster::cable::Cable;
use crate::cluster::presence::{answered, publish};
use crate::cluster::streams::until_state;
use crate::harness::{Connection, Nats, eventually, metric_of};

#[tokio::test]
async fn a_frozen_backend_is_left_and_changes_nothing_when_it_continues() {
    let Some(nats) = Nats::start().await else { return };
    let project = project(&nats);
    let gate = project.serve(&["--node", "gate-1"]).await;
    let _first = backend(&project, "chat-1");
    let second = backend(&project, "chat-2");
    let (http, admin) = (gate.http, gate.admin);
    eventually("gate-1 knows both", || async { metric(admin, "fanfare_cluster_nodes").await == 3.0 }).await;
    let (mut held, mut changed) = (client_of(http, "chat-2").await, client_of(http, "chat-2").await);
    let session = here(&mut changed, json!({ "do": "current" })).await["id"].clone();
    send(&mut held, 1, "sessions.hold", json!(1)).await;
    eventually("it waits", || async { metric(admin, "fanfare_cluster_waiting").await >= 1.0 }).await;
    // The connection of the backend has served this message after the one that waits.
    assert_eq!(call(&mut changed, "sessions.echo", json!(1)).await["data"], 1);
    let settings: Value = serde_json::from_str(&project.read("fanfare.json")).unwrap();
    let port = &settings["cluster"]["servers"]["chat"]["servers"][0]["port"][1];
    let far = format!("127.0.0.1:{port}").parse().unwrap();
    let ran = || async {
        let metrics = Connection::open(far).await.send("GET", "/metrics", &[], "").await;
        metric_of(metrics.text(), "fanfare_calls_total", &["trigger=\"client\"", "outcome=\"ok\""])
    };
    let before = ran().await;
    freeze(pid_of(&second)).await;
    // It waits in NATS until the backend continues, and then runs there.
    let told = json!({ "do": "send", "to": { "session": session }, "name": "late", "payload": "x" });
    let steps = json!([{ "use": set("k", &json!(1)) }, { "use": { "do": "apply" } }, { "use": told }]);
    send(&mut changed, 1, "sessions.steps", steps).await;
    for client in [&mut held, &mut changed] {
        let crashed = client.json().await;
        assert_eq!(crashed["rid"], 1, "{crashed}");
        assert!(crashed["error"].to_string().contains("the call may have run"), "{crashed}");
        // Until the backend counts as gone, messages for it fail, too.
        let client = tokio::sync::Mutex::new(client);
        eventually("the other backend runs the next one", || async {
            call(&mut **client.lock().await, "sessions.facts", Value::Null).await["data"]["node"] == "chat-1"
        })
        .await;
    }
    kill_process(pid_of(&second), Signal::CONT).unwrap();
    eventually("the backend has run it", || async { ran().await > before }).await;
    eventually("gate-1 knows both again", || async { metric(admin, "fanfare_cluster_nodes").await == 3.0 }).await;
    let facts = call(&mut changed, "sessions.facts", Value::Null).await;
    assert_eq!(facts["data"]["node"], "chat-2", "{facts}");
    assert_eq!(here(&mut changed, json!({ "do": "get", "key": "k" })).await, Value::Null);
}

#[tokio::test]
async fn a_reply_behind_something_that_was_lost_on_its_way_to_the_client_is_an_error() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::losing(nats.address(), "lost on its way").await;
    let front = gate(&nats, "gate-1").start().await;
    let far = json!({ "cluster": { "nats": format!("nats://{}", cable.address) } });
    let back = chat(&nats, 1).config(far).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let session = there(&mut client, json!({ "do": "current" })).await["id"].clone();
    let told = |text: &str| json!({ "do": "send", "to": { "session": session }, "name": "m", "payload": text });
    let crashed = call(&mut client, "sessions.use", told("lost on its way")).await;
    assert_eq!(crashed["rid"], 7, "{crashed}");
    assert!(crashed["error"].to_string().contains("and with it what the call has sent to its client"), "{crashed}");
    assert_eq!(call(&mut client, "sessions.use", told("arrives")).await["data"], "arrives");
    assert_eq!(client.json().await["data"], 1);
    // The call does not wait for what the frontend does not do any more.
    let joins = json!({ "do": "join", "group": "g", "sessions": [session] });
    let steps = json!([{ "use": told("lost on its way") }, { "use": joins }]);
    let crashed = call(&mut client, "sessions.steps", steps).await;
    assert!(crashed["error"].to_string().contains("and with it what the call has sent to its client"), "{crashed}");
    eventually("the call has ended", || async { !seen(&back).await.is_empty() }).await;
    let joined = seen(&back).await[0][1].clone();
    assert_eq!(joined["error"], "unavailable", "{joined}");
}

#[tokio::test]
async fn an_apply_that_is_lost_ends_with_the_time_of_its_call() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::losing(nats.address(), "lost on its way").await;
    let front = gate(&nats, "gate-1").config(json!({ "websocket": { "ackTimeout": "1s" } })).start().await;
    let far = json!({ "cluster": { "nats": format!("nats://{}", cable.address) } });
    let back = chat(&nats, 1).config(far).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let steps = json!([{ "use": set("k", &json!("lost on its way")) }, { "use": { "do": "apply" } }]);
    assert!(call(&mut client, "sessions.steps", steps).await["error"].to_string().contains("timeout"));
    eventually("the call has ended", || async { !seen(&back).await.is_empty() }).await;
    let applied = seen(&back).await[0][1].clone();
    assert_eq!(applied["error"], "timeout", "{applied}");
    eventually("nothing waits", || async { back.metric("fanfare_cluster_waiting", &[]).await == 0.0 }).await;
}

#[tokio::test]
async fn what_a_killed_frontend_has_forwarded_ends_on_the_backend() {
    let Some(nats) = Nats::start().await else { return };
    let project = project(&nats);
    let mut front = project.serve(&["--node", "gate-1"]).await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&back], &["chat-1"]).await;
    eventually("gate-1 knows it", || async { metric(front.admin, "fanfare_cluster_nodes").await == 2.0 }).await;
    let mut client = client_at(front.http).await;
    send(&mut client, 1, "sessions.hold", json!(1)).await;
    eventually("it runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    front.signal(Signal::KILL);
    front.ended().await;
    client.ended().await;
    release(&back).await;
    let ended = ["module=\"sessions\"", "trigger=\"client\"", "outcome=\"ok\""];
    eventually("it has ended", || async {
        let serving = back.metric("fanfare_cluster_serving", &[]).await;
        serving == 0.0 && back.metric("fanfare_calls_total", &ended).await == 1.0
    })
    .await;
    let front = project.serve(&["--node", "gate-1"]).await;
    let client = Arc::new(tokio::sync::Mutex::new(client_at(front.http).await));
    eventually("the next frontend forwards", || async {
        call(&mut *client.lock().await, "sessions.echo", json!(2)).await["data"] == 2
    })
    .await;
}

/// Waits in a backend, then binds the session there if the user is free.
fn held_bind() -> Value {
    json!([{ "hold": null }, { "use": { "do": "bind", "uid": "ada", "taken": "refuse" } }])
}

#[tokio::test]
async fn a_call_that_waits_for_its_frontend_hears_that_it_is_lost() {
    let Some(mut nats) = Nats::start().await else { return };
    let project = project(&nats);
    let front = project.serve(&["--node", "gate-1"]).await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&back], &["chat-1"]).await;
    eventually("gate-1 knows it", || async { metric(front.admin, "fanfare_cluster_nodes").await == 2.0 }).await;
    let mut client = client_at(front.http).await;
    send(&mut client, 1, "sessions.steps", held_bind()).await;
    eventually("it runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    freeze(front.pid()).await;
    release(&back).await;
    eventually("it waits", || async { back.metric("fanfare_cluster_waiting", &[]).await == 1.0 }).await;
    eventually("it has ended", || async { !seen(&back).await.is_empty() }).await;
    let bound = seen(&back).await[0][1].clone();
    assert_eq!(bound["error"], "crashed", "{bound}");
    assert_eq!(bound["message"], "node gate-1 was lost; the call may have run");

    front.signal(Signal::CONT);
    let client = Arc::new(tokio::sync::Mutex::new(client_at(front.http).await));
    eventually("gate-1 forwards again", || async {
        call(&mut *client.lock().await, "sessions.echo", json!(2)).await["data"] == 2
    })
    .await;
    send(&mut *client.lock().await, 1, "sessions.steps", held_bind()).await;
    eventually("it runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    nats.kill();
    eventually("the backend is alone", || async { back.metric("fanfare_cluster_up", &[]).await == 0.0 }).await;
    release(&back).await;
    eventually("it has ended", || async {
        let all = seen(&back).await;
        all.len() == 2 && all.iter().any(|results| results[1]["error"] == "unavailable")
    })
    .await;
}

#[tokio::test]
async fn a_call_whose_client_has_left_cannot_bind_its_session() {
    let Some(nats) = Nats::start().await else { return };
    let (front, back) = pair(&nats).await;
    let mut client = client(&front).await;
    send(&mut client, 1, "sessions.steps", held_bind()).await;
    eventually("it runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    drop(client);
    eventually("it has left", || async { front.metric("fanfare_websocket_connections", &[]).await == 0.0 }).await;
    release(&back).await;
    eventually("it has ended", || async { !seen(&back).await.is_empty() }).await;
    let bound = seen(&back).await[0][1].clone();
    assert!(["not-found", "unavailable"].contains(&bound["error"].as_str().unwrap()), "{bound}");
}

#[tokio::test]
async fn a_message_for_a_node_with_another_version_of_the_protocol_is_unavailable() {
    let Some(nats) = Nats::start().await else { return };
    let routers = json!({ "chat": { "session": "chatServer" } });
    let front = gate(&nats, "gate-1").config(json!({ "cluster": { "routers": routers } })).start().await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    assert_eq!(here(&mut client, set("chatServer", &json!("z-9"))).await, Value::Null);
    let client = Arc::new(tokio::sync::Mutex::new(client));
    let beat = json!({ "version": 9, "node": "z-9", "boot": "x", "since": 1, "revision": 1, "phase": "here" });
    let both = "node z-9 has version 9 of the protocol between nodes, and this node has version 2";
    eventually("the message names both versions", || async {
        publish(&nats, "fanfare.nodes", &beat.to_string());
        let refused = call(&mut *client.lock().await, "sessions.echo", json!(1)).await;
        assert!(refused["error"].to_string().contains("unavailable"), "{refused}");
        refused["error"].to_string().contains(both)
    })
    .await;
    let mut client = client.lock().await;
    assert_eq!(here(&mut client, set("chatServer", &json!("chat-1"))).await, Value::Null);
    assert_eq!(call(&mut client, "sessions.echo", json!(2)).await["data"], 2);
}

#[tokio::test]
async fn an_act_of_a_message_that_has_ended_is_refused() {
    let Some(nats) = Nats::start().await else { return };
    let gate = gate(&nats, "gate-1").start().await;
    until_state(&gate, "up").await;
    let facts = answered(&nats, "fanfare.info.gate-1", "");
    let facts: Value = serde_json::from_str(facts.lines().last().unwrap()).unwrap();
    let boot = facts["boot"].as_str().unwrap();
    // A late answer with a subject for the result of its act. No message waits for it.
    let refused = answered(&nats, &format!("fanfare.answer.{boot}.1000000"), "");
    assert!(refused.contains("the message has ended meanwhile: its session was not changed"), "{refused}");
}
