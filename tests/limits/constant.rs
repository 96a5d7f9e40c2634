//! Limits that no setting changes. A metric counts how often each was reached.

use serde_json::json;

use crate::cli::project::{Project, Serving};
use crate::harness::{Answer, Connection, eventually};

async fn reached(serving: &Serving, bound: &str) -> u64 {
    let metrics = serving.operator("GET", "/metrics").await;
    let metrics = metrics.text();
    let name = format!("fanfare_bound_reached_total{{bound=\"{bound}\"}} ");
    let line = metrics.lines().find_map(|line| line.strip_prefix(&name));
    line.unwrap_or_else(|| panic!("no {name}in {metrics}")).parse().unwrap()
}

async fn post(serving: &Serving, path: &str, body: &str) -> Answer {
    Connection::open(serving.http).await.send("POST", path, &[], body).await
}

#[tokio::test]
async fn each_constant_limit_counts_how_often_it_was_reached() {
    let project = Project::with(&["echo", "hostile", "describes-more", "subscriptions"])
        .config(json!({ "sse": {}, "modules": { "hostile": { "limits": { "memory": "4MiB", "cpu": "5s" } } } }));
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
