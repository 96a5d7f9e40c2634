//! Metrics.

use std::process::Stdio;

use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::harness::{Connection, Started, TestHost, eventually, not_run};

#[tokio::test]
async fn calls_are_counted_by_module_worker_trigger_and_outcome() {
    let host = TestHost::with("echo").and("counts").start().await;
    let mut connection = Connection::open(host.http).await;
    let who = connection.send("GET", "/api/echo/who", &[], "").await.json();
    let worker = u32::from(who["isolate"] == "worker-1");
    for _ in 0..4 {
        connection.send("POST", "/api/echo/echo", &[], "x").await;
    }
    connection.send("POST", "/api/echo/fail", &[], r#"{"name":"no"}"#).await;
    connection.send("GET", "/api/echo/nothing", &[], "").await;
    host.call("worker-0", "echo", "echo", "x").await;
    host.gather("counts", "append", "x").await;

    assert_eq!(host.ended("echo", worker, "http", "ok").await, 5.0);
    assert_eq!(host.ended("echo", worker, "http", "failure").await, 1.0);
    assert_eq!(host.ended("echo", 1 - worker, "http", "ok").await, 0.0, "nothing ran there");
    assert_eq!(host.ended("echo", 0, "rpc", "ok").await, 1.0);
    assert_eq!(host.ended("echo", 1, "rpc", "ok").await, 0.0);
    for worker in [0, 1] {
        assert_eq!(host.ended("counts", worker, "broadcast", "ok").await, 1.0);
    }
}

#[tokio::test]
async fn durations_are_a_histogram() {
    let host = TestHost::with("echo").start().await;
    for _ in 0..3 {
        host.call("worker-1", "echo", "echo", "x").await;
    }
    let labels = ["module=\"echo\"", "isolate=\"worker-1\"", "trigger=\"rpc\""];
    assert_eq!(host.metric("fanfare_call_duration_seconds_count", &labels).await, 3.0);
    let [module, isolate, trigger] = labels;
    let all = [module, isolate, trigger, "le=\"+Inf\""];
    assert_eq!(host.metric("fanfare_call_duration_seconds_bucket", &all).await, 3.0);
    assert!(host.metric("fanfare_call_duration_seconds_sum", &labels).await > 0.0);
}

/// A metric of one module in one worker.
async fn gauge(host: &Started, name: &str, module: &str, worker: u32) -> f64 {
    host.metric(name, &[&format!("module=\"{module}\""), &format!("isolate=\"worker-{worker}\"")]).await
}

#[tokio::test]
async fn gauges_show_running_and_waiting_calls() {
    let host = TestHost::with("serial").start().await;
    for (count, metric) in [(1, "fanfare_calls_in_flight"), (1, "fanfare_mailbox_calls"), (2, "fanfare_mailbox_calls")]
    {
        let mut connection = Connection::open(host.admin).await;
        let hold = "/v1/modules/serial/call?target=worker-1&path=hold";
        tokio::spawn(async move { connection.send("POST", hold, &[], "").await });
        eventually(metric, || async { gauge(&host, metric, "serial", 1).await == f64::from(count) }).await;
    }
    host.emit("serial", "wave", "").await;
    assert_eq!(gauge(&host, "fanfare_mailbox_broadcasts", "serial", 1).await, 1.0);
    for metric in ["fanfare_mailbox_broadcasts", "fanfare_calls_in_flight"] {
        eventually("the broadcast has run elsewhere", || async { gauge(&host, metric, "serial", 0).await == 0.0 })
            .await;
    }
}

#[tokio::test]
async fn restarts_and_readiness_are_counted() {
    let host = TestHost::with("traps").config(json!({ "isolate": { "maxRestarts": 1 } })).start().await;
    assert_eq!(gauge(&host, "fanfare_restarts_total", "traps", 1).await, 0.0);
    assert_eq!(gauge(&host, "fanfare_slot_ready", "traps", 1).await, 1.0);
    host.call("worker-1", "traps", "trap", "").await;
    eventually("it restarts", || async { gauge(&host, "fanfare_restarts_total", "traps", 1).await == 1.0 }).await;
    host.call("worker-1", "traps", "trap", "").await;
    eventually("it fails", || async { gauge(&host, "fanfare_slot_ready", "traps", 1).await == 0.0 }).await;
    assert_eq!(gauge(&host, "fanfare_slot_ready", "traps", 0).await, 1.0);
    assert_eq!(host.ended("traps", 1, "rpc", "crashed").await, 2.0);
    host.call("worker-1", "traps", "ok", "").await;
    assert_eq!(host.ended("traps", 1, "rpc", "unavailable").await, 1.0);
}

/// `GET /metrics` with a value of `Accept`: its content type and body.
async fn scrape(host: &Started, accept: &str) -> (String, String) {
    let answer = Connection::open(host.admin).await.send("GET", "/metrics", &[("accept", accept)], "").await;
    (answer.header("content-type").unwrap().to_owned(), answer.text().to_owned())
}

#[tokio::test]
async fn accept_selects_the_format() {
    let host = TestHost::with("echo").start().await;
    host.get("/api/echo/who").await;
    let families = ["fanfare_calls", "fanfare_call_duration_seconds", "fanfare_mailbox_calls", "fanfare_restarts"];
    let (kind, text) = scrape(&host, "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5").await;
    assert!(kind.starts_with("application/openmetrics-text"), "{kind}");
    assert!(text.ends_with("# EOF\n"), "{text}");
    for family in families {
        assert_eq!(text.matches(&format!("# TYPE {family} ")).count(), 1, "{family} in {text}");
    }
    let (kind, text) = scrape(&host, "*/*").await;
    assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
    assert!(!text.contains("# EOF"), "{text}");
    for family in ["fanfare_calls_total counter", "fanfare_call_duration_seconds histogram"] {
        assert_eq!(text.matches(&format!("# TYPE {family}\n")).count(), 1, "{family} in {text}");
    }
}

/// `promtool check metrics`, the linter of Prometheus.
#[tokio::test]
async fn promtool_finds_no_fault() {
    let host = TestHost::with("echo").and("counts").start().await;
    host.get("/api/echo/who").await;
    host.gather("counts", "append", "x").await;
    let (_, text) = scrape(&host, "text/plain").await;
    let started = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let Ok(mut promtool) = started else { return not_run("promtool: install Debian's package prometheus") };
    promtool.stdin.take().unwrap().write_all(text.as_bytes()).await.unwrap();
    let output = promtool.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.is_empty(), "{said}");
}
