//! Requests to other servers through `wasi:http`.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::Ordering;

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::harness::{Started, TempDir, TestHost, WebServer, eventually, sign_server};

/// A host whose module may send requests to these origins.
fn host(origins: &[&str]) -> TestHost {
    let asked = json!({ "http": origins });
    TestHost::with("outside")
        .manifest("outside", json!({ "capabilities": asked }))
        .grant("outside", asked)
        .limit("outside", "cpu", "5s")
        .workers(1)
        .config(json!({ "shutdown": { "drain": "200ms" } }))
}

async fn fetch(host: &Started, command: Value) -> Value {
    let answer = host.post("/api/outside/fetch", command.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

fn http(server: &WebServer, path: &str) -> Value {
    json!({ "scheme": "http", "authority": server.addr.to_string(), "path": path })
}

fn with(mut command: Value, key: &str, value: impl Into<Value>) -> Value {
    command[key] = value.into();
    command
}

fn ca(dir: &Path) -> Value {
    json!({ "outgoing": { "ca": dir.join("ca.pem") } })
}

#[tokio::test]
async fn a_request_over_tls_uses_the_test_authority_and_http2() {
    let dir = TempDir::new();
    if !sign_server(dir.path(), "IP:127.0.0.1,DNS:localhost") {
        return;
    }
    for (protocols, body) in [
        (&["h2", "http/1.1"][..], "hello over HTTP/2"),
        (&["http/1.1"], "hello over HTTP/1"),
        (&[], "hello over HTTP/1"),
    ] {
        let server = WebServer::encrypted(dir.path(), protocols).await;
        for name in ["127.0.0.1", "localhost"] {
            let authority = format!("{name}:{}", server.addr.port());
            let host = host(&[&format!("https://{authority}")]).config(ca(dir.path())).start().await;
            let answer = fetch(&host, json!({ "authority": authority })).await;
            assert_eq!((&answer["status"], &answer["body"]), (&json!(200), &json!(body)), "{name}: {answer}");
            let sent = fetch(&host, json!({ "authority": authority, "path": "/size", "send": 30_000 })).await;
            assert_eq!(sent["body"], "30000", "{sent}");
        }
    }
}

#[tokio::test]
async fn a_server_with_a_certificate_of_another_authority_is_refused() {
    let dir = TempDir::new();
    if !sign_server(dir.path(), "IP:127.0.0.1") {
        return;
    }
    let server = WebServer::encrypted(dir.path(), &["h2"]).await;
    let host = host(&[&format!("https://{}", server.addr)]).start().await;
    let answer = fetch(&host, json!({ "authority": server.addr.to_string() })).await;
    assert_eq!(answer["error"], "ErrorCode::TlsCertificateError", "{answer}");
    assert!(server.paths.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_request_to_an_origin_without_a_grant_is_denied_and_logged_once() {
    let (server, other) = (WebServer::plain().await, WebServer::plain().await);
    let host = host(&[&format!("http://{}", server.addr)]).start().await;
    assert_eq!(fetch(&host, http(&server, "/")).await["body"], "hello over HTTP/1");
    for _ in 0..3 {
        assert_eq!(fetch(&host, http(&other, "/")).await["error"], "ErrorCode::HttpRequestDenied");
    }
    for user in ["user@", "user:password@"] {
        let authority = format!("{user}{}", server.addr);
        let answer = fetch(&host, json!({ "scheme": "http", "authority": authority })).await;
        assert!(answer["error"].is_string(), "{answer}");
    }
    assert_eq!(other.accepted.load(Ordering::SeqCst), 0);
    let origin = format!("http://{}", other.addr);
    let line = format!("add \"{origin}\" to capabilities.http in its module.json, then run `fanfare grant outside`");
    assert_eq!(host.log.lines(&["WARN", &line]).len(), 1);
    assert!(host.metric("fanfare_outgoing_requests_total", &["denied"]).await >= 3.0);
}

#[tokio::test]
async fn a_name_at_a_private_address_is_refused_unless_the_operator_names_it() {
    let server = WebServer::plain().await;
    // Both resolve to this machine; `localhost` is not named by a grant.
    let port = server.addr.port();
    let command = json!({ "scheme": "http", "authority": format!("localhost:{port}") });
    let refused = host(&["*"]).start().await;
    let answer = fetch(&refused, command.clone()).await;
    assert_eq!(answer["error"], "ErrorCode::DestinationIpProhibited");
    let line = ["WARN", "localhost is at ", "add \"localhost\" to outgoing.private in fanfare.json"];
    assert!(refused.log.contains(&line));
    for number in ["2130706433", "0x7f000001", "127.1", "[::ffff:127.0.0.1]"] {
        let answer = fetch(&refused, json!({ "scheme": "http", "authority": format!("{number}:{port}") })).await;
        assert!(answer["error"].is_string(), "{number}: {answer}");
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 0);
    for private in ["localhost", "127.0.0.0/8"] {
        let host = host(&["*"]).config(json!({ "outgoing": { "private": [private] } })).start().await;
        assert_eq!(fetch(&host, command.clone()).await["status"], 200, "{private}");
    }
}

#[tokio::test]
async fn the_host_follows_no_redirects() {
    let server = WebServer::plain().await;
    let host = host(&["*"]).config(json!({ "outgoing": { "private": ["127.0.0.1"] } })).start().await;
    let answer = fetch(&host, http(&server, "/redirect")).await;
    assert_eq!(answer["status"], 302);
    assert!(answer["headers"].as_array().unwrap().contains(&json!("location")), "{answer}");
}

#[tokio::test]
async fn requests_share_a_connection() {
    let server = WebServer::plain().await;
    let host = host(&[&format!("http://{}", server.addr)]).start().await;
    for _ in 0..20 {
        assert_eq!(fetch(&host, http(&server, "/")).await["status"], 200);
    }
    assert_eq!(server.accepted.load(Ordering::SeqCst), 1);
    assert_eq!(host.metric("fanfare_outgoing_connections", &[]).await, 1.0);
}

#[tokio::test]
pub async fn bodies_and_waits_have_limits() {
    let server = WebServer::plain().await;
    let limits = json!({ "outgoing": { "maxRequest": "10KiB", "maxResponse": "100KiB", "timeout": "300ms" } });
    let host = host(&[&format!("http://{}", server.addr)]).config(limits).start().await;
    let sized = |size: u64| with(http(&server, "/size"), "send", size);
    assert_eq!(fetch(&host, sized(10_240)).await["body"], "10240");
    let larger = fetch(&host, sized(10_241)).await;
    assert!(larger["error"].as_str().unwrap().contains("HttpRequestBodySize"), "{larger}");
    let endless = fetch(&host, http(&server, "/endless")).await;
    assert!(endless["error"].as_str().unwrap().contains("exceeds limit: 102400 bytes"), "{endless}");
    assert_eq!(fetch(&host, http(&server, "/never")).await["error"], "ErrorCode::HttpResponseTimeout");
    let stalls = fetch(&host, http(&server, "/stalls")).await;
    assert!(stalls["error"].as_str().unwrap().to_lowercase().contains("timeout"), "{stalls}");
    assert_eq!(fetch(&host, http(&server, "/")).await["status"], 200);
}

#[tokio::test]
pub async fn a_guest_that_never_reads_responses_is_bounded() {
    let server = WebServer::plain().await;
    let limits = json!({ "outgoing": { "requests": 4, "timeout": "2s" } });
    let host = host(&[&format!("http://{}", server.addr)]).config(limits).start().await;
    let held = || fetch(&host, with(http(&server, "/endless"), "hold", true));
    for _ in 0..4 {
        assert_eq!(held().await["status"], 200);
    }
    assert_eq!(held().await["error"], "ErrorCode::ConnectionLimitReached");
    assert_eq!(host.metric("fanfare_outgoing_open", &[]).await, 4.0);
    assert!(host.metric("fanfare_outgoing_requests_total", &["overloaded"]).await >= 1.0);
    // The host closes the connections at the deadline, although the guest still has the responses.
    eventually("the connections are closed", || async { server.open.load(Ordering::SeqCst) == 0 }).await;
    assert_eq!(held().await["status"], 200);
}

#[tokio::test]
pub async fn connections_have_a_limit() {
    let (one, two) = (WebServer::plain().await, WebServer::plain().await);
    let origins = [&one, &two].map(|server| format!("http://{}", server.addr));
    let origins: Vec<&str> = origins.iter().map(String::as_str).collect();
    let host = host(&origins).config(json!({ "outgoing": { "connections": 1 } })).start().await;
    assert_eq!(fetch(&host, http(&one, "/")).await["status"], 200);
    assert_eq!(fetch(&host, http(&two, "/")).await["error"], "ErrorCode::ConnectionLimitReached");
}

#[tokio::test]
async fn a_file_of_authorities_that_is_missing_is_refused_at_load() {
    let host = host(&["*"]).config(json!({ "outgoing": { "ca": "none.pem" } })).start().await;
    let status = host.status().await;
    assert!(status["modules"][0]["reason"].as_str().unwrap().contains("outgoing.ca: "), "{status}");
}

#[tokio::test]
pub async fn a_connection_without_a_request_closes() {
    let server = WebServer::plain().await;
    let limit = json!({ "outgoing": { "idleTimeout": "50ms" } });
    let host = host(&[&format!("http://{}", server.addr)]).config(limit).start().await;
    assert_eq!(fetch(&host, http(&server, "/")).await["status"], 200);
    eventually("the connection is closed", || async { server.open.load(Ordering::SeqCst) == 0 }).await;
    assert_eq!(host.metric("fanfare_outgoing_connections", &[]).await, 0.0);
    assert_eq!(fetch(&host, http(&server, "/")).await["status"], 200);
}

#[tokio::test]
pub async fn a_server_that_does_not_finish_the_handshake_is_given_up() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap();
    let limit = json!({ "outgoing": { "connectTimeout": "100ms" } });
    let host = host(&[&format!("https://{address}")]).config(limit).start().await;
    let answer = fetch(&host, json!({ "authority": address.to_string() })).await;
    assert_eq!(answer["error"], "ErrorCode::ConnectionTimeout");
}

/// A server whose response begins with these bytes, and continues with `piece` until the client
/// closes. Returns its address, and the number of bytes that it has sent by then.
async fn endless(head: &'static str, piece: &'static str) -> (SocketAddr, JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let sent = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut sent = 0;
        let mut next = socket.write_all(head.as_bytes()).await;
        while next.is_ok() {
            sent += piece.len();
            next = socket.write_all(piece.as_bytes()).await;
        }
        sent
    });
    (address, sent)
}

#[tokio::test]
async fn a_server_with_an_endless_head_is_given_up() {
    for (head, piece, timeout) in [
        ("HTTP/1.1 200 OK\r\n", "x-more: of the same\r\n", "1m"),
        ("HTTP/1.1 200 OK\r\nx-long: ", "of the same ", "1m"),
        // The client reads over these until the time is up, or closes at one that comes too early.
        ("", "HTTP/1.1 100 Continue\r\n\r\n", "1s"),
    ] {
        let (address, sent) = endless(head, piece).await;
        let limit = json!({ "outgoing": { "timeout": timeout } });
        let host = host(&[&format!("http://{address}")]).config(limit).start().await;
        let answer = fetch(&host, json!({ "scheme": "http", "authority": address.to_string() })).await;
        let error = answer["error"].as_str().unwrap_or_default();
        let timed_out = head.is_empty() && error == "ErrorCode::HttpResponseTimeout";
        assert!(timed_out || error == "ErrorCode::HttpProtocolError", "{piece}: {answer}");
        // The connection closes, so that the server cannot go on.
        sent.await.unwrap();
    }
}
