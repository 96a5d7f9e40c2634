//! Kills and swaps of the same module at the same time never interleave.

use serde_json::{Value, json};

use super::{MODES, crashed, isolates, killable};
use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, eventually, json_of};
use crate::swap::component;

/// Two workers that have counted to 2, and the next component on disk.
async fn about_to_swap(config: Value) -> Started {
    let host = killable(config, json!({})).start().await;
    for expected in 1..=2 {
        assert_eq!((host.count_on(0).await, host.count_on(1).await), (expected, expected));
    }
    host
}

#[tokio::test]
async fn a_graceful_kill_during_a_swap_waits_for_the_swap() {
    let host = about_to_swap(json!({})).await;
    host.put("snapshot", "snapshot.wasm", &component("snapshot-next"));
    host.rewrite("snapshot", json!({ "config": { "load": "waits", "worker": 1 } }));
    let reload = host.reloading("snapshot");
    host.until_holding(1, 1).await;
    let kill = host.killing(0, false);
    host.until_held(0).await;
    let waiting = host.calling(0, "snapshot", "count", "");
    host.until_waiting("snapshot", 0, 1).await;
    // More kills than a graceful one needs time, of an isolate without modules.
    for _ in 0..100 {
        let other = host.admin("POST", "/v1/brokers/kill", r#"{"immediate":true}"#).await;
        assert_eq!(other.status, 200, "{}", other.text());
    }
    assert!(!kill.is_finished() && !reload.is_finished());
    assert_eq!(host.slot("snapshot", 0).await["held"], true);
    host.release_waiting(1).await;
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    assert_eq!(isolates(&kill.await.unwrap()), ["worker-0"]);
    assert_eq!(json_of(&waiting.await.unwrap())["build"], "next");
    let looks = (host.look(0).await, host.look(1).await);
    assert_eq!((&looks.0["build"], &looks.0["loaded"]), (&json!("next"), &json!(0)), "killed after the swap");
    assert_eq!((&looks.1["build"], &looks.1["count"]), (&json!("next"), &json!(2)), "swapped only");
}

#[tokio::test]
async fn an_immediate_kill_does_not_wait_for_a_swap_that_prepares() {
    let host = about_to_swap(json!({})).await;
    host.put("snapshot", "snapshot.wasm", &component("snapshot-next"));
    host.rewrite("snapshot", json!({ "config": { "startup": "waits", "worker": 1 } }));
    let reload = host.reloading("snapshot");
    host.until_holding(1, 1).await;
    assert_eq!(isolates(&host.kill(0, true).await), ["worker-0"]);
    assert!(!reload.is_finished());
    let look = host.look(0).await;
    assert_eq!((&look["build"], &look["count"]), (&json!("first"), &json!(0)), "the generation that serves");
    host.release_waiting(1).await;
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    let looks = (host.look(0).await, host.look(1).await);
    assert_eq!((&looks.0["build"], &looks.0["count"]), (&json!("next"), &json!(0)), "the state was dropped before");
    assert_eq!((&looks.1["build"], &looks.1["count"]), (&json!("next"), &json!(2)));
}

#[tokio::test]
async fn an_immediate_kill_interrupts_a_hand_over_and_the_swap_starts_again() {
    let host = about_to_swap(json!({})).await;
    host.put("snapshot", "snapshot.wasm", &component("snapshot-next"));
    host.rewrite("snapshot", json!({ "config": { "load": "waits", "worker": 1 } }));
    let reload = host.reloading("snapshot");
    // The state of both workers is saved, and worker 0 has loaded it.
    host.until_holding(1, 1).await;
    assert_eq!(crashed(&host.kill(0, true).await), 0);
    assert!(host.log.contains(&["the swap starts again, because an isolate was killed", "module=snapshot"]));
    // The load in worker 1 of the first attempt, which was dropped, and that of the second one.
    host.until_holding(1, 2).await;
    host.run(1, "waits", "release", Value::Null).await;
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    let looks = (host.look(0).await, host.look(1).await);
    assert_eq!((&looks.0["build"], &looks.0["count"]), (&json!("next"), &json!(0)), "not the state from before");
    assert_eq!((&looks.1["build"], &looks.1["count"]), (&json!("next"), &json!(2)), "nothing is lost elsewhere");
    assert_eq!(host.slot("snapshot", 0).await["held"], false);
}

#[tokio::test]
async fn an_immediate_kill_ends_the_calls_that_a_swap_waits_for() {
    let host = about_to_swap(json!({})).await;
    let running = host.wait_elsewhere().await;
    let reload = host.reloading("snapshot");
    host.until_held(0).await;
    assert_eq!(crashed(&host.kill(0, true).await), 1);
    assert_eq!(running.await.unwrap()["code"], "crashed");
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    assert_eq!((host.count_on(0).await, host.count_on(1).await), (1, 3));
}

#[tokio::test]
async fn a_swap_during_a_graceful_kill_waits_for_the_next_instance() {
    let host = about_to_swap(json!({ "restart": "waits", "worker": 0 })).await;
    let kill = host.killing(0, false);
    host.until_holding(0, 1).await;
    host.put("snapshot", "snapshot.wasm", &component("snapshot-next"));
    let reload = host.reloading("snapshot");
    assert_eq!(host.count_on(0).await, 3, "the old instance serves");
    assert!(!kill.is_finished() && !reload.is_finished());
    host.release_waiting(0).await;
    assert_eq!(isolates(&kill.await.unwrap()), ["worker-0"]);
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    let looks = (host.look(0).await, host.look(1).await);
    assert_eq!((&looks.0["build"], &looks.0["count"]), (&json!("next"), &json!(0)));
    assert_eq!((&looks.1["build"], &looks.1["count"]), (&json!("next"), &json!(2)));
}

#[tokio::test]
async fn a_swap_need_not_wait_for_the_calls_that_a_kill_lets_end() {
    let host = about_to_swap(json!({})).await;
    let running = host.wait_elsewhere().await;
    let kill = host.killing(0, false);
    eventually("the next instance serves", || async { host.look(0).await["count"] == 0 }).await;
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    assert!(!kill.is_finished() && !running.is_finished());
    // `waits` in worker 1 is not killed.
    host.release_waiting(1).await;
    assert_eq!(json_of(&running.await.unwrap())["ok"]["payload"], "kept");
    assert_eq!(crashed(&kill.await.unwrap()), 0);
}

#[tokio::test]
async fn a_rollback_goes_before_a_kill_that_prepares() {
    let host = about_to_swap(json!({ "restart": "waits", "worker": 0 })).await;
    host.put("snapshot", "snapshot.wasm", &component("snapshot-next"));
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    let kill = host.killing(0, false);
    host.until_holding(0, 1).await;
    let back = host.admin("POST", "/v1/modules/snapshot/rollback", "").await.json();
    assert_eq!(back["outcome"], "swapped", "{back}");
    let look = host.look(0).await;
    assert_eq!((&look["build"], &look["count"]), (&json!("first"), &json!(2)), "the rollback keeps the state");
    // The call of the startup that the rollback ended, and that of the kill's second attempt.
    host.until_holding(0, 2).await;
    host.run(0, "waits", "release", Value::Null).await;
    assert_eq!(isolates(&kill.await.unwrap()), ["worker-0"]);
    let look = host.look(0).await;
    assert_eq!((&look["build"], &look["count"]), (&json!("first"), &json!(0)), "the kill drops the state");
}

#[tokio::test]
async fn a_canary_stays_and_does_not_pay_for_the_calls_of_a_kill() {
    for immediate in MODES {
        let host = killable(json!({}), json!({ "processTermTimeout": "1ms" })).start().await;
        let rollout = json!({ "canary": 1, "for": "1500ms", "maxFailures": 0 });
        host.rewrite("snapshot", json!({ "rollout": rollout, "config": { "number": 2 } }));
        let reload = host.reloading("snapshot");
        let generation = async |worker| host.slot("snapshot", worker).await["generation"].clone();
        eventually("the canary runs", || async { generation(0).await != generation(1).await }).await;
        let (canary, other) = (generation(0).await, generation(1).await);
        let running = host.wait_elsewhere().await;
        assert_eq!(crashed(&host.kill(0, immediate).await), 1);
        assert_eq!(running.await.unwrap()["code"], "crashed");
        assert_eq!((generation(0).await, generation(1).await), (canary.clone(), other), "each keeps its generation");
        assert!(!reload.is_finished(), "the canary runs");
        let promoted = reload.await.unwrap();
        assert_eq!((&promoted["outcome"], &promoted["generation"]), (&json!("swapped"), &canary), "{promoted}");
    }
}

#[tokio::test]
async fn the_failures_of_a_canary_are_not_forgotten_in_a_kill() {
    for immediate in MODES {
        let host = TestHost::with("echo").start().await;
        let route = json!({ "path": "status", "handler": "status" });
        let rollout = json!({ "canary": 1, "for": "1m", "maxFailures": 1 });
        host.rewrite("echo", json!({ "routes": [route], "rollout": rollout }));
        let reload = host.reloading("echo");
        let generation = async |worker| host.slot("echo", worker).await["generation"].clone();
        eventually("the canary runs", || async { generation(0).await != generation(1).await }).await;
        let fail = async || host.call("worker-0", "echo", "status", r#"{"status":500}"#).await;
        assert_eq!(fail().await["status"], 500);
        assert_eq!(isolates(&host.kill(None, immediate).await).len(), 2);
        assert_ne!(generation(0).await, generation(1).await, "one failure is allowed");
        assert_eq!(fail().await["status"], 500);
        let why = reload.await.unwrap();
        assert_names(&why["detail"], &["2 calls failed in worker-0, rollout.maxFailures allows 1"]);
        assert_eq!(generation(0).await, generation(1).await);
    }
}
