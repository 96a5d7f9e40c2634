//! Outcomes of reloads through the admin listener.

use std::time::Duration;

use serde_json::json;

use super::{count, swapping};
use crate::harness::{Connection, Gate, TestHost, eventually, json_of};
use fanfare::Stopped;
use fanfare::tooling::{IsolateId, StartupReason, Trigger};

#[tokio::test]
async fn the_generation_in_the_folder_takes_over() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    assert_eq!(host.get("/api/echo/visitor").await.status, 404);
    let before = host.generation("echo").await;
    host.rewrite("echo", json!({ "routes": [{ "method": "get", "path": "visitor", "handler": "who" }] }));
    let swapped = host.reload("echo").await;
    assert_eq!((&swapped["outcome"], &swapped["from"]), (&json!("swapped"), &json!(before)), "{swapped}");
    assert_eq!(swapped["generation"], host.generation("echo").await);
    for worker in ["worker-0", "worker-1"] {
        let answer = host.call(worker, "echo", "visitor&method=GET", "").await;
        assert_eq!(json_of(&answer)["count"], 1, "a new instance: {answer}");
    }
    assert_eq!(host.get("/api/echo/who").await.status, 404);
    assert_eq!(host.get("/api/echo/visitor").await.status, 200);
    assert_eq!(host.slot("echo", 0).await["restarts"], 0);
    assert_eq!(host.admin("POST", "/v1/modules/ghost/reload", "").await.status, 404);
}

#[tokio::test]
async fn an_unchanged_module_is_renewed_and_a_new_folder_is_started() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.count("worker-0", "echo").await, 1);
    let renewed = host.reload("echo").await;
    assert_eq!(renewed["from"], renewed["generation"], "{renewed}");
    assert_eq!(host.count("worker-0", "echo").await, 1, "a new instance");
    let new = host.dir.path().join("modules/again");
    std::fs::create_dir(&new).unwrap();
    for file in ["module.json", "echo.wasm"] {
        std::fs::copy(host.dir.path().join("modules/echo").join(file), new.join(file)).unwrap();
    }
    assert_eq!(host.reload("again").await["outcome"], "started");
    assert_eq!(host.get("/api/again/who").await.status, 200);
}

