//! Clients that do not read, and clients that leave.

use serde_json::json;
use tokio::io::AsyncWriteExt;

use super::{count, host, path, publish, with};
use crate::harness::{EventStream, Started, TestHost, eventually};

/// The reasons of all `clientSlow` events of a host so far.
async fn slow(host: &Started) -> Vec<String> {
    let events = host.admin("GET", "/v1/events?follow=false", "").await;
    let events = events.json().as_array().unwrap().clone();
    let slow = events.iter().filter(|event| event["type"] == "clientSlow");
    slow.map(|event| format!("{} {}", event["key"].as_str().unwrap(), event["reason"].as_str().unwrap())).collect()
}

/// Waits for the event about the only client that was cut.
async fn assert_slow(host: &Started, expected: &str) {
    eventually("the event clientSlow", || async { !slow(host).await.is_empty() }).await;
    assert_eq!(slow(host).await, [expected]);
}

/// Publishes events of 64 KiB until a client that reads nothing is cut. Another client receives all
/// of them meanwhile.
async fn cut_by_queue(queue: serde_json::Value, data: &str) {
    let host = with(json!({ "queue": queue, "history": 0 })).start().await;
    let mut reader = EventStream::open(host.http, &path("news")).await;
    let mut stuck = EventStream::open_small(host.http, &path("news")).await;
    let mut published = 0;
    while count(&host, Some("news")) == 2 {
        assert!(published < 1_000_000, "the client is not cut");
        publish(&host, "news", &format!("{published} {data}"));
        assert!(reader.data().await.starts_with(&format!("{published} ")));
        published += 1;
    }
    assert_slow(&host, "news queue").await;
    // It finds the end when it reads again: whole events, and then the cut.
    assert!(stuck.until_cut().await.len() < published);
    publish(&host, "news", "go on");
    assert_eq!(reader.data().await, "go on");
}

#[tokio::test]
pub async fn a_client_with_too_many_events_waiting_is_cut() {
    cut_by_queue(json!({ "events": 4, "bytes": "1GiB" }), &"x".repeat(64 << 10)).await;
}

#[tokio::test]
pub async fn a_client_with_too_many_bytes_waiting_is_cut() {
    cut_by_queue(json!({ "events": 1_000_000, "bytes": "128KiB" }), &"x".repeat(64 << 10)).await;
}

#[tokio::test]
async fn a_client_that_stops_reading_is_cut_after_idle_timeout() {
    let host = with(json!({ "queue": { "bytes": "1GiB" } }))
        .config(json!({ "http": { "idleTimeout": "300ms" } }))
        .start()
        .await;
    let mut quiet = EventStream::open(host.http, &path("quiet")).await;
    let mut stuck = EventStream::open_small(host.http, &path("news")).await;
    let large = "x".repeat(1 << 20);
    for _ in 0..16 {
        publish(&host, "news", &large);
    }
    eventually("the client is cut", || async { count(&host, Some("news")) == 0 }).await;
    assert_slow(&host, "news timeout").await;
    stuck.until_cut().await;
    // A client for which nothing waits is not slow, however long it is quiet.
    assert_eq!(publish(&host, "quiet", "x"), 1);
    assert_eq!(quiet.data().await, "x");
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once() {
    let host = with(json!({ "pingInterval": 0 })).start().await;
    let stream = EventStream::open(host.http, &path("a")).await;
    drop(stream);
    eventually("the closed client is gone", || async { count(&host, None) == 0 }).await;
    // A reset, in place of an orderly end.
    let stream = EventStream::open(host.http, &path("a")).await;
    stream.socket.set_zero_linger().unwrap();
    drop(stream);
    eventually("the reset client is gone", || async { count(&host, None) == 0 }).await;
    // A client that leaves while bytes wait for it.
    let stuck = EventStream::open_small(host.http, &path("a")).await;
    for _ in 0..8 {
        publish(&host, "a", &"x".repeat(100_000));
    }
    drop(stuck);
    eventually("the client with unread bytes is gone", || async { count(&host, None) == 0 }).await;
}

#[tokio::test]
async fn a_client_that_closes_its_sending_side_has_left() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("a")).await;
    stream.socket.shutdown().await.unwrap();
    eventually("the client is gone", || async { count(&host, None) == 0 }).await;
    assert!(stream.until_cut().await.is_empty());
}

#[tokio::test]
async fn bytes_after_the_request_do_not_end_or_disturb_a_stream() {
    let host = host().start().await;
    let request = "GET /stream?connectKey=a HTTP/1.1\r\nhost: h\r\n\r\n";
    let mut stream = EventStream::send(host.http, &format!("{request}GET /api/x HTTP/1.1\r\nhost: h\r\n\r\n")).await;
    // The hub has the stream now, and what is published from here on arrives.
    assert_eq!(stream.block().await.unwrap().comments, ["connected"]);
    publish(&host, "a", "1");
    assert_eq!(stream.data().await, "1");
    for _ in 0..100 {
        stream.socket.write_all(&[b'x'; 10_000]).await.unwrap();
    }
    publish(&host, "a", "2");
    assert_eq!(stream.data().await, "2");
    drop(stream);
    eventually("the client is gone", || async { count(&host, None) == 0 }).await;
}

#[tokio::test]
async fn a_request_with_1000_headers_opens_a_stream_if_the_settings_allow_them() {
    let headers = |count: usize| (0..count).map(|number| format!("x-{number}: v\r\n")).collect::<String>();
    let request = |count: usize| format!("GET /stream HTTP/1.1\r\nhost: h\r\n{}\r\n", headers(count - 1));
    let default = host().start().await;
    let stream = EventStream::send(default.http, &request(100)).await;
    assert_eq!(stream.status, 200);
    assert_eq!(EventStream::send(default.http, &request(1_000)).await.status, 431);
    assert_eq!(count(&default, None), 1);
    drop(stream);
    let many: TestHost = host().config(json!({ "http": { "maxHeaders": 1_000 } }));
    let many = many.start().await;
    assert_eq!(EventStream::send(many.http, &request(1_000)).await.status, 200);
    assert_eq!(EventStream::send(many.http, &request(1_001)).await.status, 431);
}

#[tokio::test]
async fn a_last_event_id_of_64_kib_is_read_or_rejected() {
    let host = host().start().await;
    let garbage = |bytes: usize| (0..bytes).map(|at| char::from(b'!' + (at % 90) as u8)).collect::<String>();
    let mut stream = EventStream::resume(host.http, &path("a"), &garbage(60 << 10)).await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
    let too_long = EventStream::try_resume(host.http, &path("a"), &garbage(200 << 10)).await;
    assert_eq!(too_long.status, 431);
    let query = |bytes: usize| format!("{}&lastEventId={}", path("a"), "%61".repeat(bytes / 3));
    let mut stream = EventStream::open(host.http, &query(60_000)).await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
    assert_eq!(EventStream::try_resume(host.http, &query(66_000), "").await.status, 414);
    // Bytes that are not text.
    let mut socket = tokio::net::TcpStream::connect(host.http).await.unwrap();
    socket.write_all(b"GET /stream HTTP/1.1\r\nhost: h\r\nlast-event-id: \xff\xfe").await.unwrap();
    let mut stream = EventStream::send_on(socket, "\r\n\r\n").await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
}
