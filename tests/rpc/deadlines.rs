//! How long a call may take: as long as it asks for, its caller has left, and its target allows.

use serde_json::{Value, json};

use super::{end, replied};
use crate::harness::{Gate, Started, TestHost, eventually};

/// The milliseconds that `echo` has when it is called.
async fn left(host: &Started, more: Value) -> u64 {
    let mut wanted = json!({ "route": "echo/context" });
    wanted.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    replied(&host.nested(0, wanted).await)["deadlineMs"].as_u64().unwrap()
}

#[tokio::test]
async fn it_is_the_smallest_of_all_three() {
    let host = |waits: &'static str, echo: &'static str| {
        TestHost::waits_for(&["echo"]).limit("waits", "timeout", waits).limit("echo", "timeout", echo).start()
    };
    // No more than one of them says, and more than the next smaller one would be.
    let callers = host("20s", "1m").await;
    assert!((10_001..=20_000).contains(&left(&callers, json!({})).await), "what the caller has left");
    assert!((1..=10_000).contains(&left(&callers, json!({ "timeoutMs": 10_000 })).await), "what it asks for");
    assert!((10_001..=20_000).contains(&left(&callers, json!({ "timeoutMs": 50_000 })).await), "not more");
    // A call in between hands on what it has got itself.
    let between = json!({ "route": "/nested", "payload": { "route": "echo/context" }, "timeoutMs": 10_000 });
    let through = replied(&replied(&callers.nested(0, between).await));
    assert!((1..=10_000).contains(&through["deadlineMs"].as_u64().unwrap()), "what the caller's caller has left");
    let targets = host("1m", "15s").await;
    assert!((1..=15_000).contains(&left(&targets, json!({ "timeoutMs": 50_000 })).await), "what the target allows");
}

#[tokio::test]
async fn past_it_the_caller_has_its_answer_and_goes_on() {
    let host = TestHost::waits_for(&["never"]).start().await;
    let ended = host.nested(0, json!({ "route": "never/never", "timeoutMs": 200 })).await;
    assert_eq!(end(&ended), "timeout");
}

#[tokio::test]
async fn a_notified_call_has_a_deadline_of_its_own() {
    // Its caller has half a second, it has a minute; and it starts long after its caller is gone.
    let gate = Gate::before(|call| &*call.context.module == "echo");
    let host = TestHost::waits_for(&["echo"])
        .limit("waits", "timeout", "500ms")
        .limit("echo", "timeout", "1m")
        .probe(gate.probe())
        .start()
        .await;
    let hold = host.run(0, "waits", "notify", json!({ "route": "echo/who", "target": { "worker": 1 } }));
    assert_eq!(hold.await, json!({ "ok": 1 }));
    eventually("worker-1 is held up", || async { gate.reached() == 1 }).await;
    let notify = json!({ "route": "echo/who", "target": { "worker": 1 } });
    assert_eq!(host.run(0, "waits", "notify", notify).await, json!({ "ok": 1 }));
    // A call that its caller waits for is given up meanwhile.
    let timed_out = host.call("worker-0", "waits", "hold", "").await;
    assert_eq!(timed_out["code"], "timeout");
    gate.open();
    eventually("both have run", || async { host.ended("echo", 1, "rpc", "ok").await == 2.0 }).await;
}
