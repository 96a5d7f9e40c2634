//! Clients of the event service that take connections and say nothing, modules that emit without
//! end, and services that other hosts use and that send anything.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::event_service::fake::FakeService;
use crate::event_service::{Client, next};
use crate::harness::{Started, TestHost, eventually};

/// The connections beyond `events.maxConnections` that get a response.
const REFUSED: usize = 64;

#[tokio::test]
async fn silent_clients_of_the_event_service_leave_connections_to_other_clients() {
    let most = 4;
    let host = TestHost::with("echo").config(json!({
        "events": { "listen": "127.0.0.1:0", "maxConnections": most },
        "http": { "maxConnections": 200, "headerTimeout": "10m" },
    }));
    let host = host.start().await;
    let service = host.events.unwrap();
    // More than `http.maxConnections`, and none of them says anything.
    let further = 500;
    let clients = (0..most + REFUSED + further).map(|_| async { TcpStream::connect(service).await.unwrap() });
    let clients = join_all(clients).await;
    eventually("the further ones are closed, and the others stay", || async {
        let refused = host.metric("fanfare_events_refused_total", &["connections"]).await;
        let open = host.metric("fanfare_http_connections", &[]).await;
        (refused, open) == (further as f64, (most + REFUSED) as f64)
    })
    .await;
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "other clients are served");
    drop(clients);
}

#[tokio::test]
async fn a_module_that_emits_without_end_leaves_half_of_the_history_to_others() {
    let events = json!({ "listen": "127.0.0.1:0", "history": { "count": 100 } });
    let host = TestHost::with("storms").config(json!({ "events": events })).start().await;
    let start = host.position().await;
    for index in 0..50 {
        host.event("other", json!(index)).await;
    }
    let emit = json!({ "do": "emit", "type": "storms/many", "payload": { "size": 10 } });
    let storm = json!([{ "times": 1_000, "steps": [emit] }]).to_string();
    let answer = host.post("/api/storms/run", storm).await;
    assert_eq!(answer.json()["emit"]["ok"], 1_000, "{}", answer.text());
    let mut late = host.resume("type=other", &start).await;
    let reset = late.event().await.unwrap();
    assert_eq!(reset.name(), "reset", "the reader learns that others were dropped");
    for index in 0..50 {
        assert_eq!(next(&mut late).await["value"], index);
    }
}

/// A host that uses a service.
async fn connected(service: &FakeService) -> Started {
    TestHost::with("echo")
        .config(json!({ "events": { "connect": format!("http://{}", service.address) } }))
        .start()
        .await
}

/// The host events of a type.
async fn raised(host: &Started, name: &str) -> Vec<Value> {
    let events = host.admin("GET", "/v1/events?follow=false", "").await.json();
    events.as_array().unwrap().iter().filter(|event| event["type"] == name).cloned().collect()
}

#[tokio::test]
async fn a_service_that_loses_events_all_the_time_does_not_flood_the_log() {
    const RESETS: usize = 20_000;
    let mut service = FakeService::start().await;
    let host = connected(&service).await;
    let mut stream = service.subscribed().await;
    let resets = "event: reset\nid: 1-1\ndata: \n\n".repeat(RESETS);
    stream.write_all(resets.as_bytes()).await.unwrap();
    eventually("the host has read all of them", || async {
        host.metric("fanfare_events_link_gaps_total", &[]).await == RESETS as f64
    })
    .await;
    let told = raised(&host, "eventsGap").await.len();
    // One for each second.
    assert!((1..100).contains(&told), "{told}");
}

#[tokio::test]
async fn a_server_of_another_kind_is_reported_with_the_setting_to_check() {
    let mut service = FakeService::start().await;
    let host = connected(&service).await;
    service.next().await.answer(200, "text/html", "<html>welcome</html>").await;
    eventually("the host says so", || async { !raised(&host, "eventsDown").await.is_empty() }).await;
    let down = raised(&host, "eventsDown").await;
    let reason = down[0]["reason"].as_str().unwrap();
    assert_eq!(reason, "its response is not that of an event service: check events.connect");
    assert!(raised(&host, "eventsUp").await.is_empty());
}
