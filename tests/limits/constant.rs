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
    let project = Project::with(&["echo", "hostile", "describes-more"])
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
    let before = reached(&serving, "text").await;
    let fail = |bytes: usize| format!(r#"{{ "name": "{}", "message": "" }}"#, "n".repeat(bytes));
    post(&serving, "/api/echo/fail", &fail(128)).await;
    assert_eq!(reached(&serving, "text").await, before);
    post(&serving, "/api/echo/fail", &fail(129)).await;
    assert!(reached(&serving, "text").await > before);
    assert_eq!(reached(&serving, "handlers").await, 1, "`describes-more` was rejected");
}
