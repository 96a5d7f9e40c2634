//! Hosts that use the event service of another process: `events.connect`.

use serde_json::{Value, json};

use super::fake::FakeService;
use super::process::Service;
use super::{Client, next};
use crate::harness::{Answer, Log, Proxy, Started, TestHost, eventually};

/// A host whose module receives all events.
fn connected(service: impl ToString, events: Value) -> TestHost {
    let subscriptions = json!({ "all": { "event": "*", "path": "on" } });
    let host =
        TestHost::with("subscriptions").workers(1).manifest("subscriptions", json!({ "subscriptions": subscriptions }));
    let host = host.manifest("subscriptions", json!({ "capabilities": { "events": ["*"] } }));
    let host = host.grant("subscriptions", json!({ "events": ["*"] }));
    let host = host.config(json!({ "events": { "connect": format!("http://{}", service.to_string()) } }));
    host.config(json!({ "events": events }))
}

async fn up(host: &Started) {
    eventually("the service is connected", || async { host.metric("fanfare_events_link_up", &[]).await == 1.0 }).await;
}

async fn down(host: &Started) {
    eventually("the service is away", || async { host.metric("fanfare_events_link_up", &[]).await == 0.0 }).await;
}

async fn emit(host: &Started, kind: &str, value: Value) -> Answer {
    host.post("/api/subscriptions/emit", json!({ "type": kind, "value": value }).to_string()).await
}

/// Waits until the module has received this number of events, and returns their values.
async fn values(host: &Started, count: usize) -> Vec<Value> {
    let read = async || {
        let got = host.get("/api/subscriptions/got").await.json();
        let text = |message: &Value| serde_json::from_str(message["text"].as_str().unwrap()).unwrap();
        got.as_array().unwrap().iter().map(text).collect::<Vec<Value>>()
    };
    eventually("the events arrive", || async { read().await.len() >= count }).await;
    read().await
}

#[tokio::test]
async fn two_hosts_on_one_service_get_each_others_events_once() {
    let service = Service::start(json!({})).await;
    let start = async || connected(service.events(), json!({})).start().await;
    let (one, two) = (start().await, start().await);
    up(&one).await;
    up(&two).await;
    let mut outside = service.subscribe("").await;
    assert_eq!(emit(&one, "order/paid", json!({ "id": 7 })).await.status, 200);
    let event = next(&mut outside).await;
    assert_eq!((event["type"].as_str(), &event["value"]), (Some("order/paid"), &json!({ "id": 7 })));
    assert_eq!(event["source"].as_str().map(str::len), Some(32));
    assert_eq!(values(&two, 1).await, [json!({ "id": 7 })]);
    assert_eq!(emit(&two, "order/paid", json!(8)).await.status, 200);
    assert_eq!(next(&mut outside).await["value"], 8);
    service.event("order/paid", json!(9)).await;
    assert_eq!(values(&one, 3).await, [json!({ "id": 7 }), json!(8), json!(9)], "its own event once");
    assert_eq!(values(&two, 3).await, [json!({ "id": 7 }), json!(8), json!(9)]);
    assert_eq!(one.metric("fanfare_events_link_received_total", &[]).await, 2.0);
    assert_eq!(one.metric("fanfare_events_link_sent_total", &[]).await, 1.0);
}

#[tokio::test]
async fn while_the_service_is_away_events_reach_the_node_and_emit_says_so() {
    let service = Service::start(json!({})).await;
    let proxy = Proxy::to(service.events()).await;
    let host = connected(proxy.address, json!({})).start().await;
    up(&host).await;
    assert_eq!(emit(&host, "a", json!(1)).await.status, 200);
    eventually("it is sent", || async { host.metric("fanfare_events_link_sent_total", &[]).await == 1.0 }).await;
    let service = service.kill().await;
    down(&host).await;
    let answer = emit(&host, "a", json!(2)).await;
    assert_eq!(answer.code(), "unavailable", "{}", answer.text());
    assert!(answer.text().contains("has reached this node only"), "{}", answer.text());
    assert_eq!(values(&host, 2).await, [json!(1), json!(2)]);
    let service = service.restart().await;
    up(&host).await;
    let mut outside = service.subscribe("").await;
    assert_eq!(emit(&host, "a", json!(3)).await.status, 200);
    assert_eq!(next(&mut outside).await["value"], 3, "the event that failed is not sent later");
    service.event("a", json!(4)).await;
    assert_eq!(values(&host, 4).await, [json!(1), json!(2), json!(3), json!(4)], "and none twice");
    let names: Vec<_> = events_of(&host).await;
    let names: Vec<_> = names.iter().map(String::as_str).filter(|name| name.starts_with("events")).collect();
    assert_eq!(names, ["eventsUp", "eventsDown", "eventsUp", "eventsGap"]);
}

