//! The limits of the protocol, each just exceeded.

use super::*;
use crate::harness::{Received, eventually};

#[tokio::test]
pub async fn a_client_without_a_handshake_is_closed_after_handshake_timeout() {
    let host = with(json!({ "handshakeTimeout": "50ms" })).start().await;
    let mut greeted = open(&host, 2).await;
    for version in [1, 2] {
        let mut client = silent(&host, version).await;
        assert_eq!(client.next().await, Received::Close(4005, String::new()));
    }
    assert_eq!(call(&mut greeted, "echo", json!(1)).await["data"], 1);
}

#[tokio::test]
pub async fn a_message_with_too_many_packets_closes_its_client() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 2).await;
    let batch = |count: usize| format!("[{}]", vec![r#"{"rid":1}"#; count].join(","));
    client.send(&batch(4_096)).await;
    assert_eq!(call(&mut client, "echo", json!(1)).await["data"], 1);
    client.send(&batch(4_097)).await;
    assert_eq!(client.closed().await, 1009);
    let reached = host.metric("fanfare_bound_reached_total", &["bound=\"socketcluster-packets\""]).await;
    assert!(reached >= 1.0);
}

#[tokio::test]
pub async fn a_token_that_is_too_long_is_refused() {
    let host = with(json!({})).start().await;
    let mut client = open(&host, 1).await;
    let long = format!("{}.e30.AA", "A".repeat(16 * 1_024));
    client.send(&json!({ "event": "#authenticate", "data": long, "cid": 4 }).to_string()).await;
    assert_eq!(client.json().await["event"], "#removeAuthToken");
    assert_eq!(client.json().await["error"]["message"], "jwt is too long");
    let claims = json!({ "x": "x".repeat(16 * 1_024) }).to_string();
    let what = json!({ "do": "authenticate", "session": null, "claims": claims, "expires_ms": null });
    assert_eq!(sessions(&mut client, what).await["error"], "invalid");
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"token\""]).await >= 2.0);
}

#[tokio::test]
async fn by_default_64_messages_of_a_client_run_and_more_wait() {
    // The module would run more.
    let host = with(json!({})).limit(GUEST, "concurrency", 128).workers(1).start().await;
    let holding = async || host.run(0, GUEST, "holding", Value::Null).await;
    let received = async || host.metric("fanfare_websocket_received_total", &[]).await;
    for (round, version) in [(0, 1), (1, 2)] {
        let mut client = open(&host, version).await;
        for cid in 0..70 {
            client.send(&json!({ "event": "hold", "cid": cid }).to_string()).await;
        }
        eventually("64 run", || async { holding().await == 64 }).await;
        // Another client is read meanwhile, and the host has had the time to read this one, too.
        let mut other = open(&host, 2).await;
        for number in 0..20 {
            assert_eq!(call(&mut other, "echo", json!(number)).await["data"], number);
        }
        assert_eq!(received().await, f64::from(round) * 90.0 + 64.0 + 20.0);
        assert_eq!(host.run(0, GUEST, "release", Value::Null).await, 64);
        eventually("the others run", || async { holding().await == 6 }).await;
        assert_eq!(host.run(0, GUEST, "release", Value::Null).await, 6);
        let mut answered = Vec::new();
        for _ in 0..70 {
            answered.push(client.json().await["rid"].as_u64().unwrap());
        }
        answered.sort_unstable();
        assert!(answered.into_iter().eq(0..70), "each is answered once");
    }
}

#[tokio::test]
async fn the_packets_of_a_batch_wait_while_too_many_run() {
    let host = with(json!({ "inFlight": 2 })).start().await;
    let mut client = open(&host, 2).await;
    let events: Vec<Value> = (0..5).map(|n| json!({ "event": "hold", "data": n, "cid": n })).collect();
    client.send(&Value::from(events).to_string()).await;
    let released = async || {
        let one = host.run(0, GUEST, "release", Value::Null).await;
        one.as_u64().unwrap() + host.run(1, GUEST, "release", Value::Null).await.as_u64().unwrap()
    };
    let holding = async || {
        let one = host.run(0, GUEST, "holding", Value::Null).await;
        one.as_u64().unwrap() + host.run(1, GUEST, "holding", Value::Null).await.as_u64().unwrap()
    };
    for round in [vec![0, 1], vec![2, 3], vec![4]] {
        eventually("the next packets run", || async { holding().await == round.len() as u64 }).await;
        released().await;
        let mut answered: Vec<u64> = Vec::new();
        for _ in &round {
            answered.push(client.json().await["data"].as_u64().unwrap());
        }
        answered.sort_unstable();
        assert_eq!(answered, round);
    }
}

#[tokio::test]
async fn the_packets_that_wait_count_in_max_buffered() {
    let buffers = json!({ "http": { "maxBuffered": "256KiB", "maxBody": "64KiB" } });
    let host = with(json!({ "inFlight": 1 })).config(buffers).workers(1).start().await;
    // The message is small, and what the host makes of it is not.
    let batch = |packets: usize| {
        let mut packets = vec![json!(1); packets];
        packets.insert(0, json!({ "event": "hold", "cid": 2 }));
        Value::from(packets).to_string()
    };
    let release = async || {
        eventually("a message is held", || async { host.run(0, GUEST, "release", Value::Null).await == 1 }).await;
    };
    let mut client = open(&host, 2).await;
    client.send(&batch(100)).await;
    release().await;
    assert_eq!(client.json().await["rid"], 2);
    client.send(&batch(4_000)).await;
    release().await;
    assert_eq!(client.json().await["rid"], 2, "the message that runs is answered");
    assert_eq!(client.closed().await, 1013);
    // Nothing of it stays.
    let mut other = open(&host, 2).await;
    assert_eq!(call(&mut other, "echo", json!(1)).await["data"], 1);
    assert_eq!(host.metric("fanfare_http_buffered_bytes", &[]).await, 0.0);
}
