//! What swaps, crashes and kills do to connections, sessions and messages.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::*;
use crate::harness::eventually;

#[tokio::test]
async fn a_session_keeps_its_connection_and_its_values_over_swaps() {
    let host = granted().start().await;
    let mut socket = host.socket("append").await;
    let mut length = 0;
    for version in 1..=10 {
        for _ in 0..5 {
            length += 1;
            assert_eq!(socket.ask(json!(length)).await, length);
        }
        host.swap_sessions(version).await;
    }
    let mut uses = host.socket("use").await;
    assert_eq!(uses.ask(json!({ "do": "count" })).await, json!([2, 0]));
}

#[tokio::test]
async fn messages_during_swaps_are_answered_once_and_in_order() {
    let host = granted().start().await;
    let mut socket = host.socket("append").await;
    let (total, in_flight) = (2_000, 20);
    let (mut sent, mut answered) = (0_u64, 0_u64);
    let swaps = async {
        for version in 1..=10 {
            host.swap_sessions(version).await;
        }
    };
    let mut lengths = BTreeSet::new();
    let messages = async {
        while answered < total {
            while sent < total && sent - answered < in_flight {
                sent += 1;
                socket.send(&sent.to_string()).await;
            }
            answered += 1;
            let length = socket.json().await.as_u64().unwrap();
            assert!(lengths.insert(length), "{length} twice");
        }
    };
    tokio::join!(swaps, messages);
    assert_eq!(lengths.last(), Some(&total), "each message has run once");
    let log = socket.ask(Value::Null).await;
    assert!(log.as_array().unwrap().iter().filter_map(Value::as_u64).eq(1..=total), "started in their order");
}

/// Sixteen messages are in flight, and each computes for longer than a tick. So every hand-over
/// finds messages that an instance has taken and has not entered.
#[tokio::test]
async fn messages_that_compute_run_in_their_order_over_swaps_and_kills() {
    let host = granted().config(json!({ "websocket": { "sessionSize": "16MiB", "inFlight": 16 } })).start().await;
    let mut socket = host.socket("append").await;
    socket.send(&json!(vec![0; 20_000]).to_string()).await;
    assert_eq!(socket.json().await, 1);
    let is_over = Cell::new(false);
    let changes = async {
        for version in 1..=10 {
            host.swap_sessions(version).await;
            let killed = host.kill(None, false).await;
            assert!(killed.is_array(), "{killed}");
        }
        is_over.set(true);
    };
    let (mut sent, mut lengths) = (0, BTreeSet::new());
    let messages = async {
        while lengths.len() < sent || !is_over.get() {
            while sent - lengths.len() < 16 && !is_over.get() {
                sent += 1;
                socket.send(&sent.to_string()).await;
            }
            let length = socket.json().await.as_u64().unwrap();
            assert!(lengths.insert(length), "{length} twice");
        }
    };
    tokio::join!(changes, messages);
    let log = socket.ask(Value::Null).await;
    let log = log.as_array().unwrap().iter().skip(1).filter_map(Value::as_u64);
    assert!(log.eq(1..=sent as u64), "each message has run once, in its order");
}

#[tokio::test]
async fn a_crash_ends_running_messages_only() {
    let listeners = json!([{ "path": "/sc/", "module": GUEST }]);
    let host = granted().config(json!({ "websocket": { "listeners": listeners } })).start().await;
    // Both messages of this client run in the same instance, so it is that of the session which
    // crashes.
    let mut client = WebSocket::open(host.http, "/sc/").await;
    client.ask(json!({ "event": "#handshake", "data": {}, "cid": 1 })).await;
    let mut call = async |event: &str, data: Value| client.ask(json!({ "event": event, "data": data, "cid": 2 })).await;
    let before = call("use", json!({ "do": "current" })).await["data"].clone();
    let id = &before["id"];
    call("use", json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    call("use", json!({ "do": "set", "session": null, "values": [["a", "1"]] })).await;
    call("use", json!({ "do": "join", "group": "g", "sessions": [id] })).await;
    for _ in 0..3 {
        assert_eq!(call("trap", Value::Null).await["error"]["code"], "crashed");
        let after = call("use", json!({ "do": "current" })).await["data"].clone();
        assert_eq!(
            (&after["id"], &after["uid"], &after["worker"]),
            (id, &json!("ada"), &before["worker"]),
            "the next instance runs the messages of the session"
        );
        assert_eq!(call("use", json!({ "do": "get", "session": null, "key": "a" })).await["data"], "1");
        assert_eq!(call("use", json!({ "do": "members", "group": "g" })).await["data"], json!([id]));
    }
    let worker = before["worker"].as_u64().unwrap() as usize;
    assert_eq!(host.slot(GUEST, worker).await["restarts"], 3);
}

#[tokio::test]
async fn a_kill_keeps_connections_sessions_and_messages() {
    let host = granted().start().await;
    let mut socket = host.socket("append").await;
    let mut length = 0;
    for _ in 0..5 {
        length += 1;
        assert_eq!(socket.ask(json!(length)).await, length);
        for worker in 0..2_u32 {
            let killed = host.kill(worker, false).await;
            assert!(killed.is_array(), "{killed}");
        }
    }
}

#[tokio::test]
async fn messages_that_wait_for_a_restart_run_afterwards() {
    let host = granted().start().await;
    let mut socket = host.socket("hold").await;
    socket.send("first").await;
    eventually("the message runs", || async {
        host.run(0, GUEST, "holding", Value::Null).await == 1 || host.run(1, GUEST, "holding", Value::Null).await == 1
    })
    .await;
    host.rewrite(GUEST, json!({ "config": { "version": 2 } }));
    let swap = host.reloading(GUEST);
    for worker in 0..2_u32 {
        host.run(worker, GUEST, "release", Value::Null).await;
    }
    assert_eq!(socket.text().await, "first");
    assert_eq!(swap.await.unwrap()["outcome"], "swapped");
    socket.send("second").await;
    eventually("the next message runs", || async {
        host.run(0, GUEST, "release", Value::Null).await == 1 || host.run(1, GUEST, "release", Value::Null).await == 1
    })
    .await;
    assert_eq!(socket.text().await, "second");
}
