//! The end of the host.

use fanfare::Stopped;
use futures_util::future::join_all;
use serde_json::json;

use super::{path, with};
use crate::harness::{WebSocket, eventually};

#[tokio::test]
async fn a_stop_tells_all_clients_to_go_in_batches() {
    let host = with(json!({})).config(json!({ "shutdown": { "linger": "4s" } })).start().await;
    let opened = (0..60).map(|_| host.web_socket("echo"));
    let mut sockets = join_all(opened).await;
    let closed = join_all(sockets.iter_mut().map(async |socket| {
        let code = socket.closed().await;
        (code, tokio::time::Instant::now())
    }));
    let (closed, stopped) = tokio::join!(closed, host.stop());
    assert_eq!(stopped, Stopped::Clean);
    assert!(closed.iter().all(|(code, _)| *code == 1001), "{closed:?}");
    let (first, last) = (closed.iter().map(|(_, at)| *at).min().unwrap(), closed.iter().map(|(_, at)| *at).max());
    assert!(last.unwrap() - first > std::time::Duration::from_millis(500), "not all at once");
}

#[tokio::test]
async fn a_client_whose_message_does_not_end_is_told_to_go_when_the_time_of_the_stop_is_over() {
    let host =
        with(json!({})).workers(1).config(json!({ "shutdown": { "linger": "300ms", "drain": "2s" } })).start().await;
    let mut socket = host.web_socket("hold").await;
    socket.send("never").await;
    eventually("the message runs", || async { host.post(&path("holding"), "").await.text() == "1" }).await;
    let (_, code) = tokio::join!(host.running().shutdown(), socket.closed());
    assert_eq!(code, 1001);
}

#[tokio::test]
async fn a_stop_waits_for_the_messages_that_run_and_sends_their_replies() {
    let host = with(json!({})).workers(1).config(json!({ "shutdown": { "linger": "5s" } })).start().await;
    let mut socket = host.web_socket("hold").await;
    socket.send("last").await;
    eventually("the message runs", || async { host.post(&path("holding"), "").await.text() == "1" }).await;
    let release = async {
        let announced = async || WebSocket::try_open(host.http, &path("echo"), &[]).await.is_err();
        eventually("the stop begins", || async { announced().await }).await;
        host.post(&path("release"), "").await;
        (socket.text().await, socket.closed().await)
    };
    let (stopped, answer) = tokio::join!(host.running().shutdown(), release);
    assert_eq!((stopped, answer), (Stopped::Clean, ("last".to_owned(), 1001)));
}
