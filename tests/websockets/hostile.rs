//! Clients that break the protocol. Each loses its own connection, with the right code.

use std::time::Duration;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::{closed_without_answers, path, with};
use crate::harness::websocket::{CLOSE, PING, PONG, TEXT, masked};
use crate::harness::{Started, WebSocket, eventually};

/// Sends bytes on a new socket, and expects the code with which the host closes it.
async fn assert_closed(host: &Started, bytes: &[u8], code: u16) {
    let mut socket = host.web_socket("echo").await;
    socket.raw(bytes).await;
    assert_eq!(socket.closed().await, code, "{bytes:?}");
    socket.ended().await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_is_closed_alone() {
    let host = with(json!({ "maxMessage": 4_096 })).start().await;
    let mut other = host.web_socket("echo").await;
    let first = |first: u8| {
        let mut frame = masked(true, TEXT, b"a");
        frame[0] = first;
        frame
    };
    for (bytes, code) in [
        (vec![0x81, 1, b'a'], 1002),
        (first(0xc1), 1002),
        (first(0x83), 1002),
        (first(0x80), 1002),
        (masked(false, PING, b"a"), 1002),
        (masked(true, PING, &[0; 126]), 1002),
        ([masked(false, TEXT, b"a"), masked(true, TEXT, b"b")].concat(), 1002),
        (masked(true, CLOSE, b"\x03"), 1002),
        (masked(true, CLOSE, &999u16.to_be_bytes()), 1002),
        (masked(true, TEXT, b"\xff\xfe"), 1007),
        (masked(true, CLOSE, b"\x03\xe8\xff"), 1007),
        (masked(true, TEXT, &[b'x'; 4_097]), 1009),
        (vec![0x82, 0xff, 0, 0, 0, 0x7f, 0, 0, 0, 0, 0, 0, 0, 0], 1009),
        (b"GET / HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), 1002),
    ] {
        assert_closed(&host, &bytes, code).await;
        assert_eq!(other.ask(json!(1)).await, 1);
    }
    eventually("only one session is left", || async { host.open_sockets().await == 1.0 }).await;
}

#[tokio::test]
async fn a_client_that_breaks_the_protocol_first_gets_the_replies_to_its_messages() {
    let host = with(json!({ "messageTimeout": "100ms" })).workers(1).start().await;
    let late = masked(false, TEXT, b"a");
    for (bytes, code) in [(vec![0x81, 1, b'a'], 1002), (masked(true, TEXT, b"\xff"), 1007), (late, 1008)] {
        let mut socket = host.web_socket("hold").await;
        socket.send("before").await;
        eventually("the message runs", || async { host.post(&path("holding"), "").await.text() == "1" }).await;
        socket.raw(&bytes).await;
        // The host has read it by now, and counts the time of a part.
        let mut other = host.web_socket("echo").await;
        socket_until(&mut other, Duration::from_millis(300)).await;
        host.post(&path("release"), "").await;
        assert_eq!((socket.text().await.as_str(), socket.closed().await), ("before", code));
    }
}

/// Exchanges messages for a time.
async fn socket_until(socket: &mut WebSocket, time: Duration) {
    let begun = std::time::Instant::now();
    while begun.elapsed() < time {
        assert_eq!(socket.ask(json!(1)).await, 1);
    }
}

#[tokio::test]
async fn a_client_that_keeps_sending_still_learns_why_it_was_closed() {
    let host = with(json!({})).start().await;
    let mut socket = host.web_socket("echo").await;
    socket.raw(&[0x81, 1, b'a']).await;
    socket.raw(&vec![b'x'; 100_000]).await;
    eventually("the session ends", || async { host.open_sockets().await == 0.0 }).await;
    assert_eq!(socket.closed().await, 1002);
}

#[tokio::test]
async fn fragments_for_ever_end_at_max_message() {
    let host = with(json!({ "maxMessage": 4_096 })).start().await;
    let mut socket = host.web_socket("echo").await;
    socket.frame(false, TEXT, b"").await;
    for _ in 0..1_000 {
        socket.frame(false, 0, b"").await;
    }
    for _ in 0..409 {
        socket.frame(false, 0, &[b'x'; 10]).await;
    }
    socket.frame(false, 0, &[b'x'; 10]).await;
    assert_eq!(socket.closed().await, 1009);
}

#[tokio::test]
async fn half_a_frame_costs_its_client_the_connection_only() {
    let host = with(json!({ "pingInterval": "40ms", "pingTimeout": "300ms" })).start().await;
    let whole = masked(true, TEXT, b"hello");
    for cut in [1, 3, 7, whole.len() - 1] {
        // The rest comes later.
        let mut slow = host.web_socket("echo").await;
        slow.raw(&whole[..cut]).await;
        slow.raw(&whole[cut..]).await;
        assert_eq!(slow.text().await, "hello");
        // The rest never comes.
        let mut stuck = host.web_socket("echo").await;
        stuck.raw(&whole[..cut]).await;
        assert_eq!(closed_without_answers(&mut stuck).await, (true, 1002));
        // The client is gone in the middle of a frame.
        let mut gone = host.web_socket("echo").await;
        gone.raw(&whole[..cut]).await;
        drop((gone, slow));
    }
    eventually("no session is left", || async { host.open_sockets().await == 0.0 }).await;
}

#[tokio::test]
async fn a_client_that_sends_pings_and_reads_nothing_is_not_answered_without_end() {
    let host = with(json!({})).start().await;
    let mut socket = host.web_socket("echo").await;
    let ping = masked(true, PING, &[7; 125]);
    let pings = ping.repeat(64);
    // The host stops reading when its answers wait, so that the buffers of the system fill.
    let (mut sent, most) = (0, 64 << 20);
    let write = async |socket: &mut TcpStream| {
        tokio::time::timeout(Duration::from_secs(1), socket.write_all(&pings)).await.is_ok()
    };
    while write(&mut socket.socket).await {
        sent += pings.len();
        assert!(sent < most, "the host reads pings without end");
    }
    assert!(sent > 0);
    let mut other = host.web_socket("echo").await;
    assert_eq!(other.ask(json!(1)).await, 1);
    assert!(host.metric("fanfare_hub_queued_bytes", &[]).await < 1e6);
    // Those that were sent whole are answered.
    for _ in 0..64 {
        let (_, kind, payload) = socket.next_frame().await.unwrap();
        assert_eq!((kind, payload.as_slice()), (PONG, &[7; 125][..]));
    }
}
