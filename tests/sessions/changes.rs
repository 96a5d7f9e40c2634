//! What swaps, crashes and kills do to connections, sessions and messages.

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

#[tokio::test]
async fn a_crash_ends_running_messages_only() {
    let host = granted().start().await;
    let (mut client, id) = host.client().await;
    client.ask(json!({ "do": "bind", "session": null, "uid": "ada", "taken": "share" })).await;
    client.ask(json!({ "do": "set", "session": null, "values": [["a", "1"]] })).await;
    client.ask(json!({ "do": "join", "group": "g", "sessions": [id] })).await;
    let worker = client.ask(json!({ "do": "current" })).await["worker"].as_u64().unwrap();
    let mut trap = host.socket("trap").await;
    for crashes in 1..=3 {
        trap.send("now").await;
        eventually("the instance has crashed", || async {
            let crashed =
                host.ended(GUEST, 0, "client", "crashed").await + host.ended(GUEST, 1, "client", "crashed").await;
            crashed >= f64::from(crashes)
        })
        .await;
    }
    assert_eq!(client.ask(json!({ "do": "count" })).await, json!([2, 1]), "the client of the crash is still connected");
    let facts = client.ask(json!({ "do": "current" })).await;
    assert_eq!((&facts["id"], &facts["uid"], &facts["worker"]), (&json!(id), &json!("ada"), &json!(worker)));
    assert_eq!(client.ask(json!({ "do": "get", "session": null, "key": "a" })).await, "1");
    assert_eq!(client.ask(json!({ "do": "members", "group": "g" })).await, json!([id]));
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
