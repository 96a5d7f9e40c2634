//! The bounds of `websocket`.

use serde_json::json;

use super::{GUEST, closed_without_answers, path, with};
use crate::harness::websocket::{PING, Received, TEXT, masked};
use crate::harness::{Connection, WebSocket, eventually};

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
async fn an_open_socket_is_one_of_the_connections_of_http() {
    let host = with(json!({})).config(json!({ "http": { "maxConnections": 2 } })).start().await;
    let mut first = host.web_socket("echo").await;
    let (address, echo) = (host.http, path("echo"));
    // By default, WebSockets leave a fifth of the connections, at least one, to requests.
    let over = WebSocket::try_open(address, &echo, &[]).await.unwrap_err();
    assert_eq!(over.status, 503);
    let mut request = Connection::open(address).await;
    assert_eq!(request.send("POST", &path("who"), &[], "").await.status, 200);
    let third = tokio::spawn(async move {
        let mut third = Connection::open(address).await;
        third.send("POST", &path("who"), &[], "").await.status
    });
    for number in 0..20 {
        assert_eq!(first.ask(json!(number)).await, number);
    }
    assert!(!third.is_finished(), "the third connection waits until another one closes");
    first.close(1000, "").await;
    assert_eq!(third.await.unwrap(), 200);
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
async fn a_message_for_which_connections_leave_no_memory_closes_its_socket() {
    let settings = json!({ "http": { "maxBuffered": "256KiB", "maxBody": "64KiB" } });
    let host = with(json!({ "maxMessage": "1MiB" })).config(settings).start().await;
    let mut other = host.web_socket("echo").await;
    let whole = masked(true, TEXT, &[b'x'; 600_000]);
    for _ in 0..3 {
        let mut socket = host.web_socket("echo").await;
        // The host may close before it has read all of it.
        _ = socket.try_raw(&whole[..400_000]).await;
        assert_eq!(socket.closed().await, 1013);
        socket.ended().await;
    }
    assert_eq!(other.ask(json!(1)).await, 1);
    // What they used is free again.
    let text = "x".repeat(100_000);
    other.send(&text).await;
    assert_eq!(other.text().await, text);
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
    // The module allows more.
    let host = with(json!({ "ackTimeout": "100ms" })).limit(GUEST, "timeout", "60s").start().await;
    let mut socket = host.web_socket("hold").await;
    socket.send("x").await;
    eventually("the message fails", || async { host.metric("fanfare_websocket_failed_total", &[]).await == 1.0 }).await;
    // A plain WebSocket has no errors, and stays open.
    let mut echo = host.web_socket("echo").await;
    assert_eq!(echo.ask(json!(1)).await, 1);
    assert_eq!(host.open_sockets().await, 2.0);
}

#[tokio::test]
pub async fn a_message_has_message_timeout_from_its_first_byte_to_its_last() {
    let host = with(json!({ "messageTimeout": "400ms", "pingInterval": "40ms", "pingTimeout": "10s" })).start().await;
    let whole = masked(true, TEXT, b"hello");
    let beginnings = [
        ("a byte", whole[..1].to_vec()),
        ("a head", whole[..6].to_vec()),
        ("half a payload", whole[..8].to_vec()),
        ("a fragment", masked(false, TEXT, b"a")),
        ("half a ping", masked(true, PING, b"ping")[..3].to_vec()),
    ];
    for (name, beginning) in &beginnings {
        let mut socket = host.web_socket("echo").await;
        // The messages before have a time of their own.
        for number in 0..3 {
            assert_eq!(socket.ask(json!(number)).await, number, "{name}");
        }
        socket.raw(beginning).await;
        assert_eq!(closed_without_answers(&mut socket).await, (true, 1008), "{name}");
        socket.ended().await;
    }
    assert_eq!(host.closed_with("1008").await, beginnings.len() as f64);
    // Fragments for ever, with answers to all pings between them. Reading answers them.
    let mut socket = host.web_socket("echo").await;
    socket.frame(false, TEXT, b"a").await;
    let closed = loop {
        tokio::select! {
            received = socket.next() => break received,
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
        if socket.try_raw(&masked(false, 0, b"a")).await.is_err() {
            break socket.next().await;
        }
    };
    let reason = "the rest of the message has not arrived in time (websocket.messageTimeout)";
    assert_eq!(closed, Received::Close(1008, reason.to_owned()));
    assert!(socket.pings > 0);
}

#[tokio::test]
async fn a_message_that_arrives_in_time_has_no_close_and_an_idle_client_no_time() {
    let host = with(json!({ "messageTimeout": "1s", "pingInterval": "10ms" })).start().await;
    let mut socket = host.web_socket("echo").await;
    let begun = std::time::Instant::now();
    // The socket answers pings for longer than the time of a message.
    while begun.elapsed() < std::time::Duration::from_millis(1_500) {
        socket.frame(false, TEXT, b"a").await;
        socket.frame(true, 0, b"b").await;
        assert_eq!(socket.text().await, "ab");
    }
    assert!(socket.pings > 0);
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
    let (closed, ()) = tokio::join!(closed_without_answers(&mut silent), lively);
    assert_eq!(closed, (true, 1002));
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
