//! Swaps and kills of modules that stream.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use super::{BOTH, Raw};
use crate::harness::{Connection, TestHost, eventually};

#[tokio::test]
async fn no_request_fails_over_twenty_swaps() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "http": { "maxBody": "2MiB" } })).start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for module in BOTH {
        for path in ["", "echo", "download/300000"] {
            let (stop, http, path) = (stop.clone(), host.http, format!("/api/{module}/{path}"));
            clients.push(tokio::spawn(async move {
                let mut connection = Connection::open(http).await;
                let mut answered = 0;
                while !stop.load(Ordering::Relaxed) {
                    let answer = connection.send("POST", &path, &[], vec![b'x'; 100_000]).await;
                    let size = if path.ends_with("echo") { 100_000 } else { 24 };
                    let size = if path.contains("download") { 300_000 } else { size };
                    assert_eq!((answer.status, answer.body.len()), (200, size), "{path}");
                    answered += 1;
                }
                answered
            }));
        }
    }
    for swap in 0..20 {
        for module in BOTH {
            host.rewrite(module, json!({ "config": { "swap": swap } }));
            let reload = host.reload(module).await;
            assert_eq!(reload["outcome"], "swapped", "{module}: {reload}");
        }
    }
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        assert!(client.await.unwrap() > 5);
    }
    eventually("no response streams", || async { host.streaming().await == 0.0 }).await;
}

#[tokio::test]
async fn a_response_ends_in_the_instance_in_which_it_began() {
    let host = TestHost::with("http-3").workers(1).start().await;
    let mut old = Raw::get(host.http, "/api/http-3/open/old").await;
    old.until("old\n").await;
    assert_eq!(host.get("/api/http-3/count").await.text(), "0");
    host.rewrite("http-3", json!({ "config": { "next": true } }));
    assert_eq!(host.reload("http-3").await["outcome"], "swapped");
    // New requests reach the new instance, which has none of the old one's responses.
    assert_eq!(host.get("/api/http-3/count").await.text(), "0");
    assert_eq!(host.get("/api/http-3/close").await.text(), "0");
    let mut new = Raw::get(host.http, "/api/http-3/open/new").await;
    new.until("new\n").await;
    assert_eq!(host.streaming().await, 2.0);
    // The guest has the response once its first part is written, which the client may see before.
    let closed = || async { host.get("/api/http-3/close").await.text() == "1" };
    eventually("the new instance has the new response", closed).await;
    new.until("end\n").await;
    new.until("0\r\n\r\n").await;
    drop(old);
    eventually("the old instance ends with its response", || async { host.streaming().await == 0.0 }).await;
}

#[tokio::test]
pub async fn a_replaced_instance_streams_for_swap_linger_at_most() {
    let host = TestHost::with("http-2").and("http-3").config(json!({ "swap": { "linger": "200ms" } })).start().await;
    for module in BOTH {
        let mut open = Raw::get(host.http, &format!("/api/{module}/open/old")).await;
        open.until("old\n").await;
        // A third swap waits for the first instance.
        for swap in 0..3 {
            host.rewrite(module, json!({ "config": { "swap": swap } }));
            assert_eq!(host.reload(module).await["outcome"], "swapped", "{module}");
        }
        let rest = open.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "the response broke off: {rest}");
        eventually("it has ended", || async { host.streaming().await == 0.0 }).await;
    }
}

#[tokio::test]
async fn a_kill_breaks_responses_off() {
    let host = TestHost::with("http-2").and("http-3").workers(1).start().await;
    for module in BOTH {
        let mut open = Raw::get(host.http, &format!("/api/{module}/open/old")).await;
        open.until("old\n").await;
        host.admin("POST", "/v1/workers/kill", r#"{"immediate": true}"#).await;
        let rest = open.rest().await;
        assert!(!rest.contains("0\r\n\r\n"), "{module}: {rest}");
        eventually("the module serves again", || async { host.get(&format!("/api/{module}/")).await.status == 200 })
            .await;
    }
}

#[tokio::test]
async fn a_canary_that_traps_is_reverted() {
    let host = TestHost::with("http-3").start().await;
    host.rewrite("http-3", json!({ "rollout": { "canary": 1, "for": "10s" }, "config": { "new": true } }));
    let swap = host.reloading("http-3");
    eventually("the canary fails", || async {
        _ = Raw::get(host.http, "/api/http-3/part-then-trap").await.rest().await;
        swap.is_finished()
    })
    .await;
    let failed = swap.await.unwrap();
    assert!(failed["detail"].as_str().unwrap_or_default().contains("rolled back"), "{failed}");
}
