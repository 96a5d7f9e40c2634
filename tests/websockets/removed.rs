//! Sockets that a module no longer has.

use std::fs;

use serde_json::json;

use super::{GUEST, path, with};
use crate::harness::websocket::Received;
use crate::harness::{Started, WebSocket, eventually};

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
