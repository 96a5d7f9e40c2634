//! `"isolation": "fresh"`: each call has a new instance.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

use super::steps::assert_names;
use crate::harness::{Started, TestHost, json_of};

fn fresh(module: &str) -> TestHost {
    TestHost::with(module).manifest(module, json!({ "isolation": "fresh" })).workers(1)
}

/// The time in milliseconds since 1970-01-01 UTC.
fn now() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[tokio::test]
async fn every_call_has_new_memory() {
    let host = fresh("echo").start().await;
    for _ in 0..3 {
        assert_eq!(host.get("/api/echo/who").await.json(), json!({ "isolate": "worker-0", "count": 1 }));
    }
}

/// Calls `route` while another call waits, and returns the outcome. Asserts that the other call
/// ends at its deadline and not earlier.
async fn beside_a_waiting_call(host: &Started, route: &str) -> serde_json::Value {
    let other = async {
        host.until_running("traps", 0, 1).await;
        let ended = host.call("any", "traps", route, "").await;
        host.until_running("traps", 0, 1).await;
        ended
    };
    let (held, ended) = tokio::join!(host.call("any", "traps", "hold", ""), other);
    assert_eq!(held["code"], "timeout", "{held}");
    ended
}

#[tokio::test]
async fn a_crash_ends_its_call_only() {
    let host = fresh("traps").limit("traps", "timeout", "3s").start().await;
    assert_eq!(host.slot("traps", 0).await["endedAt"], json!(null));
    let begun = now();
    let crashed = beside_a_waiting_call(&host, "trap").await;
    assert_eq!((&crashed["code"], &crashed["status"]), (&json!("crashed"), &json!(500)));
    let generation = host.generation("traps").await;
    assert_names(&crashed["detail"], &["traps", &generation, "worker-0", "`trap`", "unreachable"]);
    let slot = host.slot("traps", 0).await;
    assert_eq!((&slot["state"], &slot["restarts"], &slot["crashes"]), (&json!("ready"), &json!(0), &json!(1)));
    assert_names(&slot["reason"], &["unreachable"]);
    assert!((begun..=now()).contains(&slot["endedAt"].as_u64().unwrap()), "{slot}");
    assert!(host.log.contains(&["a fresh instance crashed", "unreachable", "module=traps", &generation]));
}

#[tokio::test]
async fn a_panic_of_the_host_ends_its_call_only() {
    let host = fresh("traps").limit("traps", "timeout", "3s");
    let host = host.probe(Arc::new(|call| assert!(&*call.route.handler != "ok", "the fault of the host")));
    let host = host.start().await;
    let panicked = beside_a_waiting_call(&host, "ok").await;
    assert_eq!(panicked["code"], "crashed");
    assert_names(&panicked["detail"], &["traps", "`ok`", "the host panicked: the fault of the host"]);
    assert_eq!(host.slot("traps", 0).await["restarts"], 0);
}

#[tokio::test]
async fn limits_concurrency_applies_to_fresh_instances() {
    let host = fresh("traps").limit("traps", "concurrency", 2).limit("traps", "timeout", "3s").start().await;
    let hold = || host.call("any", "traps", "hold", "");
    let full = async {
        host.until_running("traps", 0, 2).await;
        host.until_waiting("traps", 0, 1).await;
    };
    let (first, second, third, ()) = tokio::join!(hold(), hold(), hold(), full);
    for ended in [first, second, third] {
        assert_eq!(ended["code"], "timeout");
    }
}

#[tokio::test]
async fn an_instance_that_continues_past_its_deadline_is_dropped_and_releases_its_place() {
    for (module, route, body) in [("never", "never", ""), ("never", "block", "3600000"), ("loops", "spin", "")] {
        let host = fresh(module).limit(module, "concurrency", 1);
        let host = host.limit(module, "timeout", "500ms").limit(module, "abandonAfter", "50ms");
        let host = host.limit(module, "cpu", "5s").start().await;
        assert_eq!(host.call("any", module, route, body).await["code"], "timeout", "{module}");
        host.until_running(module, 0, 0).await;
        assert_eq!(json_of(&host.call("any", module, "who", "").await)["count"], 1, "{module}");
        assert_eq!(host.slot(module, 0).await["restarts"], 0);
    }
}
