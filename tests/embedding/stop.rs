//! How an embedded host stops.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use fanfare::{CallError, CallOptions, Host, IsolateId, Payload, Stopped, SwapError};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::memory::patched;
use crate::harness::{Connection, TempDir, TestHost, binary, eventually};

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

/// Everything that a start has begun ends with it: loads, the admin listener, and its clients.
#[tokio::test]
async fn a_start_whose_future_is_dropped_leaves_no_task() {
    let dir = TempDir::new();
    dir.make_state_dir();
    let settings = json!({
        "stateDir": TempDir::STATE, "workers": 1,
        "http": { "listen": "127.0.0.1:0" }, "admin": { "listen": "127.0.0.1:0" },
    });
    let before = Handle::current().metrics().num_alive_tasks();
    let host = Host::builder().text(settings.to_string(), dir.path()).compiler(binary());
    let host = host.module(patched("startup", "slow", json!({ "config": { "mode": "never" } }))).bind().unwrap();
    let admin = host.admin_addr();
    let mut follower = TcpStream::connect(admin).await.unwrap();
    let starting = async {
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: {admin}\r\n\r\n");
        follower.write_all(request.as_bytes()).await.unwrap();
        let mut operator = Connection::open(admin).await;
        loop {
            let status = operator.send("GET", "/v1/status", &[], "").await.json();
            if status["modules"][0]["isolates"][0]["state"] == "starting" {
                break;
            }
        }
    };
    tokio::select! {
        _ = host.start() => panic!("the startup never returns"),
        () = starting => {}
    }
    let mut events = String::new();
    let read = timeout(Duration::from_secs(5), follower.read_to_string(&mut events)).await;
    read.expect("the stream ends").unwrap();
    assert!(events.contains("event: workerStart") && events.contains("event: workerClusterExit"), "{events}");
    let alive = || Handle::current().metrics().num_alive_tasks();
    eventually("no task is left", || async { alive() <= before }).await;
}

#[tokio::test]
async fn a_host_that_has_stopped_or_was_dropped_leaves_no_task() {
    let before = Handle::current().metrics().num_alive_tasks();
    let hook = || json!({ "path": "hook" });
    let hooks = json!({
        "swapCommitted": hook(), "masterMessage": { "path": "message", "in": ["worker", "broker"] },
        "workerClusterReady": hook(), "stop": { "path": "stop" },
    });
    for how in ["shutdown", "destroy", "drop"] {
        let host = TestHost::with("echo").and("master").manifest("master", json!({ "hooks": hooks })).watched();
        let host = host.start().await;
        let running = host.running();
        running.on_message(async |_| std::future::pending().await);
        let mut follower = TcpStream::connect(host.admin).await.unwrap();
        let request = format!("GET /v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", host.admin);
        follower.write_all(request.as_bytes()).await.unwrap();
        let mut client = Connection::open(host.http).await;
        assert_eq!(client.send("POST", "/api/echo/echo", &[], "x").await.status, 200);
        running.reload("echo").await.unwrap();
        running.post_to_worker(0, None, json!({ "how": "hold" })).unwrap();
        running.post_to_broker(0, None, json!({ "how": "hold" })).unwrap();
        let mut events = running.events();
        match how {
            "shutdown" => drop(running.shutdown().await),
            "destroy" => running.destroy().await,
            _ => {}
        }
        drop(host);
        let mut text = String::new();
        timeout(Duration::from_secs(5), follower.read_to_string(&mut text)).await.expect("the stream ends").unwrap();
        assert!(text.contains("event: workerClusterExit"), "{how}: {text}");
        while events.next().await.is_some() {}
        drop(client);
        let alive = || Handle::current().metrics().num_alive_tasks();
        eventually("no task is left", || async { alive() <= before }).await;
    }
}

#[tokio::test]
async fn a_stop_drops_the_handler_of_messages() {
    for at_once in [false, true] {
        let host = TestHost::empty().start().await;
        let running = host.running();
        let captured = Arc::new(());
        let set = || {
            let captured = captured.clone();
            running.on_message(move |_| {
                let _captured = captured.clone();
                async { Ok(Payload::None) }
            });
        };
        set();
        assert_eq!(Arc::strong_count(&captured), 2);
        match at_once {
            true => running.destroy().await,
            false => drop(running.shutdown().await),
        }
        assert_eq!(Arc::strong_count(&captured), 1);
        set();
        assert_eq!(Arc::strong_count(&captured), 1, "a stopped host receives no messages");
    }
}

/// A stop waits two seconds for threads that host code blocks, not two for each of them, and also
/// when the future of an earlier stop was dropped.
#[tokio::test]
async fn every_stop_waits_for_the_threads_but_not_for_long() {
    let gate = Arc::new((Mutex::new(0), Condvar::new()));
    let blocked = gate.clone();
    let probe = Arc::new(move |_: &_| {
        let mut count = blocked.0.lock().unwrap();
        *count += 1;
        drop(blocked.1.wait_while(count, |count| *count < 100).unwrap());
    });
    let host = Arc::new(TestHost::with("echo").workers(3).probe(probe).start().await);
    for worker in 0..3 {
        let host = host.clone();
        tokio::spawn(async move {
            let worker = IsolateId::Worker(worker);
            host.running().call_in(worker, "echo", "who", (), CallOptions::default()).await
        });
    }
    eventually("all three block", || async { *gate.0.lock().unwrap() == 3 }).await;
    let begun = Instant::now();
    assert!(timeout(Duration::from_millis(1), host.running().destroy()).await.is_err());
    host.running().destroy().await;
    assert!((1_900..3_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    *gate.0.lock().unwrap() = 100;
    gate.1.notify_all();
}
