//! Limits that no setting changes. A metric counts how often each was reached.

use serde_json::json;

use crate::cli::project::{Project, Serving};
use crate::harness::websocket::{BINARY, PING, PONG, masked};
use crate::harness::{Answer, Connection, WebSocket, eventually, root};

async fn reached(serving: &Serving, bound: &str) -> u64 {
    let metrics = serving.operator("GET", "/metrics").await;
    let metrics = metrics.text();
    let name = format!("fanfare_bound_reached_total{{bound=\"{bound}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}in {metrics}")).parse().unwrap()
}

/// The message of a client of SocketCluster that shows a token of this length.
fn token(bytes: usize) -> String {
    json!({ "event": "#authenticate", "data": "t".repeat(bytes) }).to_string()
}

/// A message of this number of packets.
fn packets(count: usize) -> String {
    format!("[{}]", vec![r#"{"rid":1}"#; count].join(","))
}

/// Waits until the host has acted on everything before.
async fn answered(client: &mut WebSocket) {
    client.send(r#"{"event":"echo","cid":2}"#).await;
    while client.json().await["rid"] != 2 {}
}

async fn post(serving: &Serving, path: &str, body: &str) -> Answer {
    Connection::open(serving.http).await.send("POST", path, &[], body).await
}

#[tokio::test]
async fn each_constant_limit_counts_how_often_it_was_reached() {
    let project = Project::with(&["echo", "hostile", "describes-more", "subscriptions", "sessions"]).config(
        json!({ "sse": {}, "websocket": {
            "listeners": [{ "path": "/sc/", "module": "sessions" }],
            "auth": { "keyFile": root().join("tests/socketcluster/secret.txt") },
        }, "modules": {
            "hostile": { "limits": { "memory": "4MiB", "cpu": "5s" } },
            "sessions": { "grants": { "sessions": true } },
        } }),
    );
    let serving = project.serve(&[]).await;
    for (bound, just_below, just_over) in [
        ("path", format!("/api/echo/{}", vec!["a"; 64].join("/")), format!("/api/echo/{}", vec!["a"; 65].join("/"))),
        ("path", format!("/api/echo/{}", "a".repeat(4_096)), format!("/api/echo/{}", "a".repeat(4_097))),
    ] {
        let before = reached(&serving, bound).await;
        serving.get(&just_below).await;
        assert_eq!(reached(&serving, bound).await, before, "{just_below}");
        serving.get(&just_over).await;
        assert_eq!(reached(&serving, bound).await, before + 1, "{just_over}");
    }
    for (bound, path, body) in [
        ("random", "/api/hostile/random", r#"{ "mib": 60 }"#),
        ("resources", "/api/hostile/fields", r#"{ "times": 10000 }"#),
    ] {
        assert_eq!(reached(&serving, bound).await, 0, "{bound}");
        assert_eq!(post(&serving, path, body).await.code(), "crashed", "{bound}");
        // The instance ends after its calls have returned.
        eventually(bound, || async { reached(&serving, bound).await == 1 }).await;
    }
    let before = reached(&serving, "stream-name").await;
    for (bytes, count) in [(256, before), (257, before + 1)] {
        let path = format!("/stream?connectKey={}", "k".repeat(bytes));
        Connection::open(serving.http).await.send("HEAD", &path, &[], "").await;
        assert_eq!(reached(&serving, "stream-name").await, count, "{bytes} bytes");
    }
    for (path, most) in [("emit", 256), ("publish", 512)] {
        let before = reached(&serving, "message-topic").await;
        for (bytes, count) in [(most, before), (most + 1, before + 1)] {
            let name = "n".repeat(bytes);
            let body = match path {
                "emit" => json!({ "type": name }),
                _ => json!({ "connection": "redis", "topic": name }),
            };
            post(&serving, &format!("/api/subscriptions/{path}"), &body.to_string()).await;
            assert_eq!(reached(&serving, "message-topic").await, count, "{path}: {bytes} bytes");
        }
    }
    for (bound, what, most) in [("session-name", "find", 256), ("session-list", "push", 10_000)] {
        let before = reached(&serving, bound).await;
        for (size, count) in [(most, before), (most + 1, before + 1)] {
            let body = match what {
                "find" => json!({ "do": "find", "uid": "u".repeat(size) }),
                _ => json!({ "do": "push", "to": vec!["bound"; size], "name": "n", "payload": null }),
            };
            post(&serving, "/api/sessions/outside/use", &body.to_string()).await;
            assert_eq!(reached(&serving, bound).await, count, "{what}: {size}");
        }
    }
    let mut socket = WebSocket::open(serving.http, "/api/sessions/use").await;
    let id = socket.ask(json!({ "do": "current" })).await["id"].clone();
    let set = |count: usize| (0..count).map(|name| json!([name.to_string(), "1"])).collect::<serde_json::Value>();
    for (values, count) in [(1_024, 0), (1_025, 1)] {
        socket.ask(json!({ "do": "set", "session": id, "values": set(values) })).await;
        assert_eq!(reached(&serving, "session-values").await, count, "{values}");
    }
    for (group, count) in (0..65).map(|group| (group, u64::from(group == 64))) {
        socket.ask(json!({ "do": "join", "group": group.to_string(), "sessions": [id] })).await;
        assert_eq!(reached(&serving, "session-groups").await, count, "{group}");
    }
    let mut socket = WebSocket::open(serving.http, "/api/sessions/echo").await;
    let mut fragments = masked(false, BINARY, b"");
    fragments.extend(masked(false, 0, b"").repeat(65_535));
    socket.raw(&fragments).await;
    socket.frame(true, PING, b"").await;
    assert_eq!(socket.next_frame().await.unwrap().1, PONG);
    assert_eq!(reached(&serving, "websocket-fragments").await, 0);
    socket.frame(true, 0, b"").await;
    assert_eq!((socket.closed().await, reached(&serving, "websocket-fragments").await), (1009, 1));
    let mut client = WebSocket::open(serving.http, "/sc/").await;
    client.ask(json!({ "event": "#handshake", "cid": 1 })).await;
    for (bound, just_below, just_over, closed) in [
        ("token", token(16_384), token(16_385), false),
        ("socketcluster-packets", packets(4_096), packets(4_097), true),
    ] {
        client.send(&just_below).await;
        answered(&mut client).await;
        assert_eq!(reached(&serving, bound).await, 0, "{bound}");
        client.send(&just_over).await;
        match closed {
            true => assert_eq!(client.closed().await, 1009),
            false => answered(&mut client).await,
        }
        assert_eq!(reached(&serving, bound).await, 1, "{bound}");
    }
    let before = reached(&serving, "text").await;
    let fail = |bytes: usize| format!(r#"{{ "name": "{}", "message": "" }}"#, "n".repeat(bytes));
    post(&serving, "/api/echo/fail", &fail(128)).await;
    assert_eq!(reached(&serving, "text").await, before);
    post(&serving, "/api/echo/fail", &fail(129)).await;
    assert!(reached(&serving, "text").await > before);
    assert_eq!(reached(&serving, "handlers").await, 1, "`describes-more` was rejected");
}

#[tokio::test]
async fn the_constant_limits_of_the_event_service_count_how_often_they_were_reached() {
    let project = Project::with(&[]).config(json!({ "events": { "listen": "127.0.0.1:0", "rate": 1_000_000 } }));
    let mut serving = project.serve(&[]).await;
    let address = serving.line().await.trim_start_matches("events http://").parse().unwrap();
    let mut client = Connection::open(address).await;
    let list = |count: usize| format!("[{}]", vec!["{\"value\":1}"; count].join(","));
    let types = |count: usize| format!("/events?{}", vec!["type=a"; count].join("&"));
    for (count, status, times) in [(1_000, 200, 0), (1_001, 400, 1)] {
        let answer = client.send("POST", "/events", &[("content-type", "application/json")], list(count)).await;
        assert_eq!((answer.status, reached(&serving, "event-list").await), (status, times), "{count} events");
    }
    for (count, status, times) in [(100, 200, 1), (101, 400, 2)] {
        let answer = client.send("HEAD", &types(count), &[], "").await;
        assert_eq!((answer.status, reached(&serving, "event-list").await), (status, times), "{count} types");
    }
    for (sent, times) in [(4_096, 0), (1, 1)] {
        for index in 0..sent {
            let key = format!("{times}-{index}");
            let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
            assert_eq!(client.send("POST", "/events", &headers, "[]").await.status, 200);
        }
        assert_eq!(reached(&serving, "event-keys").await, times);
    }
}
