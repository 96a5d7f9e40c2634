//! Clients that break the rules. Each is closed or refused alone, with the right code.

use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::*;
use crate::harness::eventually;
use crate::harness::websocket::{BINARY, CLOSE, PATIENCE, TEXT, masked};

/// Frames that no client may send, and the code that answers each.
fn bad_frames() -> [(&'static str, Vec<u8>, u16); 7] {
    let mut reserved = masked(true, TEXT, b"x");
    reserved[0] |= 0x40;
    [
        ("unmasked", vec![0x81, 1, b'x'], 1002),
        ("reserved bit", reserved, 1002),
        ("continuation of nothing", masked(true, 0, b"x"), 1002),
        ("half a message, then another one", [masked(false, TEXT, b"x"), masked(true, TEXT, b"y")].concat(), 1002),
        ("not UTF-8", masked(true, TEXT, &[0xff, 0xfe]), 1007),
        ("too large", masked(true, BINARY, &[b'x'; 1_025]), 1009),
        ("too large in parts", [masked(false, TEXT, &[b'x'; 800]), masked(true, 0, &[b'x'; 800])].concat(), 1009),
    ]
}

#[tokio::test]
async fn frames_that_break_the_rules_close_their_client_alone_before_and_after_the_handshake() {
    let host = with(json!({ "maxMessage": 1_024 })).start().await;
    let mut beside = open(&host, 1).await;
    for version in [1, 2] {
        for (what, frames, code) in bad_frames() {
            let mut early = silent(&host, version).await;
            early.raw(&frames).await;
            assert_eq!(early.closed().await, code, "{what}");
            let mut late = open(&host, version).await;
            late.send(r#"{"event":"echo","data":1,"cid":2}"#).await;
            late.raw(&frames).await;
            assert_eq!(late.json().await, json!({ "rid": 2, "data": 1 }), "{what}: earlier events are answered");
            assert_eq!(late.closed().await, code, "{what}");
        }
        assert_eq!(call(&mut beside, "echo", json!(version)).await["data"], version);
    }
}

#[tokio::test]
async fn half_a_frame_does_not_keep_a_client_alive() {
    let host =
        with(json!({ "handshakeTimeout": "100ms", "pingInterval": "40ms", "pingTimeout": "400ms" })).start().await;
    let half = &masked(true, TEXT, br##"{"event":"#handshake","cid":1}"##)[..9];
    let mut client = silent(&host, 2).await;
    client.raw(half).await;
    assert_eq!(client.closed().await, 4005);
    let mut client = open(&host, 2).await;
    client.raw(half).await;
    assert_eq!(client.closed().await, 4001);
}

#[tokio::test]
async fn names_numbers_and_keys_of_any_kind_are_only_data() {
    let host = with(json!({})).start().await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        for name in ["__proto__", "constructor", "toString", "a/../../echo", "%2e%2e/echo", "\0", "#\0", "\u{202e}"] {
            let refused = call(&mut client, name, Value::Null).await;
            assert_eq!(refused["error"]["code"], "not-found", "{name:?}: {refused}");
        }
        // The answer to a long name is short.
        for name in
            ["x".repeat(300_000), format!("sessions/{}", "y/".repeat(100_000)), format!("#{}", "z".repeat(300_000))]
        {
            client.send(&json!({ "event": name, "cid": 7 }).to_string()).await;
            let refused = client.text().await;
            assert!(refused.len() < 10_000 && refused.contains("not-found"), "{}", refused.len());
        }
        for data in [r#"{"__proto__":{"a":1},"constructor":null}"#, "1e999", "-0", r#""\ud800""#, "[[[[]]]]"] {
            client.send(&format!(r#"{{"event":"echo","data":{data},"cid":2}}"#)).await;
            assert_eq!(client.text().await, format!(r#"{{"rid":2,"data":{data}}}"#));
        }
        for cid in ["9".repeat(64), format!("\"{}\"", "x".repeat(62)), "-1".to_owned(), "1e3".to_owned()] {
            client.send(&format!(r#"{{"event":"echo","cid":{cid}}}"#)).await;
            assert_eq!(client.text().await, format!(r#"{{"rid":{cid}}}"#));
        }
        // Numbers that are too long, or none, are no numbers: nobody waits.
        for cid in ["9".repeat(65), "{}".to_owned(), "[2]".to_owned(), "true".to_owned()] {
            client.send(&format!(r#"{{"event":"echo","cid":{cid}}}"#)).await;
        }
        assert_eq!(call(&mut client, "echo", json!("last")).await, json!({ "rid": 7, "data": "last" }));
    }
}

#[tokio::test]
async fn a_client_that_answers_what_nobody_asked_changes_nothing() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 2).await;
    let answers: Vec<Value> = (0..4_000).map(|rid| json!({ "rid": rid, "data": "x" })).collect();
    for _ in 0..5 {
        client.send(&Value::from(answers.clone()).to_string()).await;
    }
    assert_eq!(call(&mut client, "echo", json!(1)).await["data"], 1);
}

#[tokio::test]
async fn a_client_may_close_with_the_codes_of_its_library() {
    let host = with(json!({})).manifest(GUEST, json!({ "hooks": { "disconnect": { "path": "step" } } })).workers(1);
    let host = host.start().await;
    for (count, code) in [(1, 4000), (2, 4007)] {
        let mut client = open(&host, 2).await;
        client.close(code, "").await;
        assert_eq!(client.closed().await, code);
        eventually("the hook has run", || async {
            let seen = host.run(0, GUEST, "seen", Value::Null).await;
            let seen = seen.as_array().unwrap();
            seen.len() == count && seen[count - 1]["body"] == format!(r#"{{"code":{code},"reason":""}}"#)
        })
        .await;
    }
}

#[tokio::test]
async fn fragments_for_ever_end_at_max_message_before_and_after_the_handshake() {
    let host = with(json!({ "maxMessage": 4_096 })).start().await;
    let mut beside = open(&host, 2).await;
    for version in [1, 2] {
        for mut client in [silent(&host, version).await, open(&host, version).await] {
            client.frame(false, TEXT, b"").await;
            for _ in 0..1_000 {
                client.frame(false, 0, b"").await;
            }
            client.frame(false, 0, &[b' '; 4_096]).await;
            assert_eq!(call(&mut beside, "echo", json!(version)).await["data"], version);
            client.frame(false, 0, b" ").await;
            assert_eq!(client.closed().await, 1009);
            client.ended().await;
        }
    }
}

#[tokio::test]
async fn fragments_for_ever_end_at_message_timeout_although_they_show_that_the_client_lives() {
    let host = with(json!({ "messageTimeout": "400ms", "pingInterval": "40ms", "pingTimeout": "10s" })).start().await;
    for (version, ping) in [(1, "#1"), (2, "")] {
        let mut client = open(&host, version).await;
        client.frame(false, TEXT, b" ").await;
        // Between fragments a client cannot answer pings: their answers are messages.
        let (mut pings, mut code) = (0, None);
        while code.is_none() {
            assert!(pings < 250, "the host waits for the end of the message");
            _ = client.try_raw(&masked(false, 0, b" ")).await;
            match client.next_frame().await {
                Some((_, CLOSE, payload)) => code = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                Some((_, TEXT, payload)) if payload == ping.as_bytes() => pings += 1,
                other => panic!("{other:?}"),
            }
        }
        assert!(pings > 0 && code == Some(1008), "version {version}: {pings} pings, {code:?}");
        client.ended().await;
    }
}

/// Sends until the host stops reading or closes. Returns the bytes that the host has taken.
async fn send_without_reading(client: &mut WebSocket, message: &str, most: usize) -> usize {
    let (frames, mut sent) = (masked(true, TEXT, message.as_bytes()).repeat(16), 0);
    while let Ok(Ok(())) = timeout(Duration::from_secs(1), client.socket.write_all(&frames)).await {
        sent += frames.len();
        assert!(sent < most, "the host reads a client that reads nothing without end");
    }
    sent
}

#[tokio::test]
async fn a_client_that_never_reads_its_answers_is_cut_alone() {
    let queue = json!({ "events": 64, "bytes": "1GiB" });
    let host = with(json!({ "queue": queue, "inFlight": 16 })).start().await;
    let mut beside = open(&host, 2).await;
    for version in [1, 2] {
        let mut client = open(&host, version).await;
        let message = json!({ "event": "echo", "data": "x".repeat(16 << 10), "cid": 2 }).to_string();
        assert!(send_without_reading(&mut client, &message, 256 << 20).await > 0);
        let cut = async || host.metric("fanfare_websocket_slow_clients_total", &["reason=\"queue\""]).await;
        eventually("the client is cut", || async { cut().await == version as f64 }).await;
        assert_eq!(call(&mut beside, "echo", json!(version)).await["data"], version);
        // What it finds when it reads again are whole answers, and why it was cut.
        let mut last = None;
        while let Some((_, kind, payload)) = client.next_frame().await {
            last = Some((kind, payload.first_chunk().map(|code| u16::from_be_bytes(*code))));
            assert!(kind == CLOSE || payload.starts_with(br#"{"rid":2,"data":"x"#), "{kind}");
        }
        // The system drops the last bytes if the client has sent more than the host has read.
        assert!(last.is_none_or(|(kind, code)| kind != CLOSE || code == Some(1013)), "{last:?}");
    }
    let count = json!({ "do": "count" });
    eventually("their sessions end", || async { host.ask_over_http(count.clone()).await == json!([1, 0]) }).await;
}

#[tokio::test]
async fn a_client_that_never_reads_events_is_cut_while_others_get_them() {
    let host = with(json!({ "queue": { "events": 4, "bytes": "1GiB" } })).start().await;
    for version in [1, 2] {
        let mut stuck = open(&host, version).await;
        let mut reader = open(&host, 3 - version).await;
        let (text, mut sent) = ("x".repeat(64 << 10), 0);
        let everyone = json!({ "do": "send", "to": "everyone", "name": "news", "payload": text });
        let count = json!({ "do": "count" });
        while host.ask_over_http(count.clone()).await == json!([2, 0]) {
            assert!(sent < 10_000, "the client is not cut");
            host.ask_over_http(everyone.clone()).await;
            assert_eq!(reader.json().await, json!({ "event": "news", "data": text }));
            sent += 1;
        }
        let mut last = None;
        let read = async {
            while let Some((_, kind, payload)) = stuck.next_frame().await {
                last = Some((kind, payload));
            }
        };
        timeout(PATIENCE, read).await.expect("the end of the connection");
        let (kind, payload) = last.unwrap();
        assert_eq!((kind, &payload[..2]), (CLOSE, &1013u16.to_be_bytes()[..]), "it comes after whole events");
        reader.close(1000, "").await;
        assert_eq!(reader.closed().await, 1000);
        eventually("both have left", || async { host.ask_over_http(count.clone()).await == json!([0, 0]) }).await;
    }
    assert_eq!(host.metric("fanfare_websocket_slow_clients_total", &["reason=\"queue\""]).await, 2.0);
}
