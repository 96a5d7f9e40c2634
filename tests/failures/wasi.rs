//! WASI gives guests clocks and random numbers, and denies everything else.

use std::net::TcpListener;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::steps::assert_names;
use crate::harness::{Started, TestHost};

async fn wasi() -> Started {
    TestHost::with("wasi").start().await
}

/// Asserts that each attempt failed with its error, and that the instance has survived.
async fn assert_all_denied(host: &Started, tries: &Value, errors: &[(&str, &str)]) {
    assert_eq!(tries.as_object().unwrap().len(), errors.len(), "{tries}");
    for (what, error) in errors {
        assert_names(&tries[what], &[error]);
    }
    assert_eq!(host.metric("fanfare_restarts_total", &["wasi"]).await, 0.0);
}

#[tokio::test]
async fn a_guest_has_no_files() {
    let host = wasi().await;
    let secret = host.dir.write("secret", "x");
    // No folder is preopened, so every path is unknown.
    let errors = ["read", "write", "list", "here", "remove"].map(|what| (what, "No such file or directory"));
    assert_all_denied(&host, &host.post("/api/wasi/files", secret.to_str().unwrap()).await.json(), &errors).await;
    assert!(secret.exists() && !secret.with_extension("new").exists());
}

#[tokio::test]
async fn a_guest_has_no_variables_and_no_arguments() {
    let seen = wasi().await.post("/api/wasi/environment", "").await.json();
    assert_eq!(seen, json!({ "variables": 0, "path": null, "arguments": 0 }));
}

#[tokio::test]
async fn a_guest_has_no_sockets() {
    let host = wasi().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let errors = ["connect", "listen", "datagram", "lookup"].map(|what| (what, "Permission denied"));
    assert_all_denied(&host, &host.post("/api/wasi/sockets", address).await.json(), &errors).await;
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the guest has not connected");
}

#[tokio::test]
async fn a_guest_cannot_send_requests() {
    let host = wasi().await;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let ended = host.post("/api/wasi/requests", address).await.json();
    assert_eq!(ended, "Some(ErrorCode::HttpRequestDenied)");
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "the guest has not connected");
}

#[tokio::test]
async fn a_guest_has_clocks() {
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
    let clocks = wasi().await.post("/api/wasi/clocks", "").await.json();
    assert!(u128::from(clocks["now"].as_u64().unwrap()) >= begun, "{clocks}");
    assert_eq!(clocks["slept"], true);
}

#[tokio::test]
async fn every_instance_has_different_random_numbers() {
    let host = wasi().await;
    let draw = async |worker| host.call(worker, "wasi", "random", "").await["payload"].clone();
    assert_ne!(draw("worker-0").await, draw("worker-1").await);
}

#[tokio::test]
async fn http_resources_count_as_memory_of_the_guest() {
    for hoard in ["bodies", "fields"] {
        let host = TestHost::with("hostile").and("echo").limit("hostile", "memory", "4MiB").workers(1).start().await;
        let some = host.post(&format!("/api/hostile/{hoard}"), r#"{ "times": 40 }"#).await;
        assert_eq!(some.json(), 40, "{hoard}");
        // Each counts as 16 KiB, so that fewer than 256 fit.
        let more = host.post(&format!("/api/hostile/{hoard}"), r#"{ "times": 256 }"#).await;
        assert_eq!((more.status, more.code()), (500, "crashed".to_owned()), "{hoard}");
        assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
        assert_eq!(host.post("/api/hostile/ok", "").await.status, 200, "in the next instance");
    }
}
