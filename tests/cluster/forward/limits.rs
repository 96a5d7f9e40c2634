//! The limits of messages that other nodes run.

use serde_json::{Value, json};

use super::{all_see, call, chat, client, gate, pair, send, there};
use crate::harness::{EventStream, Nats, Started, TestHost, eventually};

#[tokio::test]
async fn messages_beyond_max_serving_are_refused() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").start().await;
    let back = chat(&nats, 1).config(json!({ "cluster": { "maxServing": 1 } })).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let (mut first, mut second) = (client(&front).await, client(&front).await);
    send(&mut first, 1, "sessions.hold", json!(1)).await;
    eventually("the first one runs", || async { back.metric("fanfare_cluster_serving", &[]).await == 1.0 }).await;
    let refused = call(&mut second, "sessions.echo", json!(1)).await["error"].to_string();
    assert!(refused.contains("cluster.maxServing"), "{refused}");
    release(&back).await;
    assert_eq!(first.json().await["data"], 1);
    assert_eq!(call(&mut second, "sessions.echo", json!(2)).await["data"], 2);
}

/// Ends the only message that is held on a backend, once it runs.
pub(super) async fn release(back: &Started) {
    eventually("it runs", || async {
        let mut all = 0;
        for worker in 0..2 {
            all += back.run(worker, "sessions", "holding", Value::Null).await.as_u64().unwrap();
        }
        all == 1
    })
    .await;
    for worker in 0..2 {
        back.run(worker, "sessions", "release", Value::Null).await;
    }
}

#[tokio::test]
async fn messages_beyond_max_waiting_are_refused() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").config(json!({ "cluster": { "maxWaiting": 1 } })).start().await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let (mut first, mut second) = (client(&front).await, client(&front).await);
    send(&mut first, 1, "sessions.hold", json!(1)).await;
    eventually("the first one waits", || async { front.metric("fanfare_cluster_waiting", &[]).await == 1.0 }).await;
    let refused = call(&mut second, "sessions.echo", json!(1)).await["error"].to_string();
    assert!(refused.contains("cluster.maxWaiting"), "{refused}");
    assert_eq!(call(&mut second, "gate.echo", json!(1)).await["data"], 1);
    release(&back).await;
    assert_eq!(first.json().await["data"], 1);
    let echoed = call(&mut second, "sessions.echo", json!(2)).await;
    assert_eq!(echoed["data"], 2, "{echoed}");
}

#[tokio::test]
async fn readers_follow_other_nodes_while_max_waiting_is_reached() {
    let Some(nats) = Nats::start().await else { return };
    let sse = json!({ "capabilities": { "sse": ["*"] } });
    let of =
        |host: TestHost| host.and("streams").manifest("streams", sse.clone()).grant("streams", json!({ "sse": ["*"] }));
    let front =
        of(gate(&nats, "gate-1")).config(json!({ "cluster": { "maxWaiting": 1, "timeout": "30s" } })).start().await;
    let back = of(chat(&nats, 1)).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    send(&mut client, 1, "sessions.hold", json!(1)).await;
    eventually("it waits", || async { front.metric("fanfare_cluster_waiting", &[]).await == 1.0 }).await;
    let mut stream = EventStream::open(front.http, "/stream?connectKey=key").await;
    let event = json!({ "key": "key", "data": "from another node" }).to_string();
    assert_eq!(back.post("/api/streams/publish", event).await.status, 200);
    assert_eq!(stream.data().await, "from another node");
    release(&back).await;
    assert_eq!(client.json().await["data"], 1);
}

#[tokio::test]
async fn what_is_too_large_for_nats_is_refused_both_ways() {
    let Some(nats) = Nats::configured("max_payload: 65536").await else { return };
    let (front, _back) = pair(&nats).await;
    let mut client = client(&front).await;
    assert!(call(&mut client, "sessions.echo", json!("x".repeat(60_000))).await["error"].is_null());
    let refused = call(&mut client, "sessions.echo", json!("x".repeat(70_000))).await["error"].to_string();
    assert!(refused.contains("max_payload of the NATS server allows 65536"), "{refused}");
    let id = there(&mut client, json!({ "do": "current" })).await["id"].clone();
    let of = |payload: &str| json!({ "do": "send", "to": { "session": id }, "name": "m", "payload": payload });
    let arrived = call(&mut client, "sessions.use", of(&"x".repeat(40_000))).await;
    assert_eq!(arrived["event"], "m");
    assert_eq!(client.json().await["data"], 1);
    // The reply grows by a list around it.
    let large = call(&mut client, "sessions.burst", json!(1)).await;
    assert_eq!(large["event"], "burst");
    assert_eq!(client.json().await["data"], "done");
}

#[tokio::test]
pub async fn acts_beyond_the_limit_are_refused_and_counted() {
    let Some(nats) = Nats::start().await else { return };
    let (front, back) = pair(&nats).await;
    let mut client = client(&front).await;
    let mut first = call(&mut client, "sessions.burst", json!(1_024)).await;
    for number in 1..=1_024 {
        assert_eq!(first["data"], number, "{first}");
        first = client.json().await;
    }
    assert_eq!(first["data"], "done");
    let mut last = call(&mut client, "sessions.burst", json!(1_025)).await;
    for _ in 1..=1_024 {
        assert_eq!(last["event"], "burst", "{last}");
        last = client.json().await;
    }
    assert!(last["error"].to_string().contains("at most 1024 times"), "{last}");
    assert!(back.metric("fanfare_bound_reached_total", &["bound=\"forwarded-acts\""]).await >= 1.0);
}

#[tokio::test]
async fn messages_to_the_client_take_room_in_the_queue_of_the_cluster() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").start().await;
    let back = chat(&nats, 1).config(json!({ "cluster": { "queue": { "bytes": "1KiB" } } })).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let id = there(&mut client, json!({ "do": "current" })).await["id"].clone();
    let of = |size: usize| json!({ "do": "send", "to": { "session": id }, "name": "m", "payload": "x".repeat(size) });
    assert_eq!(call(&mut client, "sessions.use", of(1_023)).await["event"], "m");
    assert_eq!(client.json().await["data"], 1);
    let refused = there(&mut client, of(1_024)).await;
    assert_eq!(refused["error"], "overloaded", "{refused}");
    assert_eq!(call(&mut client, "sessions.use", of(1_023)).await["event"], "m", "the room is free again");
}

#[tokio::test]
async fn a_message_ends_at_the_ack_timeout_of_the_frontend() {
    let Some(nats) = Nats::start().await else { return };
    let front = gate(&nats, "gate-1").config(json!({ "websocket": { "ackTimeout": "300ms" } })).start().await;
    let back = chat(&nats, 1).start().await;
    all_see(&[&front, &back], &["chat-1"]).await;
    let mut client = client(&front).await;
    let late = call(&mut client, "sessions.hold", json!(1)).await["error"].clone();
    assert_eq!(late["code"], "timeout", "{late}");
    eventually("it has ended there", || async { back.metric("fanfare_cluster_serving", &[]).await == 0.0 }).await;
    let ended = ["module=\"sessions\"", "trigger=\"client\"", "outcome=\"timeout\""];
    assert_eq!(back.metric("fanfare_calls_total", &ended).await, 1.0);
    assert_eq!(front.metric("fanfare_cluster_waiting", &[]).await, 0.0);
}
