//! Sockets that a module no longer has.

use std::fs;

use serde_json::json;

use super::{GUEST, path, with};
use crate::harness::websocket::Received;
use crate::harness::{Started, TestHost, WebSocket, eventually};

/// Expects that the host tells a client that its socket is gone.
async fn assert_removed(socket: &mut WebSocket) {
    assert_eq!(socket.next().await, Received::Close(1001, "the socket was removed".to_owned()));
    socket.ended().await;
}

async fn is_gone(host: &Started, socket: &str) -> bool {
    WebSocket::try_open(host.http, &path(socket), &[]).await.is_err_and(|answer| answer.status == 404)
}

#[tokio::test]
async fn the_removal_of_a_module_closes_its_sockets_and_no_others() {
    let host = with(json!({})).and_as(GUEST, "other").grant("other", json!({ "sessions": true })).start().await;
    let mut other = WebSocket::open(host.http, "/api/other/echo").await;
    let mut clients = vec![host.web_socket("echo").await, host.web_socket("facts/1").await];
    fs::remove_dir_all(host.folder(GUEST)).unwrap();
    assert_eq!(host.reload(GUEST).await["outcome"], "removed");
    for client in &mut clients {
        assert_removed(client).await;
    }
    eventually("their sessions end", || async { host.open_sockets().await == 1.0 }).await;
    assert!(is_gone(&host, "echo").await);
    assert_eq!(other.ask(json!(1)).await, 1);
    assert_eq!(host.closed_with("1001").await, 2.0);
}

#[tokio::test]
async fn a_swap_closes_only_the_sockets_that_the_new_generation_lacks() {
    let host = with(json!({})).start().await;
    let (mut echo, mut small) = (host.web_socket("echo").await, host.web_socket("small").await);
    host.rewrite(GUEST, json!({ "sockets": { "echo": { "path": "echo" } } }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    assert_removed(&mut small).await;
    assert!(is_gone(&host, "small").await);
    assert_eq!(echo.ask(json!(1)).await, 1);
    assert_eq!(host.open_sockets().await, 1.0);
}

/// A host whose module `waits` has the sockets `one` and `two`. Its hook `connect` calls the module
/// `echo`, which waits until the test releases it, so that a swap of `waits` does not end the hook.
async fn with_a_slow_hook() -> Started {
    let rights = json!({ "rpc": ["echo"], "broadcast": [] });
    let routes = |text: String| {
        let more = r#""routes": [
            { "path": "socket", "handler": "ok", "middlewares": "session" },
            { "path": "inner/relay", "handler": "relay", "middlewares": "inner" },"#;
        text.replacen(r#""routes": ["#, more, 1)
    };
    let hooks = json!({ "connect": { "path": "inner/relay" }, "disconnect": { "path": "hear" } });
    let sockets = json!({ "one": { "path": "socket" }, "two": { "path": "socket" } });
    let host = TestHost::with("waits").manifest_text("waits", routes).grant("waits", rights.clone());
    let host = host.manifest("waits", json!({ "capabilities": rights, "hooks": hooks, "sockets": sockets }));
    let holds = |text: String| text.replacen(r#""path": "hold","#, r#""path": "echo","#, 1);
    let host = host.and_as("waits", "echo").manifest_text("echo", holds);
    host.manifest("echo", json!({ "capabilities": { "rpc": [], "broadcast": [] } })).workers(1).start().await
}

#[tokio::test]
async fn a_client_whose_socket_is_removed_while_its_hook_connect_runs_is_refused_and_reported() {
    let host = with_a_slow_hook().await;
    let address = host.http;
    let open = |socket: &str| {
        let path = format!("/api/waits/{socket}");
        tokio::spawn(async move { WebSocket::try_open(address, &path, &[]).await })
    };
    let (one, two) = (open("one"), open("two"));
    eventually("both hooks run", || async { host.run(0, "echo", "holding", json!(null)).await == 2 }).await;
    host.rewrite("waits", json!({ "sockets": { "two": { "path": "socket" } } }));
    assert_eq!(host.reload("waits").await["outcome"], "swapped");
    host.run(0, "echo", "release", json!(null)).await;
    let refused = one.await.unwrap().unwrap_err();
    assert_eq!(refused.status, 404, "{}", refused.text());
    assert!(refused.text().contains("the socket was removed while the client connected"), "{}", refused.text());
    let mut client = two.await.unwrap().expect("its socket still exists");
    client.send("hello").await;
    assert_eq!(client.text().await, "ok");
    let heard = async || host.run(0, "waits", "heard", json!(null)).await;
    let removed = json!([r#"{"code":1001,"reason":"the socket was removed"}"#]);
    eventually("the hook disconnect runs for the first client", || async { heard().await == removed }).await;
    assert_eq!(host.open_sockets().await, 1.0);
}
