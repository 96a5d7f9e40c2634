//! The limits of the service, each just within and just beyond.

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::process::Service;
use super::{Client, service, value};
use crate::harness::{Connection, EventStream, eventually};

/// An event whose JSON has this number of bytes.
fn sized(bytes: usize) -> String {
    let text = r#"{"value":""}"#;
    format!("{{\"value\":\"{}\"}}", "x".repeat(bytes - text.len()))
}

#[tokio::test]
pub async fn a_body_beyond_max_body_is_rejected() {
    let host = service(json!({ "maxBody": "2KiB" })).await;
    assert_eq!(host.send_json(sized(2_048)).await.status, 200);
    let answer = host.send_json(sized(2_049)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("at most 2048 bytes (`events.maxBody`)"));
}

#[tokio::test]
pub async fn a_body_of_100_mb_is_rejected_and_costs_no_memory() {
    let service = Service::start(json!({})).await;
    service.event("a", json!(1)).await;
    let before = service.peak_memory();
    for announced in [true, false] {
        let mut socket = tokio::net::TcpStream::connect(service.events()).await.unwrap();
        let length = if announced { "content-length: 100000000" } else { "transfer-encoding: chunked" };
        let head = format!(
            "POST /events HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\n{length}\r\n\r\n",
            service.events()
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let (mut read, mut write) = socket.into_split();
        let sending = tokio::spawn(async move {
            let part = if announced { "x".repeat(10_000) } else { format!("2710\r\n{}\r\n", "x".repeat(10_000)) };
            for _ in 0..10_000 {
                // Fails once the service has closed the connection.
                if write.write_all(part.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let mut answer = Vec::new();
        _ = read.read_buf(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        drop(read);
        sending.await.unwrap();
    }
    let grown = service.peak_memory() - before;
    assert!(grown < 20 << 20, "{grown} bytes");
    service.event("a", json!(2)).await;
}

#[tokio::test]
pub async fn more_events_in_a_second_than_the_rate_are_rejected() {
    let host = service(json!({ "rate": 5 })).await;
    assert_eq!(host.send_json(r#"[{"value":1},{"value":2},{"value":3},{"value":4}]"#).await.status, 200);
    assert_eq!(host.send_json(r#"[{"value":5},{"value":6},{"value":7}]"#).await.status, 200, "the last one within it");
    let answer = host.send_json(r#"{"value":8}"#).await;
    assert_eq!((answer.status, answer.code().as_str()), (429, "too-many-events"), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(answer.json()["detail"].as_str().unwrap().contains("5 events in a second (`events.rate`)"));
    assert_eq!(host.metric("fanfare_events_refused_total", &["rate"]).await, 1.0);
    eventually("there is room again", || async { host.send_json(r#"{"value":9}"#).await.status == 200 }).await;
}

#[tokio::test]
pub async fn a_connection_beyond_max_connections_is_told_so_and_closed() {
    let host = service(json!({ "maxConnections": 2 })).await;
    let (mut first, mut second) = (Connection::open(host.events()).await, Connection::open(host.events()).await);
    assert_eq!(first.send("GET", "/", &[], "").await.status, 200);
    assert_eq!(second.send("GET", "/", &[], "").await.status, 200);
    let over = host.ask("GET", "/", &[], "").await;
    assert_eq!((over.status, over.code().as_str(), over.header("connection")), (503, "overloaded", Some("close")));
    assert!(over.json()["detail"].as_str().unwrap().contains("`events.maxConnections`"));
    assert_eq!(host.metric("fanfare_events_refused_total", &["connections"]).await, 1.0);
    drop(second);
    eventually("its place is free", || async { host.ask("GET", "/", &[], "").await.status == 200 }).await;
    assert_eq!(first.send("GET", "/", &[], "").await.status, 200, "open connections keep their place");
}

#[tokio::test]
pub async fn a_subscriber_beyond_max_subscribers_is_turned_away() {
    let host = service(json!({ "maxSubscribers": 1 })).await;
    let first = host.subscribe("").await;
    let mut over = EventStream::try_resume(host.events(), "/events", "").await;
    assert_eq!(over.status, 200, "`EventSource` never connects again after another status");
    let block = over.event().await.unwrap();
    assert_eq!((block.event.as_deref(), block.retry), (Some("full"), Some(5_000)));
    assert!(over.rest().await.is_empty(), "the stream ends");
    let answer = host.ask("GET", "/events", &[], "").await;
    assert_eq!((answer.status, answer.code().as_str(), answer.header("retry-after")), (503, "overloaded", Some("5")));
    assert_eq!(host.metric("fanfare_events_refused_total", &["subscribers"]).await, 2.0);
    drop(first);
    eventually("its place is free", || async {
        let stream = EventStream::try_resume(host.events(), "/events", "").await;
        stream.status == 200 && stream.header("content-length").is_none()
    })
    .await;
}

#[tokio::test]
pub async fn a_quiet_subscriber_gets_pings_with_the_position_of_other_events() {
    let host = service(json!({ "pingInterval": "100ms" })).await;
    let mut stream = host.subscribe("type=rare").await;
    assert_eq!(stream.block().await.unwrap().id.unwrap(), host.position().await);
    assert_eq!(stream.block().await.unwrap().comments, ["ping"]);
    let position = host.event("often", json!(1)).await;
    let mut told = None;
    for _ in 0..20 {
        told = stream.block().await.unwrap().id;
        if told.is_some() {
            break;
        }
    }
    assert_eq!(told, Some(position), "within 20 pings");
}

#[tokio::test]
async fn a_subscriber_of_rare_types_gets_pings_while_others_are_busy() {
    let host = service(json!({ "pingInterval": "100ms" })).await;
    let mut stream = host.subscribe("type=rare").await;
    assert!(stream.block().await.unwrap().id.is_some());
    let busy = async {
        loop {
            host.event("often", json!(1)).await;
        }
    };
    tokio::select! {
        never = busy => never,
        () = async {
            let mut pings = 0;
            while pings < 3 {
                pings += usize::from(stream.block().await.unwrap().comments == ["ping"]);
            }
        } => {}
    }
}

#[tokio::test]
async fn a_value_of_many_lines_counts_what_its_encoding_has() {
    let host = service(json!({ "history": { "bytes": "1MiB" } })).await;
    let lines = 100_000;
    let body = format!("{{\"type\":\"a\",\"value\":[{}1]}}", "\n".repeat(lines));
    assert_eq!(host.send_json(body).await.status, 200);
    let mut all = host.resume("", "1-1").await;
    assert_eq!(all.event().await.unwrap().name(), "reset");
    assert_eq!(all.event().await.unwrap().text().lines().count(), lines + 1);
    let counted = host.metric("fanfare_events_kept_bytes", &[]).await;
    // Its text, and each line with the name of the field.
    assert!(counted >= (lines + lines * "data: \n".len()) as f64, "{counted} bytes");
}

#[tokio::test]
pub async fn the_history_keeps_what_it_may_and_no_more() {
    for history in [json!({ "count": 2 }), json!({ "bytes": 1_024 })] {
        let host = service(json!({ "history": history })).await;
        let start = host.position().await;
        let (first, second) = (host.event("a", json!("x".repeat(200))).await, host.event("a", json!("y")).await);
        let mut all = host.resume("", &start).await;
        assert_eq!(value(&mut all).await, "x".repeat(200), "{history}: both are kept");
        host.event("a", json!("x".repeat(200))).await;
        let mut lost = host.resume("", &start).await;
        let reset = lost.event().await.unwrap();
        assert_eq!((reset.name(), reset.id.as_deref()), ("reset", Some(first.as_str())), "{history}");
        assert_eq!(value(&mut lost).await, "y", "all that is kept follows");
        assert_eq!(lost.last_id(), second);
        assert_eq!(host.ask("GET", "/", &[], "").await.json()["kept"], 2, "{history}");
    }
}

#[tokio::test]
pub async fn the_history_forgets_events_that_are_too_old() {
    let host = service(json!({ "history": { "age": "1ms" } })).await;
    let start = host.position().await;
    host.event("a", json!(1)).await;
    host.event("a", json!(2)).await;
    eventually("only the newest is kept", || async { host.ask("GET", "/", &[], "").await.json()["kept"] == 1 }).await;
    let mut stream = host.resume("", &start).await;
    assert_eq!(stream.event().await.unwrap().name(), "reset");
    assert_eq!(value(&mut stream).await, 2);
}

#[tokio::test]
pub async fn a_subscriber_that_falls_behind_is_told_and_delays_nobody() {
    let host = service(json!({ "history": { "count": 50 } })).await;
    let mut slow = EventStream::open_small(host.events(), "/events").await;
    let mut fast = host.subscribe("").await;
    let text = "x".repeat(100_000);
    // More than the buffers of a socket hold.
    for index in 0..300 {
        host.event("a", json!([index, text])).await;
        assert_eq!(value(&mut fast).await[0], index, "the other subscriber gets each event");
    }
    // The system's buffers may grow meanwhile, so that it falls behind more than once.
    let (mut last, mut resets, mut is_told) = (-1, 0, false);
    while last < 299 {
        let event = slow.event().await.expect("it is not cut");
        if event.name() == "reset" {
            (resets, is_told) = (resets + 1, true);
            continue;
        }
        let event: serde_json::Value = serde_json::from_str(event.text()).unwrap();
        let index = event["value"][0].as_i64().unwrap();
        assert!(index > last);
        assert_eq!(index > last + 1, is_told, "each gap is told, and nothing else: {last} {index}");
        (last, is_told) = (index, false);
    }
    assert!(resets > 0);
    assert_eq!(host.metric("fanfare_events_resets_total", &[]).await, f64::from(resets));
}

#[tokio::test]
pub async fn a_subscriber_that_reads_nothing_is_cut_after_the_idle_timeout() {
    let host = crate::harness::TestHost::empty()
        .config(json!({ "events": { "listen": "127.0.0.1:0" }, "http": { "idleTimeout": "300ms" } }));
    let host = host.start().await;
    let _slow = EventStream::open_small(host.events(), "/events").await;
    let text = "x".repeat(500_000);
    eventually("it is cut", || async {
        host.event("a", json!(text)).await;
        host.ask("GET", "/", &[], "").await.json()["subscribers"] == 0
    })
    .await;
}

#[tokio::test]
pub async fn a_million_types_cost_no_more_than_the_history() {
    let service = Service::start(json!({ "rate": 10_000_000 })).await;
    let mut connection = Connection::open(service.events()).await;
    let mut last = service.subscribe("type=t999999").await;
    let emit = async |connection: &mut Connection, thousands: std::ops::Range<u32>| {
        for thousand in thousands {
            let events: Vec<String> =
                (0..1_000).map(|index| format!("{{\"type\":\"t{}\",\"value\":1}}", thousand * 1_000 + index)).collect();
            let body = format!("[{}]", events.join(","));
            let answer = connection.send("POST", "/events", &[("content-type", "application/json")], body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    emit(&mut connection, 0..50).await;
    let before = service.peak_memory();
    emit(&mut connection, 50..1_000).await;
    let grown = service.peak_memory() - before;
    assert!(grown < 16 << 20, "{grown} bytes");
    let mut event = last.event().await.unwrap();
    while event.name() == "reset" {
        // It fell behind, and was told, perhaps more than once.
        event = last.event().await.unwrap();
    }
    assert!(event.text().starts_with("{\"type\":\"t999999\""), "{}", event.text());
    assert_eq!(service.ask("GET", "/", &[], "").await.json()["kept"], 10_000);
}
