//! Deadlines of calls: the smallest of the requested timeout, the caller's remaining time and the
//! target's limit.

use serde_json::{Value, json};

use super::{end, replied};
use crate::harness::{Gate, Started, TestHost, eventually};

/// The time that `echo` has left when it is called, in milliseconds.
async fn left(host: &Started, more: Value) -> u64 {
    let mut wanted = json!({ "route": "echo/context" });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    replied(&host.nested(0, wanted).await)["deadlineMs"].as_u64().unwrap()
}

#[tokio::test]
async fn a_deadline_is_the_smallest_of_all_three() {
    let host = |waits: &'static str, echo: &'static str| {
        TestHost::waits_for(&["echo"]).limit("waits", "timeout", waits).limit("echo", "timeout", echo).start()
    };
    // Each range is between the expected value and the next smaller one.
    let callers = host("20s", "1m").await;
    assert!((10_001..=20_000).contains(&left(&callers, json!({})).await), "the caller's remaining time");
    assert!((1..=10_000).contains(&left(&callers, json!({ "timeoutMs": 10_000 })).await), "the requested timeout");
    assert!(
        (10_001..=20_000).contains(&left(&callers, json!({ "timeoutMs": 50_000 })).await),
        "the caller's remaining time still"
    );
    // An intermediate call passes on its own remaining time.
    let between = json!({ "route": "/nested", "payload": { "route": "echo/context" }, "timeoutMs": 10_000 });
    let through = replied(&replied(&callers.nested(0, between).await));
    assert!(
        (1..=10_000).contains(&through["deadlineMs"].as_u64().unwrap()),
        "the remaining time of the caller's caller"
    );
    let targets = host("1m", "15s").await;
    assert!((1..=15_000).contains(&left(&targets, json!({ "timeoutMs": 50_000 })).await), "the target's limit");
}

#[tokio::test]
async fn past_the_deadline_the_caller_gets_timeout_and_continues() {
    let host = TestHost::waits_for(&["never"]).start().await;
    let ended = host.nested(0, json!({ "route": "never/never", "timeoutMs": 200 })).await;
    assert_eq!(end(&ended), "timeout");
}

#[tokio::test]
async fn a_notified_call_has_a_deadline_of_its_own() {
    // The caller has half a second and the notified call a minute. It starts long after the caller
    // has ended.
    let gate = Gate::before(|call| &*call.context.module == "echo");
    let host = TestHost::waits_for(&["echo"])
        .limit("waits", "timeout", "500ms")
        .limit("echo", "timeout", "1m")
        .probe(gate.probe())
        .start()
        .await;
    let hold = host.run(0, "waits", "notify", json!({ "route": "echo/who", "target": { "worker": 1 } }));
    assert_eq!(hold.await, json!({ "ok": 1 }));
    eventually("worker-1 is blocked", || async { gate.reached() == 1 }).await;
    let notify = json!({ "route": "echo/who", "target": { "worker": 1 } });
    assert_eq!(host.run(0, "waits", "notify", notify).await, json!({ "ok": 1 }));
    // A call with a waiting caller times out in the meantime.
    let timed_out = host.call("worker-0", "waits", "hold", "").await;
    assert_eq!(timed_out["code"], "timeout");
    gate.open();
    eventually("both notified calls have run", || async { host.ended("echo", 1, "rpc", "ok").await == 2.0 }).await;
}