async fn events_of(host: &Started) -> Vec<String> {
    let events = host.admin("GET", "/v1/events?follow=false", "").await.json();
    events.as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_connection_that_breaks_neither_loses_nor_doubles_an_event() {
    let service = Service::start(json!({})).await;
    let proxy = Proxy::to(service.events()).await;
    let host = connected(proxy.address, json!({})).start().await;
    up(&host).await;
    let mut outside = service.subscribe("type=a").await;
    let (mut sent, mut outcomes) = (Vec::new(), 0);
    for index in 0..200 {
        if index % 20 == 10 {
            proxy.cut();
        }
        match emit(&host, "a", json!(index)).await.status {
            200 => sent.push(json!(index)),
            503 => outcomes += 1,
            status => panic!("{status}"),
        }
        service.event("b", json!(index)).await;
        up(&host).await;
    }
    assert!(outcomes < 200);
    up(&host).await;
    for expected in &sent {
        assert_eq!(&next(&mut outside).await["value"], expected);
    }
    // Each event of the service once, and each of its own once.
    let values = values(&host, 400).await;
    assert_eq!(values.len(), 400);
    assert_eq!(host.metric("fanfare_events_link_gaps_total", &[]).await, 0.0);
}

#[tokio::test]
async fn an_event_that_a_cut_splits_arrives_after_the_host_has_resumed() {
    let service = Service::start(json!({})).await;
    let proxy = Proxy::to(service.events()).await;
    let host = connected(proxy.address, json!({})).start().await;
    up(&host).await;
    service.event("a", json!(1)).await;
    assert_eq!(values(&host, 1).await, [json!(1)]);
    // Long enough for several packets.
    let large = json!(["x".repeat(50_000), "the middle", "y".repeat(50_000)]);
    proxy.cut_after("the middle");
    service.event("a", large.clone()).await;
    eventually("the connection is cut", || async { proxy.has_cut() }).await;
    service.event("a", json!(3)).await;
    assert_eq!(values(&host, 3).await, [json!(1), large, json!(3)]);
    assert_eq!(host.metric("fanfare_events_link_gaps_total", &[]).await, 0.0);
}

#[tokio::test]
async fn an_event_that_is_too_long_is_the_only_one_that_a_host_misses() {
    let service = Service::start(json!({ "maxBody": "8MiB" })).await;
    let host = connected(service.events(), json!({}))
        .config(json!({ "limits": { "max": { "payload": "2MiB" } } }))
        .start()
        .await;
    up(&host).await;
    service.event("a", json!(1)).await;
    assert_eq!(values(&host, 1).await, [json!(1)]);
    let long = json!([{ "type": "a", "value": "x".repeat(6 << 20) }, { "type": "a", "value": 2 }]);
    assert_eq!(service.send_json(long.to_string()).await.status, 200);
    assert_eq!(values(&host, 2).await, [json!(1), json!(2)]);
    let events = host.admin("GET", "/v1/events?follow=false", "").await.json();
    let reasons = |name: &str| {
        let of_name = events.as_array().unwrap().iter().filter(|event| event["type"] == name);
        of_name.map(|event| event["reason"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    for name in ["eventsGap", "eventsDown"] {
        let reasons = reasons(name);
        assert!(reasons.len() == 1 && reasons[0].contains("longer than this host accepts"), "{name}: {reasons:?}");
    }
}

#[tokio::test]
pub async fn events_beyond_the_queue_are_refused_and_counted() {
    // The type, the source and the quotation marks of an event have 35 bytes.
    let sized = |bytes: usize| json!("x".repeat(bytes - 35));
    for (queue, each) in [(json!({ "events": 3 }), 50), (json!({ "bytes": 1_536 }), 512)] {
        let mut fake = FakeService::start().await;
        let starting = connected(fake.address, json!({ "queue": queue })).start();
        let (host, _stream) = tokio::join!(starting, fake.subscribed());
        up(&host).await;
        assert_eq!(emit(&host, "a", json!(0)).await.status, 200);
        // The first event is on its way, and the others wait for its response.
        let first = fake.next().await;
        for _ in 0..3 {
            assert_eq!(emit(&host, "a", sized(each)).await.status, 200, "{queue}: they fit");
        }
        let bytes = (3 * each) as f64;
        assert_eq!(host.metric("fanfare_events_link_waiting_bytes", &[]).await, bytes, "{queue}");
        let answer = emit(&host, "a", json!("")).await;
        assert_eq!(answer.code(), "overloaded", "{queue}: {}", answer.text());
        assert!(answer.text().contains("events.queue"), "{}", answer.text());
        assert_eq!(host.metric("fanfare_events_link_lost_total", &[]).await, 1.0);
        assert_eq!(values(&host, 5).await.len(), 5, "all of them reach the node");
        first.answer(200, "application/json", "{}").await;
        let second = fake.next().await;
        assert_eq!(second.values(), vec![sized(each); 3], "{queue}: those that fit");
        second.answer(200, "application/json", "{}").await;
    }
}

#[tokio::test]
async fn a_stop_sends_the_events_that_wait() {
    let mut fake = FakeService::start().await;
    let (host, _stream) = tokio::join!(connected(fake.address, json!({})).start(), fake.subscribed());
    up(&host).await;
    assert_eq!(emit(&host, "a", json!(1)).await.status, 200);
    let first = fake.next().await;
    for value in [2, 3] {
        assert_eq!(emit(&host, "a", json!(value)).await.status, 200);
    }
    let (http, service) = (host.http, fake.address.to_string());
    let log = Log::capture();
    let stopping = tokio::spawn(host.stop());
    eventually("the host accepts no connections", || async { tokio::net::TcpStream::connect(http).await.is_err() })
        .await;
    first.answer(200, "application/json", "{}").await;
    let second = fake.next().await;
    assert_eq!(second.values(), [json!(2), json!(3)]);
    second.answer(200, "application/json", "{}").await;
    assert_eq!(stopping.await.unwrap(), fanfare::Stopped::Clean);
    assert_eq!(log.lines(&[&service, "has not confirmed"]), [""; 0]);
}

#[tokio::test]
async fn events_that_cannot_be_sent_before_the_stop_are_counted_in_the_log() {
    let mut fake = FakeService::start().await;
    let starting = connected(fake.address, json!({})).config(json!({ "shutdown": { "drain": "1s" } })).start();
    let (host, _stream) = tokio::join!(starting, fake.subscribed());
    up(&host).await;
    assert_eq!(emit(&host, "a", json!(1)).await.status, 200);
    let _without_a_response = fake.next().await;
    for value in [2, 3] {
        assert_eq!(emit(&host, "a", json!(value)).await.status, 200);
    }
    let log = Log::capture();
    assert_eq!(host.stop().await, fanfare::Stopped::Clean);
    let lines = log.lines(&[&fake.address.to_string(), "has not confirmed"]);
    assert!(lines.len() == 1 && lines[0].contains("events=3"), "{lines:?}");
}

#[tokio::test]
async fn an_event_that_the_service_rejects_is_dropped_alone() {
    let service = Service::start(json!({ "maxBody": "1KiB" })).await;
    let host = connected(service.events(), json!({})).start().await;
    up(&host).await;
    let mut outside = service.subscribe("").await;
    emit(&host, "a", json!("x".repeat(2_000))).await;
    for index in 0..30 {
        assert_eq!(emit(&host, "a", json!(index)).await.status, 200);
    }
    for index in 0..30 {
        assert_eq!(next(&mut outside).await["value"], index);
    }
    assert_eq!(host.metric("fanfare_events_link_rejected_total", &[]).await, 1.0);
}
