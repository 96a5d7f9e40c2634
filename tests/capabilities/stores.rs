//! Stores through `wasi:keyvalue`.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost};

fn host() -> TestHost {
    let asked = json!({ "keyvalue": ["cache"] });
    TestHost::with("outside")
        .and_as("outside", "other")
        .manifest("outside", json!({ "capabilities": asked }))
        .manifest("other", json!({ "capabilities": asked }))
        .grant("outside", asked.clone())
        .grant("other", asked)
        .config(json!({ "keyvalue": { "cache": { "size": "4KiB" } } }))
}

async fn run(host: &Started, module: &str, command: Value) -> Value {
    let answer = host.post(&format!("/api/{module}/store"), command.to_string()).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

async fn set(host: &Started, key: &str, value: impl Into<String>) -> Value {
    run(host, "outside", json!({ "store": "cache", "do": "set", "key": key, "value": value.into() })).await
}

async fn get(host: &Started, module: &str, key: &str) -> Value {
    run(host, module, json!({ "store": "cache", "do": "get", "key": key })).await
}

#[tokio::test]
async fn modules_share_a_store_that_survives_swaps_and_has_a_size() {
    let host = host().start().await;
    assert_eq!(set(&host, "a", "1").await, true);
    assert_eq!(host.admin("POST", "/v1/modules/outside/reload", "").await.status, 200);
    assert_eq!(get(&host, "outside", "a").await, "1");
    assert_eq!(get(&host, "other", "a").await, "1", "in the other module, too");
    assert_eq!(get(&host, "outside", "b").await, Value::Null);
    let add = json!({ "store": "cache", "do": "increment", "key": "n", "delta": 2 });
    assert_eq!(run(&host, "outside", add.clone()).await, 2);
    assert_eq!(run(&host, "other", add).await, 4);
    let keys = json!({ "store": "cache", "do": "keys" });
    assert_eq!(run(&host, "outside", keys).await, json!({ "keys": ["a", "n"], "next": null }));
    let full = set(&host, "big", "x".repeat(4_096)).await;
    assert!(full["error"].as_str().unwrap().contains("keyvalue.cache.size allows 4096 bytes"), "{full}");
    assert_eq!(run(&host, "outside", json!({ "store": "cache", "do": "delete", "key": "a" })).await, true);
    assert_eq!(get(&host, "other", "a").await, Value::Null);
    assert_eq!(host.metric("fanfare_store_bytes_max", &["cache"]).await, 4096.0);
}

#[tokio::test]
async fn a_store_without_a_grant_is_denied_and_logged_once() {
    let host = host().start().await;
    for _ in 0..2 {
        let denied = run(&host, "outside", json!({ "store": "private", "do": "keys" })).await;
        assert!(denied["error"].as_str().unwrap().contains("AccessDenied"), "{denied}");
    }
    let line = "add \"private\" to capabilities.keyvalue in its module.json, then run `fanfare grant outside`";
    assert_eq!(host.log.lines(&["WARN", line]).len(), 1);
}
