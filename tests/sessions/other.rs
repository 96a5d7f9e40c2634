//! Sockets of one module whose messages are calls of another module of the same host.

use std::fs;

use serde_json::{Value, json};

use super::{GUEST, granted};
use crate::harness::{Started, TestHost, WebSocket, eventually};

/// A host whose module `gate`, the same guest, has sockets for routes of the guest `sessions`.
fn host() -> TestHost {
    let other = |path: &str| json!({ "module": GUEST, "path": path });
    let sockets = json!({ "other/{room}": other("facts"), "moves": other("echo"), "own": { "path": "echo" } });
    let filters = json!({ "before": ["step"] });
    granted()
        .manifest(GUEST, json!({ "filters": filters, "config": { "version": 1 } }))
        .and_as(GUEST, "gate")
        .grant("gate", json!({ "sessions": true }))
        .manifest("gate", json!({ "sockets": sockets, "filters": filters, "hooks": { "connect": { "path": "step" } } }))
}

async fn open(host: &Started, socket: &str) -> WebSocket {
    WebSocket::open(host.http, &format!("/api/gate/{socket}")).await
}

async fn failed(host: &Started) -> f64 {
    host.metric("fanfare_websocket_failed_total", &[]).await
}

/// What the hooks and filters of a module have seen.
async fn kinds_seen(host: &Started, module: &str) -> Vec<Value> {
    let mut kinds = Vec::new();
    for worker in 0..2 {
        let seen = host.run(worker, module, "seen", Value::Null).await;
        kinds.extend(seen.as_array().unwrap().iter().map(|facts| facts["kind"].clone()));
    }
    kinds
}

#[tokio::test]
async fn a_message_runs_in_the_other_module_and_hooks_in_the_module_with_the_socket() {
    let host = host().start().await;
    let facts = open(&host, "other/7?a=b").await.ask(json!("x")).await;
    let told = ["version", "kind", "name", "params", "query", "body"];
    let expected = json!([1, "client", "other/{room}", [["room", "7"]], "a=b", "\"x\""]);
    assert_eq!(json!(told.map(|key| facts[key].clone())), expected, "{facts}");
    assert_eq!(kinds_seen(&host, GUEST).await, ["client"], "its filter");
    assert_eq!(kinds_seen(&host, "gate").await, ["hook"], "no filter");
    assert_eq!(host.metric("fanfare_calls_total", &["module=\"sessions\"", "trigger=\"client\""]).await, 1.0);
}

#[tokio::test]
async fn no_message_is_lost_while_either_module_is_swapped_and_the_socket_moves_between_them() {
    let host = host().start().await;
    let mut client = open(&host, "moves").await;
    let all: Vec<u64> = (1..1_001).collect();
    let flood = async {
        for number in &all {
            client.send(&number.to_string()).await;
        }
        let mut replies = Vec::new();
        for _ in &all {
            replies.push(client.json().await.as_u64().unwrap());
        }
        replies.sort_unstable();
        assert_eq!(replies, all);
    };
    let swaps = async {
        for version in 2..6 {
            let module = if version % 2 == 0 { json!("gate") } else { json!(GUEST) };
            let moved = json!({ "moves": { "module": module, "path": "echo" } });
            for (module, patch) in
                [(GUEST, json!({ "config": { "version": version } })), ("gate", json!({ "sockets": moved }))]
            {
                host.rewrite(module, patch);
                assert_eq!(host.reload(module).await["outcome"], "swapped");
            }
        }
    };
    tokio::join!(flood, swaps);
    assert_eq!(failed(&host).await, 0.0);
}

#[tokio::test]
async fn a_socket_stays_open_while_the_other_module_is_removed() {
    let host = host().start().await;
    let (mut client, mut own) = (open(&host, "moves").await, open(&host, "own").await);
    assert_eq!(client.ask(json!(1)).await, 1);
    let (folder, away) = (host.folder(GUEST), host.folder("gate").with_file_name("_away"));
    fs::rename(&folder, &away).unwrap();
    assert_eq!(host.reload(GUEST).await["outcome"], "removed");
    client.send("2").await;
    eventually("the message fails", || async { failed(&host).await == 1.0 }).await;
    assert_eq!(own.ask(json!(3)).await, 3);
    fs::rename(&away, &folder).unwrap();
    host.reload(GUEST).await;
    assert_eq!(client.ask(json!(4)).await, 4, "it is still open");
}
