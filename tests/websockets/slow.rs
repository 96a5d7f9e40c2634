//! Clients that do not read.

use serde_json::json;

use super::{path, with};
use crate::harness::websocket::CLOSE;
use crate::harness::{Started, WebSocket, eventually};

/// Sends messages to everyone until a client that reads nothing is cut. Another client receives all
/// of them meanwhile.
async fn cut_by_queue(queue: serde_json::Value) -> (Started, WebSocket) {
    let host = with(json!({ "queue": queue })).start().await;
    let stuck = host.web_socket("use").await;
    let mut reader = host.web_socket("use").await;
    let text = "x".repeat(64 << 10);
    let mut sent = 0;
    while host.open_sockets().await == 2.0 {
        assert!(sent < 10_000, "the client is not cut");
        let push = json!({ "do": "send", "to": "everyone", "name": "n", "payload": text });
        reader.send(&push.to_string()).await;
        assert_eq!(reader.text().await, text);
        assert!(reader.json().await.is_number());
        sent += 1;
    }
    (host, stuck)
}

#[tokio::test]
pub async fn a_client_with_too_many_messages_waiting_is_cut() {
    let (host, mut stuck) = cut_by_queue(json!({ "events": 4, "bytes": "1GiB" })).await;
    assert_eq!(host.metric("fanfare_websocket_slow_clients_total", &["reason=\"queue\""]).await, 1.0);
    let events = host.admin("GET", "/v1/events?follow=false", "").await.json();
    let slow = events.as_array().unwrap().iter().find(|event| event["type"] == "clientSlow").unwrap();
    assert_eq!((&slow["kind"], &slow["reason"]), (&json!("websocket"), &json!("queue")), "{slow}");
    // What it finds when it reads again are whole frames, and the end.
    while stuck.next_frame().await.is_some() {}
}

#[tokio::test]
pub async fn a_client_with_too_many_bytes_waiting_is_cut() {
    let (host, _) = cut_by_queue(json!({ "events": 1_000_000, "bytes": "128KiB" })).await;
    assert_eq!(host.metric("fanfare_websocket_slow_clients_total", &["reason=\"queue\""]).await, 1.0);
}

#[tokio::test]
async fn a_client_that_reads_again_soon_is_told_why_it_was_cut() {
    let (_host, mut stuck) = cut_by_queue(json!({ "events": 4, "bytes": "1GiB" })).await;
    let mut last = None;
    while let Some((_, kind, payload)) = stuck.next_frame().await {
        last = Some((kind, payload));
    }
    let (kind, payload) = last.unwrap();
    assert_eq!((kind, &payload[..2]), (CLOSE, &1013u16.to_be_bytes()[..]), "it comes after whole frames");
}

#[tokio::test]
async fn a_client_that_reads_nothing_for_the_idle_timeout_is_cut_although_its_queue_has_room() {
    let settings = json!({ "http": { "idleTimeout": "300ms" } });
    let host = with(json!({ "queue": { "events": 100_000, "bytes": "1GiB" } })).config(settings).start().await;
    let mut stuck = host.web_socket("echo").await;
    let mut reader = host.web_socket("use").await;
    // More than the buffers of a socket hold.
    let text = "x".repeat(64 << 10);
    for _ in 0..400 {
        let push = json!({ "do": "send", "to": "everyone", "name": "n", "payload": text });
        reader.send(&push.to_string()).await;
        assert_eq!(reader.text().await, text);
        assert!(reader.json().await.is_number());
    }
    eventually("the client is cut", || async {
        host.metric("fanfare_websocket_slow_clients_total", &["reason=\"timeout\""]).await == 1.0
    })
    .await;
    assert_eq!(reader.ask(json!({ "do": "count" })).await, json!([1, 0]));
    assert_eq!(host.closed_with("1013").await, 1.0);
    while stuck.next_frame().await.is_some() {}
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_ends_its_session() {
    let host = with(json!({})).start().await;
    for _ in 0..5 {
        drop(host.web_socket("echo").await);
        let reset = host.web_socket("echo").await;
        socket2::SockRef::from(&reset.socket).set_linger(Some(std::time::Duration::ZERO)).unwrap();
        drop(reset);
    }
    eventually("all sessions end", || async { host.open_sockets().await == 0.0 }).await;
    assert!(WebSocket::try_open(host.http, &path("echo"), &[]).await.is_ok());
}
