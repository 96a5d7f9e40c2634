//! How a host stops.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fanfare::Stopped;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::harness::{Connection, Log, TestHost, eventually};

/// A host with `waits` in one worker.
fn waits(drain: &str) -> TestHost {
    TestHost::waits_for(&[]).workers(1).config(json!({ "shutdown": { "drain": drain } }))
}

#[tokio::test]
async fn a_host_with_nothing_to_do_stops_clean() {
    assert_eq!(TestHost::with("echo").start().await.stop().await, Stopped::Clean);
}

/// Sends requests on one connection until a response announces that the connection closes.
async fn until_announced(address: SocketAddr, answered: Arc<AtomicUsize>) {
    let mut stream = BufReader::new(TcpStream::connect(address).await.unwrap());
    let mut is_last = false;
    while !is_last {
        let request = "POST /api/echo/echo HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nsame";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(stream.read_line(&mut line).await.unwrap() > 0, "the request has no response");
            is_last |= line == "connection: close\r\n";
        }
        let mut body = [0; 4];
        stream.read_exact(&mut body).await.expect("the whole response");
        answered.fetch_add(1, Ordering::AcqRel);
    }
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the host closes");
}

#[tokio::test]
async fn a_stop_loses_no_request_on_an_open_connection() {
    let host = TestHost::with("echo").config(json!({ "shutdown": { "drain": "15s", "linger": "15s" } })).start().await;
    let answered = Arc::<AtomicUsize>::default();
    let clients: Vec<_> = (0..16).map(|_| tokio::spawn(until_announced(host.http, answered.clone()))).collect();
    eventually("the clients are served", || async { answered.load(Ordering::Acquire) > 200 }).await;
    assert_eq!(host.stop().await, Stopped::Clean);
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_calls_in_flight() {
    let host = waits("10s").start().await;
    let (http, admin) = (host.http, host.admin);
    let mut client = Connection::open(http).await;
    let mut operator = Connection::open(admin).await;
    let request = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "kept").await });
    host.until_running("waits", 0, 1).await;
    let release = async {
        let released = operator.send("POST", "/v1/modules/waits/call?path=release", &[], "").await;
        assert_eq!(released.json()["payload"], "1", "{}", released.text());
    };
    let (stopped, ()) = tokio::join!(host.stop(), release);
    assert_eq!(stopped, Stopped::Clean);
    assert_eq!(request.await.unwrap().text(), "kept");
}

#[tokio::test]
async fn calls_that_run_longer_than_the_drain_are_cut_off() {
    let host = waits("100ms").limit("waits", "timeout", "60s").start().await;
    let mut client = Connection::open(host.http).await;
    let request = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "").await });
    host.until_running("waits", 0, 1).await;
    assert_eq!(host.stop().await, Stopped::CutOff);
    assert!(request.await.is_err(), "there is no response");
}

#[tokio::test]
async fn a_stop_waits_for_calls_without_a_caller_too() {
    let host = waits("100ms").limit("waits", "timeout", "60s").start().await;
    let body = json!({ "route": "/hold" });
    assert_eq!(host.post("/api/waits/notify", body.to_string()).await.json()["ok"], 1);
    host.until_running("waits", 0, 1).await;
    assert_eq!(host.stop().await, Stopped::CutOff);
}

#[tokio::test]
async fn a_stop_runs_the_broadcasts_that_wait() {
    let heard = Arc::new(AtomicUsize::new(0));
    let count = heard.clone();
    let host = TestHost::with("serial").workers(1).config(json!({ "shutdown": { "drain": "10s" } }));
    let host = host.probe(Arc::new(move |call| {
        count.fetch_add(usize::from(&*call.route.handler == "hear"), Ordering::AcqRel);
    }));
    let host = host.start().await;
    let (admin, mut client) = (host.admin, Connection::open(host.http).await);
    let slow = tokio::spawn(async move { client.send("POST", "/api/serial/block", &[], "300").await });
    host.until_running("serial", 0, 1).await;
    for _ in 0..3 {
        assert_eq!(host.emit("serial", "wave", "").await["accepted"], 1);
    }
    assert_eq!((host.stop().await, heard.load(Ordering::Acquire)), (Stopped::Clean, 3));
    assert_eq!(slow.await.unwrap().status, 200);
    assert!(TcpStream::connect(admin).await.is_err());
}

#[tokio::test]
async fn the_log_counts_the_calls_and_broadcasts_that_a_stop_loses() {
    let host = TestHost::empty().and_as("serial", "serial-lost").workers(1).limit("serial-lost", "timeout", "60s");
    let host = host.config(json!({ "shutdown": { "drain": "50ms" } })).start().await;
    let mut client = Connection::open(host.http).await;
    tokio::spawn(async move { client.send("POST", "/api/serial-lost/hold", &[], "").await });
    host.until_running("serial-lost", 0, 1).await;
    host.emit("serial-lost", "wave", "").await;
    assert_eq!(host.stop().await, Stopped::CutOff);
    let said = [
        "cut off at shutdown.drain: ",
        "module=serial-lost",
        "isolate=worker-0",
        "running=1",
        "calls=0",
        "broadcasts=1",
    ];
    assert_eq!(Log::capture().lines(&said).len(), 1);
}

#[tokio::test]
async fn a_stop_answers_the_requests_of_the_operator_that_have_begun() {
    let host = TestHost::with("echo").start().await;
    let admin = host.admin;
    let mut operator = TcpStream::connect(admin).await.unwrap();
    let head = format!("POST /v1/modules/ghost/broadcasts/x HTTP/1.1\r\nhost: {admin}\r\ncontent-length: 4\r\n\r\n");
    operator.write_all(format!("{head}so").as_bytes()).await.unwrap();
    // When another connection has its response, this request has begun.
    assert_eq!(host.admin("GET", "/livez", "").await.status, 200);
    let asked = async {
        eventually("the listener is closed", || async { TcpStream::connect(admin).await.is_err() }).await;
        operator.write_all(b"me").await.unwrap();
        let mut answer = String::new();
        operator.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("ghost"), "{answer}");
    };
    let (stopped, ()) = tokio::join!(host.stop(), asked);
    assert_eq!(stopped, Stopped::Clean);
}
