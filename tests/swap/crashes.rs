//! Instances that crash during a swap.

use serde_json::{Value, json};

use super::patient;
use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, eventually, json_of};

/// A host whose two instances have counted to 1 and 2.
async fn counted(host: TestHost) -> Started {
    let host = host.start().await;
    for (worker, counts) in [(0, 1), (1, 2)] {
        for expected in 1..=counts {
            assert_eq!(host.run(worker, "snapshot", "count", Value::Null).await["count"], expected);
        }
    }
    host
}

#[tokio::test]
async fn an_instance_that_crashes_during_the_hold_hands_over_no_state() {
    // Repeated, because the supervisor may be at any point when the swap asks for the state.
    for _ in 0..6 {
        let host = counted(patient(json!({})).config(json!({ "swap": { "timeout": "5s" } }))).await;
        let crashes = host.calling(0, "snapshot", "crash", "");
        host.until_holding(0, 1).await;
        let reload = host.reloading("snapshot");
        host.until_held(0).await;
        let waiting = host.calling(0, "snapshot", "count", "");
        host.until_waiting("snapshot", 0, 1).await;
        host.release_waiting(0).await;
        assert_eq!(crashes.await.unwrap()["code"], "crashed");
        let reload = reload.await.unwrap();
        assert_eq!(reload["outcome"], "swapped", "{reload}");
        let waiting = waiting.await.unwrap();
        assert_eq!(json_of(&waiting)["count"], 1, "{waiting}");
        let look = host.look(1).await;
        assert_eq!((&look["count"], &look["loaded"]), (&json!(2), &json!(1)), "{look}");
    }
}

#[tokio::test]
async fn an_instance_that_restarts_during_a_swap_takes_no_calls_of_the_new_generation() {
    let host = counted(patient(json!({ "restart": "waits" }))).await;
    let crashes = host.calling(0, "snapshot", "crash", "");
    let holds_the_swap = host.calling(1, "snapshot", "crash", "");
    for worker in [0, 1] {
        host.until_holding(worker, 1).await;
    }
    let reload = host.reloading("snapshot");
    host.until_held(0).await;
    host.release_waiting(0).await;
    assert_eq!(crashes.await.unwrap()["code"], "crashed");
    // Its restarted instance waits in a startup while the new generation takes over.
    host.until_holding(0, 1).await;
    host.release_waiting(1).await;
    assert_eq!(holds_the_swap.await.unwrap()["code"], "crashed");
    assert_eq!(reload.await.unwrap()["outcome"], "swapped");
    host.release_waiting(0).await;
    host.until_running("snapshot", 0, 0).await;
    for expected in 1..=3 {
        assert_eq!(host.run(0, "snapshot", "count", Value::Null).await["count"], expected);
    }
    assert_eq!(host.slot("snapshot", 0).await["state"], "ready");
}

#[tokio::test]
async fn an_instance_that_crashes_in_save_rejects_the_swap() {
    let host = counted(patient(json!({ "save": "waits-then-traps", "worker": 1 }))).await;
    let generation = host.generation("snapshot").await;
    let reload = host.reloading("snapshot");
    host.until_holding(1, 1).await;
    let waiting = [0, 1].map(|worker| host.calling(worker, "snapshot", "count", ""));
    for worker in [0, 1] {
        host.until_waiting("snapshot", worker, 1).await;
    }
    assert_eq!(host.emit("snapshot", "mark", "").await["accepted"], 2);
    host.release_waiting(1).await;
    let refused = reload.await.unwrap();
    assert_eq!(refused["code"], "refused", "{refused}");
    assert_names(&refused["detail"], &["snapshot in worker-1", "the instance ended while it saved its state"]);
    assert_eq!(host.generation("snapshot").await, generation);
    let [first, second] = waiting;
    assert_eq!(json_of(&first.await.unwrap())["count"], 2, "the instance in the other worker continues");
    assert_eq!(json_of(&second.await.unwrap())["count"], 1, "the restarted instance has no state");
    for worker in [0, 1] {
        eventually("the broadcast has run", || async { host.look(worker).await["heard"] == 1 }).await;
        assert_eq!(host.look(worker).await["loaded"], 0);
    }
}

#[tokio::test]
async fn a_save_that_never_stops_computing_is_interrupted() {
    let host = patient(json!({ "save": "spins" })).workers(1).limit("snapshot", "cpu", "20ms").start().await;
    assert_names(&host.reload("snapshot").await["detail"], &["the instance ended while it saved its state"]);
    host.until_restarted("snapshot", 0, 1).await;
    assert_names(&host.slot("snapshot", 0).await["reason"], &["limits.cpu"]);
    assert_eq!(host.run(0, "snapshot", "count", Value::Null).await["count"], 1);
}

#[tokio::test]
async fn a_new_instance_that_fails_in_load_rejects_the_swap_in_every_worker() {
    for mode in ["waits-then-traps", "fails", "traps"] {
        let host = counted(patient(json!({}))).await;
        let generation = host.generation("snapshot").await;
        host.rewrite("snapshot", json!({ "config": { "load": mode, "worker": 1 } }));
        let reload = host.reloading("snapshot");
        let mut waiting = Vec::new();
        if mode == "waits-then-traps" {
            host.until_holding(1, 1).await;
            for worker in [0, 1] {
                waiting.push(host.calling(worker, "snapshot", "look", ""));
                host.until_waiting("snapshot", worker as usize, 1).await;
            }
            host.release_waiting(1).await;
        }
        let refused = reload.await.unwrap();
        assert_eq!(refused["code"], "refused", "{refused}");
        let why = if mode == "fails" { "load fails as configured" } else { "unreachable" };
        assert_names(&refused["detail"], &[why]);
        for call in waiting {
            assert_eq!(json_of(&call.await.unwrap())["loaded"], 0, "answered by the old generation");
        }
        assert_eq!(host.generation("snapshot").await, generation);
        for (worker, count) in [(0, 1), (1, 2)] {
            let look = host.look(worker).await;
            assert_eq!(
                (&look["count"], &look["loaded"]),
                (&json!(count), &json!(0)),
                "the old instance keeps its memory: {look}"
            );
            assert_eq!(host.slot("snapshot", worker as usize).await["restarts"], 0);
        }
        // The state loaded in the other worker was dropped with its instance.
        host.rewrite("snapshot", json!({ "config": {} }));
        assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
        assert_eq!((&host.look(0).await["count"], &host.look(1).await["count"]), (&json!(1), &json!(2)));
    }
}
