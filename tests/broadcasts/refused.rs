//! Broadcasts that are rejected.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually};

fn code(problem: &Value) -> (&str, &str) {
    (problem["code"].as_str().unwrap_or_default(), problem["detail"].as_str().unwrap_or_default())
}

async fn rejected_for_a_guest(host: &Started, module: &str, emit: Value) -> String {
    let ended = host.run(0, module, "emit", emit).await;
    ended["error"]["kind"].as_str().unwrap_or_else(|| panic!("it was emitted: {ended}")).to_owned()
}

#[tokio::test]
async fn an_unknown_module_or_name_is_not_found() {
    let host = TestHost::waits_for(&["counts"]).start().await;
    let unknown = host.emit("nobody", "append", "").await;
    assert_eq!(code(&unknown), ("not-found", "there is no module nobody"));
    let unknown = host.emit("counts", "apend", "").await;
    assert_eq!(code(&unknown), ("not-found", "counts has no broadcast `apend`; it has: append, misbehave"));
    let unknown = host.emit("waits", "", "").await;
    assert_eq!(code(&unknown).0, "not-found");
    assert_eq!(rejected_for_a_guest(&host, "waits", json!({ "name": "weave" })).await, "not-found");
    let of_counts = json!({ "module": "counts", "name": "apend" });
    assert_eq!(rejected_for_a_guest(&host, "waits", of_counts).await, "not-found");
}

#[tokio::test]
async fn another_modules_broadcast_without_a_grant_is_forbidden() {
    let host = TestHost::with("ungranted").and("counts").start().await;
    let emit = json!({ "module": "counts", "name": "append" });
    assert_eq!(rejected_for_a_guest(&host, "ungranted", emit.clone()).await, "forbidden");
    let gathered = host.run(0, "ungranted", "gather", emit).await;
    assert_eq!(gathered["error"]["kind"], "forbidden");
    let message = gathered["error"]["message"].as_str().unwrap();
    assert!(message.contains("fanfare grant ungranted"), "{message}");
    assert_eq!(host.emit("counts", "append", "").await["seq"], 1, "a rejection uses no number");
}

#[tokio::test]
async fn a_test_route_is_open_in_development_and_test_only() {
    for (environment, code) in [("production", "forbidden"), ("development", ""), ("test", "")] {
        let route = json!([{ "path": "who", "handler": "who", "middlewares": ["inner", "test"] }]);
        let host = TestHost::with("echo")
            .manifest("echo", json!({ "routes": route, "broadcasts": { "hear": { "path": "who" } } }))
            .environment(environment)
            .start()
            .await;
        let emitted = host.emit("echo", "hear", "").await;
        assert_eq!(emitted["code"].as_str().unwrap_or_default(), code, "{environment}: {emitted}");
    }
}

#[tokio::test]
async fn a_payload_over_the_limit_is_invalid() {
    let host = TestHost::with("counts").limit("counts", "payload", 16).start().await;
    let refused = host.emit("counts", "append", "x".repeat(17)).await;
    assert_eq!((code(&refused).0, &refused["status"]), ("invalid", &json!(400)), "{refused}");
    assert_eq!(host.emit("counts", "append", "x".repeat(16)).await["seq"], 1, "a rejection uses no number");
}

#[tokio::test]
async fn emits_deeper_than_the_limit_are_too_deep() {
    let host = TestHost::with("deep").workers(1).config(json!({ "calls": { "maxDepth": 4 } })).start().await;
    let sunk = async || host.run(0, "deep", "sunk", Value::Null).await;

    host.emit("deep", "sink", "4").await;
    eventually("the deepest allowed broadcast has run", || async { sunk().await == 5 }).await;
    assert_eq!(host.ended("deep", 0, "broadcast", "failure").await, 0.0);

    host.emit("deep", "sink", "5").await;
    eventually("the last broadcast is rejected", || async {
        host.ended("deep", 0, "broadcast", "failure").await == 1.0
    })
    .await;
    assert_eq!(sunk().await, 10, "the rejected broadcast did not run");
}

#[tokio::test]
async fn gathers_deeper_than_the_limit_are_too_deep() {
    let host = TestHost::with("deep").workers(1).config(json!({ "calls": { "maxDepth": 3 } })).start().await;
    let gathered = async |levels: &str| host.gather("deep", "gathering", levels).await[0].to_string();
    assert!(gathered("3").await.contains("done"));
    let entry = gathered("4").await;
    assert!(entry.contains("calls.maxDepth") && !entry.contains("done"), "{entry}");
}
