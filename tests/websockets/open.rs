//! The request that opens a WebSocket.

use serde_json::json;

use super::{path, with};
use crate::harness::{TestHost, WebSocket, eventually};

#[tokio::test]
async fn text_and_bytes_come_back_as_what_they_were() {
    let host = with(json!({})).start().await;
    let mut socket = host.web_socket("echo").await;
    socket.send("h\u{e4}llo").await;
    assert_eq!(socket.text().await, "h\u{e4}llo");
    for size in [1, 125, 126, 65_535, 65_536, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|index| (index % 251) as u8).collect();
        socket.send_bytes(&bytes).await;
        assert_eq!(socket.next().await, crate::harness::websocket::Received::Bytes(bytes));
    }
    assert_eq!((host.open_sockets().await, host.metric("fanfare_websocket_opened_total", &[]).await), (1.0, 1.0));
    socket.close(1000, "bye").await;
    assert_eq!(socket.closed().await, 1000);
    eventually("the session ends", || async { host.open_sockets().await == 0.0 }).await;
}

#[tokio::test]
async fn the_first_sub_protocol_of_the_client_that_the_socket_has_is_chosen() {
    let host = with(json!({})).start().await;
    for (offered, chosen) in [("v3, v1, v2", Some("v1")), ("v2", Some("v2")), ("v3", None)] {
        let fields = [("sec-websocket-protocol", offered)];
        let mut socket = WebSocket::open_with(host.http, &path("facts/7?a=1"), &fields).await;
        assert_eq!(socket.protocol.as_deref(), chosen);
        let facts = socket.ask(json!("x")).await;
        assert_eq!(facts["session"]["protocol"], chosen.unwrap_or("plain"));
        assert_eq!((&facts["query"], &facts["params"]), (&json!("a=1"), &json!([["room", "7"]])), "{facts}");
    }
}

#[tokio::test]
async fn a_request_that_is_no_upgrade_is_told_what_the_path_needs() {
    let host = with(json!({})).start().await;
    let answer = host.get(&path("facts/7")).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (426, Some("upgrade-required")));
    assert_eq!(answer.headers["upgrade"], "websocket");
    let rejected = async |fields: &[(&str, &str)]| {
        WebSocket::try_open(host.http, &path("facts/7"), fields).await.unwrap_err().status
    };
    assert_eq!(rejected(&[("sec-websocket-version", "8")]).await, 426);
    assert_eq!(rejected(&[("sec-websocket-key", "short")]).await, 400);
    assert_eq!(rejected(&[("connection", "keep-alive")]).await, 400);
    assert_eq!(rejected(&[("content-length", "1")]).await, 400);
    let missing = WebSocket::try_open(host.http, &path("none"), &[]).await.unwrap_err();
    assert_eq!(missing.status, 404);
    let no_module = WebSocket::try_open(host.http, "/api/none/echo", &[]).await.unwrap_err();
    assert_eq!(no_module.status, 404);
}

#[tokio::test]
async fn only_pages_of_the_listed_origins_open_sockets() {
    let host = with(json!({ "origins": ["https://app.example.test"] })).start().await;
    let open = async |origin: &str| WebSocket::try_open(host.http, &path("echo"), &[("origin", origin)]).await;
    let error = open("https://other.example.test").await.unwrap_err();
    assert_eq!((error.status, error.json()["code"].as_str()), (403, Some("forbidden")));
    assert!(error.text().contains("websocket.origins"));
    assert!(open("https://app.example.test").await.is_ok());
    // Each of several origins must be in the list.
    let both = [("origin", "https://app.example.test"), ("origin", "https://other.example.test")];
    let error = WebSocket::try_open(host.http, &path("echo"), &both).await.unwrap_err();
    assert_eq!(error.status, 403);
    // A client that is no page sends no origin.
    host.web_socket("echo").await;
    assert_eq!(host.metric("fanfare_websocket_refused_total", &["reason=\"origin\""]).await, 2.0);
    let open_to_all = with(json!({})).start().await;
    let fields = [("origin", "https://other.example.test")];
    assert!(WebSocket::try_open(open_to_all.http, &path("echo"), &fields).await.is_ok());
}

#[tokio::test]
async fn an_upgrade_of_a_module_without_sockets_is_an_ordinary_request() {
    let host = TestHost::with("echo").start().await;
    let answer = WebSocket::try_open(host.http, "/api/echo/who", &[]).await.unwrap_err();
    assert_eq!(answer.status, host.get("/api/echo/who").await.status);
}
