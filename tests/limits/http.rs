//! What the HTTP listener takes.

use std::future::Future;

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::failures::steps::assert_names;
use crate::harness::{Connection, Started, TestHost, json_of};

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

/// A request with `host` and so many other header fields.
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
    assert_eq!(over.status, 431);

    // More than the 100 that hyper takes by itself.
    let host = echo("maxHeaders", 150).await;
    assert_eq!(with_headers(&host, 149, "x").await.status, 200);
    assert_eq!(with_headers(&host, 150, "x").await.status, 431);
}

pub async fn max_header_bytes() {
    let host = echo("maxHeaderBytes", "8KiB").await;
    assert_eq!(with_headers(&host, 1, &"x".repeat(7 << 10)).await.status, 200);
    assert_eq!(with_headers(&host, 1, &"x".repeat(9 << 10)).await.status, 431);
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
    assert!(!third.is_finished(), "it waits for one of the others to leave");
    drop(first);
    assert!(third.await.unwrap());
}

/// A request for `hold` on an HTTP/2 connection.
fn hold(
    host: &Started,
    sender: &hyper::client::conn::http2::SendRequest<Full<Bytes>>,
) -> impl Future<Output = u16> + use<> {
    let uri = format!("http://{}/api/waits/hold", host.http);
    let request = http::Request::post(uri).body(Full::default()).unwrap();
    let answer = sender.clone().send_request(request);
    async move { answer.await.unwrap().status().as_u16() }
}

pub async fn max_streams() {
    let host = TestHost::waits_for(&[]).workers(1).config(json!({ "http": { "maxStreams": 2 } })).start().await;
    let stream = TokioIo::new(TcpStream::connect(host.http).await.unwrap());
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    // With its answer come the settings of the host.
    let first = hold(&host, &sender);
    let release = || host.call("any", "waits", "release", "");
    tokio::join!(first, async {
        host.until_running("waits", 0, 1).await;
        release().await;
    });
    let check = async {
        host.until_running("waits", 0, 2).await;
        assert_eq!(json_of(&release().await), 2, "the third one has not been let in");
        host.until_running("waits", 0, 1).await;
        assert_eq!(json_of(&release().await), 1);
    };
    let calls = (hold(&host, &sender), hold(&host, &sender), hold(&host, &sender));
    let (first, second, third, ()) = tokio::join!(calls.0, calls.1, calls.2, check);
    assert_eq!([first, second, third], [204; 3]);
}