#[tokio::test]
async fn a_module_name_with_a_path_in_it_is_not_found() {
    let host = TestHost::with("echo").start().await;
    let outside = host.dir.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    for file in ["module.json", "echo.wasm"] {
        std::fs::copy(host.dir.path().join("modules/echo").join(file), outside.join(file)).unwrap();
    }
    for name in ["..%2Foutside", ".", "echo%2F..%2Fecho", &outside.to_str().unwrap().replace('/', "%2F")] {
        let answer = host.admin("POST", &format!("/v1/modules/{name}/reload"), "").await;
        assert_eq!(answer.status, 404, "{name}: {}", answer.text());
    }
    assert_eq!(host.status().await["modules"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_swap_continues_when_its_client_disconnects() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    assert_eq!(count(&host).await, 1);
    let admin = host.admin;
    let leaves = async {
        host.until_running("snapshot", 0, 1).await;
        let mut operator = Connection::open(admin).await;
        let reload = tokio::spawn(async move { operator.send("POST", "/v1/modules/snapshot/reload", &[], "").await });
        // Once another connection is answered, the host has read the request.
        tokio::task::yield_now().await;
        assert_eq!(host.admin("GET", "/livez", "").await.status, 200);
        reload.abort();
    };
    tokio::join!(host.call("any", "snapshot", "block", "200"), leaves);
    eventually("it has swapped", || async {
        json_of(&host.call("any", "snapshot", "count", "").await)["from"].is_string()
    })
    .await;
}

#[tokio::test]
async fn a_running_call_completes_in_the_old_instance() {
    let host = TestHost::waits_for(&[]).workers(1).start().await;
    let mut client = Connection::open(host.http).await;
    let running = tokio::spawn(async move { client.send("POST", "/api/waits/block", &[], "300").await });
    host.until_running("waits", 0, 1).await;
    assert_eq!(host.reload("waits").await["outcome"], "swapped");
    assert_eq!(host.count("any", "waits").await, 1);
    let answer = running.await.unwrap();
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[tokio::test]
async fn a_reload_revives_a_failed_module() {
    let host = TestHost::with("startup").manifest("startup", json!({ "config": { "mode": "fails" } }));
    let host = host.max_restarts(1).start().await;
    host.until("startup", 0, "state", "failed").await;
    host.until("startup", 1, "state", "failed").await;
    assert_eq!(host.get("/api/startup/started").await.status, 503);
    host.rewrite("startup", json!({ "config": { "mode": "ok" } }));
    assert_eq!(host.reload("startup").await["outcome"], "swapped");
    host.until("startup", 0, "state", "ready").await;
    assert_eq!(host.get("/api/startup/started").await.status, 200);
}

#[tokio::test]
async fn a_host_can_stop_at_any_point_of_a_swap() {
    for _ in 0..12 {
        let host = TestHost::with("echo").config(json!({ "shutdown": { "drain": "15s" } })).start().await;
        let mut operator = Connection::open(host.admin).await;
        let reload = tokio::spawn(async move { operator.send("POST", "/v1/modules/echo/reload", &[], "").await });
        // Each round stops the swap at another point.
        tokio::task::yield_now().await;
        assert_eq!(host.stop().await, Stopped::Clean);
        reload.abort();
    }
}

#[tokio::test]
async fn an_idle_old_instance_ends_at_once() {
    let host = TestHost::with("echo").start().await;
    // Two generations may drain at once, so a third swap would wait for an instance that does not
    // end.
    for _ in 0..4 {
        let reload = tokio::time::timeout(Duration::from_secs(10), host.reload("echo"));
        assert_eq!(reload.await.expect("the old instances end")["outcome"], "swapped");
    }
    assert_eq!(host.stop().await, Stopped::Clean);
}

#[tokio::test]
async fn a_host_that_stops_during_a_swap_completes_running_calls() {
    let gate = Gate::before(|call| {
        let swap = matches!(&call.trigger, Trigger::Startup { reason: StartupReason::Swap, .. });
        swap && call.context.isolate == IsolateId::Worker(0)
    });
    let startups = json!({ "warm": { "type": "all", "path": "ok" } });
    let host = TestHost::waits_for(&[]).manifest("waits", json!({ "startups": startups })).probe(gate.probe());
    let host = host.start().await;
    let call = host.calling(1, "waits", "block", "1000");
    host.until_running("waits", 1, 1).await;
    let reload = host.reloading("waits");
    eventually("the new instance starts", || async { gate.reached() == 1 }).await;
    let stopping = tokio::spawn(host.stop());
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(stopping.await.unwrap(), Stopped::Clean);
    assert_eq!(call.await.unwrap()["status"], 200);
    reload.abort();
}

#[tokio::test]
async fn a_leaked_call_delays_neither_a_removal_nor_a_stop() {
    let host =
        TestHost::waits_for(&[]).workers(1).limit("waits", "timeout", "50ms").limit("waits", "abandonAfter", "10ms");
    let host = host.config(json!({ "swap": { "removal": "0ms" } })).start().await;
    assert_eq!(host.call("any", "waits", "hold", "").await["code"], "timeout");
    host.until("waits", 0, "leaked", 1).await;
    std::fs::remove_dir_all(host.dir.path().join("modules/waits")).unwrap();
    assert_eq!(host.reload("waits").await["outcome"], "removed");
    assert_eq!(host.stop().await, Stopped::Clean);
}

#[tokio::test]
async fn a_third_swap_waits_until_one_of_two_draining_generations_has_ended() {
    for what in ["reload", "rollback"] {
        let host = TestHost::waits_for(&[]).workers(1).start().await;
        let mut running = Vec::new();
        for round in 1..=2 {
            running.push(host.calling(0, "waits", "block", "1500"));
            host.until_running("waits", 0, round).await;
            host.rewrite("waits", json!({ "config": { "round": round } }));
            assert_eq!(host.reload("waits").await["outcome"], "swapped");
        }
        let third = host.admin("POST", &format!("/v1/modules/waits/{what}"), "").await.json();
        assert_eq!(third["outcome"], "swapped", "{third}");
        assert!(host.slot("waits", 0).await["inFlight"].as_u64().unwrap() < 2, "the first call has ended");
        for call in running {
            assert_eq!(call.await.unwrap()["status"], 200);
        }
    }
}
