//! How an embedded host stops.

use std::sync::Arc;

use fanfare::{CallError, Stopped, SwapError};
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{Connection, TestHost, eventually};

#[tokio::test]
async fn two_calls_of_shutdown_wait_for_the_same_stop() {
    let host = TestHost::waits_for(&[]).workers(1).config(json!({ "shutdown": { "drain": "10s" } })).start().await;
    let (http, admin) = (host.http, host.admin);
    let (mut client, mut operator) = (Connection::open(http).await, Connection::open(admin).await);
    let request = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "kept").await });
    host.until_running("waits", 0, 1).await;
    let running = host.running();
    let release = async { operator.send("POST", "/v1/modules/waits/call?path=release", &[], "").await };
    let (first, second, _) = tokio::join!(running.shutdown(), running.shutdown(), release);
    assert_eq!((first, second), (Stopped::Clean, Stopped::Clean));
    assert_eq!(request.await.unwrap().text(), "kept");
    assert_eq!(running.shutdown().await, Stopped::Clean);
}

#[tokio::test]
async fn a_shutdown_whose_future_is_dropped_continues_with_the_next_call() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    {
        let shutdown = std::pin::pin!(running.shutdown());
        assert!(futures_util::poll!(shutdown).is_pending());
    }
    assert_eq!(running.shutdown().await, Stopped::Clean);
    assert!(TcpStream::connect(host.http).await.is_err());
}

#[tokio::test]
async fn destroy_ends_running_calls_and_closes_both_listeners() {
    let host = TestHost::waits_for(&[]).workers(1).config(json!({ "shutdown": { "drain": "60s" } })).start().await;
    let mut client = Connection::open(host.http).await;
    let request = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "").await });
    host.until_running("waits", 0, 1).await;
    host.running().destroy().await;
    assert!(request.await.is_err(), "there is no response");
    assert!(TcpStream::connect(host.http).await.is_err() && TcpStream::connect(host.admin).await.is_err());
    assert_eq!(host.running().shutdown().await, Stopped::CutOff);
}

#[tokio::test]
async fn destroy_ends_a_shutdown_that_drains() {
    let host = TestHost::waits_for(&[]).workers(1).config(json!({ "shutdown": { "drain": "60s" } })).start().await;
    let mut client = Connection::open(host.http).await;
    let request = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "").await });
    host.until_running("waits", 0, 1).await;
    let host = Arc::new(host);
    let shared = host.clone();
    let shutdown = tokio::spawn(async move { shared.running().shutdown().await });
    let draining = || async { host.admin("GET", "/readyz", "").await.status == 503 };
    eventually("the host drains", draining).await;
    host.running().destroy().await;
    assert_eq!(shutdown.await.unwrap(), Stopped::CutOff);
    assert!(request.await.is_err(), "there is no response");
}

#[tokio::test]
async fn a_stopped_host_refuses_with_a_clear_error_and_still_has_a_status() {
    let host = TestHost::with("echo").start().await;
    let running = host.running();
    running.shutdown().await;
    let error = running.reload("echo").await.unwrap_err();
    assert!(matches!(error, SwapError::Stopping), "{error}");
    assert_eq!(error.to_string(), "the host is stopping");
    assert!(matches!(running.rollback("echo", None).await.unwrap_err(), SwapError::Stopping));
    assert_eq!(running.status().modules[0].name, "echo");
    running.destroy().await;
}

#[tokio::test]
async fn a_stopped_host_delivers_no_messages() {
    let hooks = json!({ "hooks": { "masterMessage": { "path": "message" } } });
    for destroyed in [false, true] {
        let host = TestHost::with("master").manifest("master", hooks.clone()).start().await;
        let running = host.running();
        assert!(running.send_to_worker(0, Some("master"), "hello").await.is_ok());
        match destroyed {
            true => running.destroy().await,
            false => assert_eq!(running.shutdown().await, Stopped::Clean),
        }
        let stopped = CallError::Unavailable("the host is stopping or has stopped".into());
        for module in [Some("master"), None] {
            assert_eq!(running.send_to_worker(0, module, "hello").await.unwrap_err(), stopped);
            assert_eq!(running.post_to_worker(0, module, "hello").unwrap_err(), stopped);
            assert_eq!(running.send_to_broker(0, module, "hello").await.unwrap_err(), stopped);
            assert_eq!(running.post_to_broker(0, module, "hello").unwrap_err(), stopped);
        }
    }
}
