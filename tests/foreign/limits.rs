//! The limits of requests, bodies and guests that misbehave.

use futures_util::future::join_all;
use serde_json::json;

use super::{BOTH, Raw};
use crate::harness::{Connection, TestHost, eventually};

#[tokio::test]
async fn a_body_beyond_the_limit_is_rejected_before_or_while_it_streams() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "http": { "maxBody": "1KiB" } })).start().await;
    for module in BOTH {
        let upload = format!("/api/{module}/upload");
        assert_eq!(host.post(&upload, vec![b'x'; 1_024]).await.text(), "1024", "{module}");
        let announced = host.post(&upload, vec![b'x'; 1_025]).await;
        assert_eq!((announced.status, announced.code()), (413, "payload-too-large".to_owned()), "{module}");
        let head = format!("POST {upload} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n");
        let mut raw = Raw::send(host.http, &head).await;
        raw.write(&format!("400\r\n{}\r\n1\r\nx\r\n0\r\n\r\n", "x".repeat(1_024))).await;
        let head = raw.until("\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{module}: {head}");
        assert!(raw.until("}").await.contains("http.maxBody"), "{module}");
    }
}

#[tokio::test]
async fn a_client_that_stops_sending_breaks_its_body_off() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "http": { "bodyTimeout": "150ms" } }));
    let host = host.start().await;
    for module in BOTH {
        let head = format!("POST /api/{module}/upload HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nabc");
        let mut raw = Raw::send(host.http, &head).await;
        // The guest tells the error that it got.
        let told = if module == "http-3" { "3 ErrorCode::ConnectionReadTimeout" } else { "3 " };
        raw.until(told).await;
    }
}

#[tokio::test]
async fn a_client_that_reads_nothing_holds_the_guest_back() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "http": { "maxBuffered": "8MiB" } }));
    let host = host.start().await;
    for module in BOTH {
        let floods = futures_util::future::join_all((0..8).map(|_| async {
            let mut raw = Raw::get(host.http, &format!("/api/{module}/flood")).await;
            raw.until("ff").await;
            raw
        }))
        .await;
        assert_eq!(host.streaming().await, 8.0, "{module}");
        let buffered = host.metric("fanfare_http_buffered_bytes", &[]).await;
        assert!(buffered < 8_000_000.0, "{module}: {buffered} bytes");
        // The guests wait, so the module keeps answering.
        assert_eq!(host.get(&format!("/api/{module}/")).await.status, 200);
        drop(floods);
        eventually("all have ended", || async { host.streaming().await == 0.0 }).await;
    }
}

#[tokio::test]
async fn a_response_that_streams_keeps_its_place_until_it_ends() {
    let mut host = TestHost::with("http-2").and("http-3").workers(1);
    for module in BOTH {
        host = host.limit(module, "concurrency", 2).limit(module, "mailbox", 1).limit(module, "timeout", "300ms");
    }
    let host = host.start().await;
    for module in BOTH {
        let open = async |part: &str| {
            let mut raw = Raw::get(host.http, &format!("/api/{module}/open/{part}")).await;
            raw.until(&format!("{part}\n")).await;
            raw
        };
        let (first, second) = (open("a").await, open("b").await);
        // No place is free: one request waits, the next one is rejected.
        let root = format!("/api/{module}/");
        let (waits, rejected) = tokio::join!(host.get(&root), async {
            eventually("a request waits", || async { host.slot(module, 0).await["waiting"] == 1 }).await;
            host.get(&root).await
        });
        assert_eq!((waits.code(), rejected.code()), ("timeout".to_owned(), "overloaded".to_owned()), "{module}");
        drop(first);
        eventually("a place is free", || async { host.get(&root).await.status == 200 }).await;
        drop(second);
    }
}

#[tokio::test]
async fn processor_time_is_counted_between_the_parts_that_the_client_reads() {
    let mut host = TestHost::with("http-2").and("http-3").workers(1).config(json!({ "http": { "maxBody": "64MiB" } }));
    for module in BOTH {
        host = host.limit(module, "cpu", "30ms");
    }
    let host = host.start().await;
    for module in BOTH {
        let loaded = host.get(&format!("/api/{module}/download/60000000")).await;
        assert_eq!(loaded.body.len(), 60_000_000, "{module}");
        let spun = host.get(&format!("/api/{module}/spin")).await;
        assert!(spun.json()["detail"].as_str().unwrap().contains("limits.cpu"), "{module}");
    }
}

#[tokio::test]
async fn what_responses_leave_to_do_does_not_pile_up_while_requests_arrive() {
    let host = TestHost::with("http-3").workers(1).limit("http-3", "handles", 1_000).start().await;
    let clients = (0..32).map(async |_| {
        let mut connection = Connection::open(host.http).await;
        for _ in 0..150 {
            let answer = connection.send("GET", "/api/http-3/", &[], "").await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
    join_all(clients).await;
    assert_eq!(host.slot("http-3", 0).await["restarts"], 0);
    assert!(host.metric("fanfare_bound_reached_total", &["leftovers"]).await > 0.0, "requests have waited");
}
