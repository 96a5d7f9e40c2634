//! Bodies stream both ways, with their trailers, and are aborted when the guest fails.

use serde_json::json;

use super::{BOTH, Raw};
use crate::harness::{Connection, Http2, TestHost, eventually};

#[tokio::test]
async fn a_body_is_echoed_part_by_part_with_its_trailers() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    for module in BOTH {
        let head = format!(
            "POST /api/{module}/echo HTTP/1.1\r\nhost: a\r\nte: trailers\r\ntrailer: x-sum\r\n\
             transfer-encoding: chunked\r\n\r\n"
        );
        let mut raw = Raw::send(host.http, &head).await;
        for part in ["first", "second"] {
            raw.write(&format!("{:x}\r\n{part}\r\n", part.len())).await;
            raw.until(&format!("{:x}\r\n{part}\r\n", part.len())).await;
        }
        raw.write("0\r\nx-sum: 11\r\n\r\n").await;
        assert_eq!(raw.until("\r\n\r\n").await, "0\r\nx-sum: 11\r\n\r\n", "{module}");
        // The connection is usable for the next request.
        raw.write(&format!("GET /api/{module}/ HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        raw.until("hello from wasi:http").await;
    }
    eventually("no response streams", || async { host.streaming().await == 0.0 }).await;
}

#[tokio::test]
async fn large_bodies_arrive_whole_over_both_protocols() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "http": { "maxBody": "16MiB" } })).start().await;
    let body: Vec<u8> = (0..10_000_000_u32).map(|index| (index % 251) as u8).collect();
    for module in BOTH {
        let echoed = host.post(&format!("/api/{module}/echo"), body.clone()).await;
        assert!(echoed.status == 200 && echoed.body == body, "{module}: {} bytes", echoed.body.len());
        let size = host.post(&format!("/api/{module}/upload"), body.clone()).await;
        assert_eq!(size.text(), "10000000", "{module}");
        let loaded = host.get(&format!("/api/{module}/download/10000000")).await;
        assert_eq!(loaded.body.len(), 10_000_000, "{module}");
        let http2 = Http2::connect(host.http).await;
        let text = "x".repeat(1_000_000);
        assert!(http2.send(&format!("/api/{module}/echo"), text.clone()).answer().await == (200, text), "{module}");
    }
}

#[tokio::test]
async fn a_request_that_the_component_does_not_read_costs_nothing() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    for module in BOTH {
        let mut connection = Connection::open(host.http).await;
        for _ in 0..3 {
            let answer = connection.send("POST", &format!("/api/{module}/"), &[], vec![b'x'; 1 << 20]).await;
            assert!(answer.text().starts_with("hello"), "{module}");
        }
    }
}

#[tokio::test]
async fn a_body_is_aborted_when_the_guest_traps_or_drops_it() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    let cases = [
        ("http-2", "part-then-trap"),
        ("http-3", "part-then-trap"),
        ("http-2", "part-then-spin"),
        ("http-3", "part-then-spin"),
        ("http-3", "drop"),
        ("http-3", "short"),
    ];
    for (module, path) in cases {
        let read = Raw::get(host.http, &format!("/api/{module}/{path}")).await.rest().await;
        assert!(read.starts_with("HTTP/1.1 200 OK\r\n") && read.contains("part\n"), "{module} {path}: {read}");
        assert!(!read.ends_with("0\r\n\r\n") && !read.contains("end"), "{module} {path}: {read}");
    }
    eventually("no response streams", || async { host.streaming().await == 0.0 }).await;
    for module in BOTH {
        assert_eq!(host.get(&format!("/api/{module}/")).await.status, 200);
    }
}

#[tokio::test]
async fn a_body_that_the_guest_has_not_finished_when_it_returns_is_aborted() {
    let host = TestHost::with("http-forgets").start().await;
    for _ in 0..20 {
        let finished = Raw::get(host.http, "/api/http-forgets/finish").await.until("0\r\n\r\n").await;
        assert!(finished.contains("part\n"), "{finished}");
        let forgotten = Raw::get(host.http, "/api/http-forgets/").await.rest().await;
        // The connection may end before its head and the part are sent.
        assert!(!forgotten.ends_with("0\r\n\r\n"), "{forgotten}");
    }
    eventually("no response streams", || async { host.streaming().await == 0.0 }).await;
    assert!(host.log.contains(&["WARN", "module=http-forgets", "returned without finishing the body"]));
}

#[tokio::test]
async fn a_client_that_leaves_ends_the_response() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    for module in BOTH {
        let mut open = Raw::get(host.http, &format!("/api/{module}/open/hello")).await;
        open.until("hello\n").await;
        let mut flood = Raw::get(host.http, &format!("/api/{module}/flood")).await;
        flood.until(&"f".repeat(1_000)).await;
        assert_eq!(host.streaming().await, 2.0, "{module}");
        drop((open, flood));
        eventually("both have ended", || async { host.streaming().await == 0.0 }).await;
    }
}

#[tokio::test]
async fn an_instance_that_panics_because_its_client_has_left_is_no_error() {
    let host = TestHost::empty().and_as("http-2", "left").start().await;
    let mut flood = Raw::get(host.http, "/api/left/flood").await;
    flood.until(&"f".repeat(1_000)).await;
    drop(flood);
    // The library of the guest panics when it cannot write.
    eventually("its end is in the log", || async {
        host.log.contains(&["INFO", "module=left", "an instance ended with its client"])
    })
    .await;
    assert!(host.log.lines(&["ERROR", "module=left"]).is_empty());
}
