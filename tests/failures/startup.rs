//! Startups that are slow, fail or trap, and what callers get meanwhile.

use std::fs;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use fanfare::{Config, Host, StartError};
use serde_json::{Value, json};

use super::steps::assert_names;
use crate::harness::{TempDir, TestHost, binary, eventually};

/// A host with a module that has this startup, and `echo`.
fn starting(config: Value) -> TestHost {
    TestHost::with("startup").manifest("startup", json!({ "config": config })).and("echo").workers(1)
}

#[tokio::test]
async fn a_startup_runs_in_every_worker_before_the_first_call() {
    let host = TestHost::with("startup").start().await;
    for worker in ["worker-0", "worker-1"] {
        let started = host.call(worker, "startup", "started&method=GET", "").await;
        assert_eq!(started["payload"], r#"["warm StartupReason::Start"]"#, "{worker}");
    }
}

#[tokio::test]
async fn a_slow_startup_within_its_limit_is_waited_for() {
    let host = starting(json!({ "mode": "slow", "ms": 50 })).start().await;
    assert_eq!(host.slot("startup", 0).await["state"], "ready");
    assert_eq!(host.get("/api/startup/started").await.json(), json!(["warm StartupReason::Start"]));
}

#[tokio::test]
async fn a_failing_startup_is_retried_until_the_module_is_marked_failed() {
    let ways = [
        // Each startup exceeds one limit at most, so that no two limits race.
        (json!({ "mode": "fails" }), "30s", "startup `warm` failed: the startup fails as configured"),
        (json!({ "mode": "traps" }), "30s", "unreachable"),
        (json!({ "mode": "spins" }), "30s", "limits.cpu"),
        (json!({ "mode": "never" }), "200ms", "startups took longer than limits.startup"),
        (json!({ "mode": "slow", "ms": 3_600_000 }), "200ms", "startups took longer than limits.startup"),
    ];
    for (config, patience, reason) in ways {
        let host = starting(config).limit("startup", "startup", patience).limit("startup", "cpu", "50ms");
        let host = host.max_restarts(2).start().await;
        host.until("startup", 0, "state", "failed").await;
        let slot = host.slot("startup", 0).await;
        assert_names(&slot["reason"], &[reason]);
        assert_eq!(slot["restarts"], 2, "as many restarts as allowed");
        assert_eq!(host.module("startup").await["state"], "failed");

        let answer = host.get("/api/startup/started").await;
        assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_names(&answer.json()["detail"], &["startup has failed in worker-0", reason]);
        assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "other modules serve");
    }
}

#[tokio::test]
async fn a_startup_that_fails_in_one_worker_leaves_the_other_one_serving() {
    let host = starting(json!({ "mode": "fails", "worker": 1 })).workers(2).max_restarts(1).start().await;
    host.until("startup", 1, "state", "failed").await;
    // More connections than workers, so that some belong to the worker in which it has failed.
    for _ in 0..4 {
        assert_eq!(host.get("/api/startup/started").await.status, 200);
    }
    let there = host.call("worker-1", "startup", "started&method=GET", "").await;
    assert_eq!((&there["code"], &there["status"]), (&json!("unavailable"), &json!(503)));
    assert_eq!(host.slot("startup", 0).await["state"], "ready");
}

#[tokio::test]
async fn calls_wait_for_a_restart_up_to_their_deadline() {
    let host = starting(json!({ "mode": "fails" })).one_restart().limit("startup", "timeout", "100ms").start().await;
    host.until_restarted("startup", 0, 2).await;
    let slot = host.slot("startup", 0).await;
    assert_eq!(slot["state"], "restarting");
    assert_names(&slot["reason"], &["the startup fails as configured"]);
    let answer = host.get("/api/startup/started").await;
    assert_eq!((answer.status, answer.code()), (504, "timeout".to_owned()));
}

#[tokio::test]
async fn a_call_that_a_startup_notifies_does_not_belong_to_the_startup() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let notes = seen.clone();
    let host = starting(json!({ "mode": "notifies" })).probe(Arc::new(move |call| {
        if &*call.route.handler == "started" {
            notes.lock().unwrap().push((call.context.depth, call.context.in_startup));
        }
    }));
    let _host = host.start().await;
    eventually("the call runs", || async { !seen.lock().unwrap().is_empty() }).await;
    assert_eq!(*seen.lock().unwrap(), [(1, false)], "the call may wait for instances that are not ready");
}

#[tokio::test]
async fn a_host_that_does_not_start_frees_its_threads_and_addresses() {
    let dir = TempDir::new();
    dir.make_state_dir();
    dir.write("modules", "a file in the place of the folder");
    // No other test uses these addresses, or a worker with this number.
    let admin = "127.77.0.1:18081";
    let settings = json!({ "workers": 48, "http": { "listen": "127.77.0.1:18080" }, "admin": { "listen": admin } });
    let config = Config::from_text(&settings.to_string(), dir.path()).unwrap();
    let error = Host::builder().config(config).compiler(binary()).start().await.err().unwrap();
    assert!(matches!(error, StartError::ModulesDir { .. }), "{error}");

    let runs = |name: &str| {
        let mut threads = fs::read_dir("/proc/self/task").unwrap().map(|thread| thread.unwrap().path().join("comm"));
        threads.any(|file| fs::read_to_string(file).is_ok_and(|comm| comm.trim() == name))
    };
    eventually("the threads end", || async { !runs("worker-47") }).await;
    eventually("the admin listener closes", || async { TcpListener::bind(admin).is_ok() }).await;
}
