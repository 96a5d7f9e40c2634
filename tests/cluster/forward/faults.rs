//! Backends that end, and NATS that is away, under traffic.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tokio::process::Child;

use super::limits::release;
use super::{PATH, call, chat, client, client_at, gate, here, pair, pair_of, send, set};
use crate::cli::project::{Project, pid_of};
use crate::cluster::sees;
use crate::cluster::up::free_ports;
use crate::harness::{Connection, Nats, WebSocket, eventually, metric_of, source_of};

#[tokio::test]
async fn a_call_changes_its_session_while_its_frontend_stops_in_order() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").config(json!({ "shutdown": { "drain": "1m" } }));
    let (front, back) = pair_of(front, chat(&nats, 1)).await;
    let mut client = client(&front).await;
    let bind = json!({ "do": "bind", "uid": "ada", "taken": "refuse" });
    let steps =
        json!([{ "hold": null }, { "use": set("k", &json!(1)) }, { "use": { "do": "apply" } }, { "use": bind }]);
    send(&mut client, 7, "sessions.steps", steps).await;
    eventually("it runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    let ends = async {
        sees(&back, &[("chat-1", "sessions")]).await;
        release(&back).await;
        let answer = client.json().await;
        assert!(answer["rid"] == 7 && !answer.to_string().contains("error"), "{answer}");
        client.ended().await;
    };
    tokio::join!(front.stop(), ends);
}

#[tokio::test]
async fn without_nats_messages_fail_at_once_and_local_modules_go_on() {
    let Some(mut nats) = Nats::start().await else { return };
    let (front, _back) = pair(&nats).await;
    let (mut held, mut client) = (client(&front).await, client(&front).await);
    send(&mut held, 1, "sessions.hold", json!(1)).await;
    eventually("it waits", || async { front.metric("fanfare_cluster_waiting", &[]).await == 1.0 }).await;
    nats.kill();
    let lost = held.json().await;
    assert_eq!(lost["rid"], 1);
    let why = "the connection to NATS was lost; the call may have run";
    assert!(lost["error"].to_string().contains(why), "{lost}");
    let refused = call(&mut client, "sessions.echo", json!(1)).await["error"].to_string();
    assert!(refused.contains("not connected to NATS"), "{refused}");
    assert_eq!(call(&mut client, "gate.echo", json!(2)).await["data"], 2);
    nats.run().await;
    let client = Arc::new(tokio::sync::Mutex::new(client));
    eventually("messages are forwarded again", || async {
        call(&mut *client.lock().await, "sessions.echo", json!(3)).await["data"] == 3
    })
    .await;
}

/// A project with a frontend `gate-1`, which serves `gate`, and the backends `chat-1` and `chat-2`,
/// which serve `sessions`.
pub(super) fn project(nats: &Nats) -> Project {
    let port = free_ports(4);
    let mut cluster = nats.node("x", "x")["cluster"].clone();
    cluster["servers"] = json!({
        "gate": [{ "id": "gate-1", "port": port, "frontend": true, "clientPort": port + 1, "modules": "gate" }],
        "chat": { "modules": "sessions", "servers": [{ "id": "chat-", "idStart": 1, "port": [port + 2, port + 3] }] },
    });
    let grants = json!({ "grants": { "sessions": true } });
    let files = ["module.json", "sessions.wasm"];
    let copied = |project: Project, file: &&str| {
        project.file(&format!("modules/gate/{file}"), fs::read(source_of("sessions").join(file)).unwrap())
    };
    files.iter().fold(Project::with(&["sessions"]), copied).config(json!({
        "cluster": cluster, "workers": 2, "modules": { "sessions": grants, "gate": grants },
        "websocket": { "listeners": [{ "path": PATH, "module": "gate" }] },
    }))
}

/// Starts a backend. Dropping it kills the process.
pub(super) fn backend(project: &Project, id: &str) -> Child {
    let mut command = project.command(&["serve", "--node", id]);
    command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true).spawn().unwrap()
}

pub(super) async fn metric(admin: SocketAddr, name: &str) -> f64 {
    metric_of(Connection::open(admin).await.send("GET", "/metrics", &[], "").await.text(), name, &[])
}

/// A client of a user whose messages run on a backend.
pub(super) async fn client_of(http: SocketAddr, node: &str) -> WebSocket {
    for number in 0..1_000 {
        let mut client = client_at(http).await;
        let bind = json!({ "do": "bind", "uid": format!("{node}-{number}"), "taken": "share" });
        assert_eq!(here(&mut client, bind).await, Value::Null);
        let facts = call(&mut client, "sessions.facts", Value::Null).await;
        if facts["data"]["node"] == node {
            return client;
        }
    }
    panic!("no user has the node {node}");
}

#[tokio::test]
async fn a_killed_backend_ends_its_messages_and_another_one_runs_the_next() {
    let Some(nats) = Nats::start().await else { return };
    let project = project(&nats);
    let gate = project.serve(&["--node", "gate-1"]).await;
    let _first = backend(&project, "chat-1");
    let second = backend(&project, "chat-2");
    let (http, admin) = (gate.http, gate.admin);
    eventually("gate-1 knows both", || async { metric(admin, "fanfare_cluster_nodes").await == 3.0 }).await;
    let mut held = client_of(http, "chat-2").await;
    let mut other = client_of(http, "chat-1").await;
    let mut traffic = Vec::new();
    let stop = Arc::new(AtomicBool::new(false));
    for number in 0..6 {
        let mut client = client_of(http, if number % 2 == 0 { "chat-1" } else { "chat-2" }).await;
        let stop = stop.clone();
        // Each message has exactly one ack. Those of `chat-1` never fail.
        traffic.push(tokio::spawn(async move {
            let mut ends = BTreeMap::new();
            let mut cid = 0;
            while !stop.load(Ordering::Acquire) {
                cid += 1;
                send(&mut client, cid, "sessions.echo", json!(cid)).await;
                let ack = client.json().await;
                assert_eq!(ack["rid"], cid, "{ack}");
                let end = if ack["data"] == cid { "ok".to_owned() } else { ack["error"]["name"].to_string() };
                assert!(number % 2 == 1 || end == "ok", "{ack}");
                *ends.entry(end).or_insert(0) += 1;
            }
            ends
        }));
    }
    send(&mut held, 1, "sessions.hold", json!(1)).await;
    eventually("it waits", || async { metric(admin, "fanfare_cluster_waiting").await >= 1.0 }).await;
    // The connection of the other backend has served this message after the one that waits.
    assert_eq!(call(&mut other, "sessions.echo", json!(1)).await["data"], 1);
    kill_process(pid_of(&second), Signal::KILL).unwrap();
    let crashed = held.json().await;
    assert_eq!(crashed["rid"], 1);
    assert!(crashed["error"].to_string().contains("the call may have run"), "{crashed}");
    let facts = call(&mut held, "sessions.facts", Value::Null).await;
    assert_eq!(facts["data"]["node"], "chat-1", "{facts}");
    stop.store(true, Ordering::Release);
    for task in traffic {
        let ends = task.await.unwrap();
        assert!(ends["ok"] > 0, "{ends:?}");
    }
}
