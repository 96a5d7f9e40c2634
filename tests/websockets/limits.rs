//! The bounds of `websocket`.

use serde_json::json;

use super::{path, with};
use crate::harness::{WebSocket, eventually};

#[tokio::test]
pub async fn a_client_beyond_max_clients_is_turned_away() {
    let host = with(json!({ "maxClients": 2 })).start().await;
    let (first, _second) = (host.web_socket("echo").await, host.web_socket("echo").await);
    let over = WebSocket::try_open(host.http, &path("echo"), &[]).await.unwrap_err();
    assert_eq!((over.status, over.headers["retry-after"].to_str().unwrap()), (503, "5"));
    assert!(over.text().contains("already serves 2 WebSockets"), "{}", over.text());
    assert_eq!(host.metric("fanfare_websocket_refused_total", &["reason=\"maxClients\""]).await, 1.0);
    drop(first);
    eventually("a place is free", || async { WebSocket::try_open(host.http, &path("echo"), &[]).await.is_ok() }).await;
}

#[tokio::test]
pub async fn a_message_beyond_max_message_closes_its_socket() {
    let host = with(json!({ "maxMessage": 1_000 })).start().await;
    let mut other = host.web_socket("echo").await;
    let mut socket = host.web_socket("echo").await;
    socket.send(&"x".repeat(1_000)).await;
    assert_eq!(socket.text().await.len(), 1_000);
    socket.send(&"x".repeat(1_001)).await;
    assert_eq!(socket.closed().await, 1009);
    socket.ended().await;
    // Fragments together count like one frame.
    let mut socket = host.web_socket("echo").await;
    socket.frame(false, 1, &[b'x'; 600]).await;
    socket.frame(true, 0, &[b'x'; 401]).await;
    assert_eq!(socket.closed().await, 1009);
    // A socket may have a smaller bound.
    let mut small = host.web_socket("small").await;
    small.send(&"x".repeat(64)).await;
    assert_eq!(small.text().await.len(), 64);
    small.send(&"x".repeat(65)).await;
    assert_eq!(small.closed().await, 1009);
    assert_eq!(other.ask(json!(1)).await, 1);
    assert_eq!(host.closed_with("1009").await, 3.0);
}

#[tokio::test]
pub async fn at_most_in_flight_messages_of_a_client_run_and_then_the_host_reads_on() {
    let host = with(json!({ "inFlight": 2 })).workers(1).start().await;
    let mut socket = host.web_socket("hold").await;
    for number in 0..5 {
        socket.send(&number.to_string()).await;
    }
    let paused = async || host.metric("fanfare_websocket_paused_total", &[]).await;
    eventually("reading pauses", || async { paused().await > 0.0 }).await;
    assert_eq!(host.metric("fanfare_websocket_received_total", &[]).await, 2.0);
    let mut answered = Vec::new();
    for held in [2, 2, 1] {
        let holding = || async { host.post(&path("holding"), "").await.text() == held.to_string() };
        eventually("the next messages run", holding).await;
        host.post(&path("release"), "").await;
        for _ in 0..held {
            answered.push(socket.text().await);
        }
    }
    answered.sort();
    assert_eq!(answered, ["0", "1", "2", "3", "4"]);
}

#[tokio::test]
pub async fn a_message_has_ack_timeout_to_end() {
    let host = with(json!({ "ackTimeout": "100ms" })).start().await;
    let mut socket = host.web_socket("hold").await;
    socket.send("x").await;
    eventually("the message fails", || async { host.metric("fanfare_websocket_failed_total", &[]).await == 1.0 }).await;
    // A plain WebSocket has no errors, and stays open.
    let mut echo = host.web_socket("echo").await;
    assert_eq!(echo.ask(json!(1)).await, 1);
    assert_eq!(host.open_sockets().await, 2.0);
}

#[tokio::test]
pub async fn a_client_that_answers_no_ping_is_closed_after_ping_timeout() {
    let host = with(json!({ "pingInterval": "40ms", "pingTimeout": "400ms" })).start().await;
    let mut silent = host.web_socket("echo").await;
    let mut answers = host.web_socket("echo").await;
    let lively = async {
        // Reading answers the pings.
        while answers.pings < 15 {
            tokio::select! {
                message = answers.next() => panic!("{message:?}"),
                () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
            }
        }
    };
    let closing = async {
        let mut pings = 0;
        loop {
            let (_, kind, payload) = silent.next_frame().await.expect("a Close frame");
            match kind {
                crate::harness::websocket::PING => pings += 1,
                crate::harness::websocket::CLOSE => break (pings, u16::from_be_bytes([payload[0], payload[1]])),
                other => panic!("a frame of kind {other}"),
            }
        }
    };
    let ((pings, code), ()) = tokio::join!(closing, lively);
    assert!(pings > 0 && code == 1002, "{pings} {code}");
    assert_eq!(answers.ask(json!(1)).await, 1);
}

#[tokio::test]
pub async fn values_beyond_session_size_are_rejected() {
    let host = with(json!({ "sessionSize": "1KiB" })).start().await;
    let mut socket = host.web_socket("use").await;
    let set = |size: usize| {
        let text = json!("x".repeat(size)).to_string();
        json!({ "do": "set", "session": null, "values": [["a", text]] })
    };
    // The name and the quotes count, too.
    assert!(socket.ask(set(1_021)).await.get("error").is_none());
    let over = socket.ask(set(1_022)).await;
    assert_eq!(over["error"], "invalid", "{over}");
    assert!(over.to_string().contains("websocket.sessionSize allows 1024"), "{over}");
    assert_eq!(host.metric("fanfare_websocket_refused_values_total", &[]).await, 1.0);
}
