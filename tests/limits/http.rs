//! The limits of the HTTP listener.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::failures::steps::assert_names;
use crate::harness::{Connection, Started, TestHost, eventually, json_of};

async fn echo(limit: &str, value: impl Into<Value>) -> Started {
    TestHost::with("echo").config(json!({ "http": { limit: value.into() } })).start().await
}

pub async fn max_body() {
    let host = echo("maxBody", 1_000).await;
    assert_eq!(host.post("/api/echo/echo", [b'x'; 1_000]).await.body.len(), 1_000);
    let over = host.post("/api/echo/echo", [b'x'; 1_001]).await;
    assert_eq!((over.status, over.code()), (413, "payload-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["1000 bytes", "http.maxBody"]);
}

/// Sends a request with the field `host` and `count` other header fields.
async fn with_headers(host: &Started, count: usize, value: &str) -> crate::harness::Answer {
    let names: Vec<String> = (0..count).map(|number| format!("x-{number}")).collect();
    let headers: Vec<_> = names.iter().map(|name| (name.as_str(), value)).collect();
    host.request("GET", "/api/echo/headers", &headers, "").await
}

pub async fn max_headers() {
    let host = echo("maxHeaders", 20).await;
    let under = with_headers(&host, 19, "x").await;
    assert_eq!(under.json()["headers"].as_array().unwrap().len(), 20, "{}", under.text());
    let over = with_headers(&host, 20, "x").await;
    assert_eq!((over.status, over.code()), (431, "headers-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["20 header fields", "http.maxHeaders"]);

    // More than the 100 that hyper accepts by default.
    let host = echo("maxHeaders", 150).await;
    assert_eq!(with_headers(&host, 149, "x").await.status, 200);
    assert_eq!(with_headers(&host, 150, "x").await.status, 431);
}

pub async fn max_header_bytes() {
    let host = echo("maxHeaderBytes", "8KiB").await;
    assert_eq!(with_headers(&host, 1, &"x".repeat(7 << 10)).await.status, 200);
    let over = with_headers(&host, 1, &"x".repeat(9 << 10)).await;
    assert_eq!((over.status, over.code()), (431, "headers-too-large".to_owned()));
    assert_names(&over.json()["detail"], &["8192 bytes", "http.maxHeaderBytes"]);
}

pub async fn max_buffered() {
    let host = TestHost::with("echo").config(json!({ "http": { "maxBuffered": "64KiB", "maxBody": "64KiB" } }));
    let host = host.start().await;
    assert_eq!(host.get("/api/echo/big?bytes=65536").await.body.len(), 65_536);
    // The first 8 KiB of a connection do not count.
    let over = host.get("/api/echo/big?bytes=73728").await;
    assert_eq!((over.status, over.code()), (503, "overloaded".to_owned()));
    assert_names(&over.json()["detail"], &["65536", "http.maxBuffered"]);
    assert_eq!(host.metric("fanfare_http_buffered_refused_total", &[]).await, 1.0);
    assert_eq!(host.metric("fanfare_http_buffered_bytes_max", &[]).await, 65_536.0);
    eventually("no bytes are buffered", || async { host.metric("fanfare_http_buffered_bytes ", &[]).await == 0.0 })
        .await;
    assert_eq!(host.status().await["buffered"], json!({ "bytes": 0, "max": 65_536 }));
}

async fn answers(connection: &mut Connection) -> bool {
    connection.send("POST", "/api/echo/echo", &[], "hello").await.text() == "hello"
}

pub async fn max_connections() {
    let host = echo("maxConnections", 2).await;
    let mut first = Connection::open(host.http).await;
    let mut second = Connection::open(host.http).await;
    assert!(answers(&mut first).await && answers(&mut second).await);
    let third = tokio::spawn(async move {
        let mut third = Connection::open(host.http).await;
        let answered = answers(&mut third).await;
        drop(host);
        answered
    });
    for _ in 0..20 {
        assert!(answers(&mut first).await && answers(&mut second).await);
    }
    assert!(!third.is_finished(), "the third connection waits until another one closes");
    drop(first);
    assert!(third.await.unwrap());
}

/// Sends a request for `hold` on an HTTP/2 connection. The future resolves with the status.
fn hold(
    host: &Started,
    sender: &hyper::client::conn::http2::SendRequest<Full<Bytes>>,
) -> impl Future<Output = u16> + use<> {
    let uri = format!("http://{}/api/waits/hold", host.http);
    let request = http::Request::post(uri).body(Full::default()).unwrap();
    let answer = sender.clone().send_request(request);
    async move { answer.await.unwrap().status().as_u16() }
}

/// Opens an HTTP/2 connection.
async fn http2(host: &Started) -> hyper::client::conn::http2::SendRequest<Full<Bytes>> {
    let stream = TokioIo::new(TcpStream::connect(host.http).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

pub async fn max_streams() {
    let host = TestHost::waits_for(&[]).workers(1).config(json!({ "http": { "maxStreams": 2 } })).start().await;
    let sender = http2(&host).await;
    // The client has the settings of the host when the first request has its response.
    let first = hold(&host, &sender);
    let release = || host.call("any", "waits", "release", "");
    tokio::join!(first, async {
        host.until_running("waits", 0, 1).await;
        release().await;
    });
    let check = async {
        host.until_running("waits", 0, 2).await;
        assert_eq!(json_of(&release().await), 2, "the third stream has to wait");
        host.until_running("waits", 0, 1).await;
        assert_eq!(json_of(&release().await), 1);
    };
    let calls = (hold(&host, &sender), hold(&host, &sender), hold(&host, &sender));
    let (first, second, third, ()) = tokio::join!(calls.0, calls.1, calls.2, check);
    assert_eq!([first, second, third], [204; 3]);
}

pub async fn local_streams() {
    let host = TestHost::waits_for(&[]).config(json!({ "http": { "localStreams": 2 } })).start().await;
    let running = async || {
        let count = async |worker| host.slot("waits", worker).await["inFlight"].as_u64().unwrap();
        let mut counts = [count(0).await, count(1).await];
        counts.sort_unstable();
        counts
    };
    let release = async || {
        for worker in ["worker-0", "worker-1"] {
            host.call(worker, "waits", "release", "").await;
        }
    };
    let sender = http2(&host).await;
    let under = async {
        eventually("both calls run in one worker", || async { running().await == [0, 2] }).await;
        release().await;
    };
    tokio::join!(hold(&host, &sender), hold(&host, &sender), under);
    let over = async {
        eventually("the third call runs in the other worker", || async { running().await == [1, 2] }).await;
        release().await;
    };
    tokio::join!(hold(&host, &sender), hold(&host, &sender), hold(&host, &sender), over);
}

pub async fn cors_max_age() {
    let origin = "https://app.example.test";
    let host = echo("cors", json!({ "origins": [origin], "maxAge": "90s" })).await;
    let preflight = [("origin", origin), ("access-control-request-method", "POST")];
    let answer = host.request("OPTIONS", "/api/echo/echo", &preflight, "").await;
    assert_eq!(answer.header("access-control-max-age"), Some("90"));
}

/// A client that sends raw bytes.
struct Client(TcpStream);

impl Client {
    async fn connect(host: &Started) -> Client {
        Client(TcpStream::connect(host.http).await.unwrap())
    }

    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.unwrap();
    }

    /// Reads until the bytes end with this text.
    async fn read_until(&mut self, end: &str) {
        let mut bytes = Vec::new();
        while !bytes.ends_with(end.as_bytes()) {
            let more = self.0.read_buf(&mut bytes).await.unwrap();
            assert!(more > 0, "closed after {}", String::from_utf8_lossy(&bytes));
        }
    }

    /// Returns what the host sends until it closes the connection.
    async fn read_to_end(mut self) -> String {
        let mut rest = Vec::new();
        let closed = tokio::time::timeout(Duration::from_secs(20), self.0.read_to_end(&mut rest)).await;
        // A reset closes the connection too.
        drop(closed.expect("the host closes"));
        String::from_utf8(rest).unwrap()
    }
}

const HEAD: &str = "POST /api/echo/echo HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n";

pub async fn body_timeout() {
    let host = echo("bodyTimeout", "30s").await;
    let mut under = Client::connect(&host).await;
    under.send(&format!("{HEAD}so")).await;
    assert_eq!(host.get("/api/echo/who").await.status, 200);
    under.send("me").await;
    under.read_until("some").await;

    let host = echo("bodyTimeout", "50ms").await;
    let mut over = Client::connect(&host).await;
    over.send(&format!("{HEAD}so")).await;
    let answer = over.read_to_end().await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("body-timeout"), "{answer}");
}

pub async fn header_timeout() {
    let (begin, end) = HEAD.split_at(10);
    let host = echo("headerTimeout", "30s").await;
    let mut under = Client::connect(&host).await;
    under.send(begin).await;
    assert_eq!(host.get("/api/echo/who").await.status, 200);
    under.send(&format!("{end}some")).await;
    under.read_until("some").await;

    let host = echo("headerTimeout", "50ms").await;
    let mut over = Client::connect(&host).await;
    over.send(begin).await;
    assert_eq!(over.read_to_end().await, "");
}

pub async fn idle_timeout() {
    let idle = async |timeout: &str| {
        let host = echo("idleTimeout", timeout).await;
        let mut client = Client::connect(&host).await;
        client.send(&format!("{HEAD}some")).await;
        client.read_until("some").await;
        (host, client)
    };
    let (host, mut under) = idle("30s").await;
    assert_eq!(host.get("/api/echo/who").await.status, 200);
    under.send(&format!("{HEAD}more")).await;
    under.read_until("more").await;

    let (_host, over) = idle("50ms").await;
    assert_eq!(over.read_to_end().await, "");
}
