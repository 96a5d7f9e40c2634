//! Serial guests, and calls that would wait for themselves.

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::{end, message, replied};
use crate::harness::{Started, TestHost, by_worker, ends, eventually};

async fn nested(host: &Started, worker: u32, wanted: Value) -> Value {
    host.run(worker, "serial", "nested", wanted).await
}

#[tokio::test]
async fn a_serial_guest_that_calls_itself_on_its_own_worker_would_deadlock() {
    let host = TestHost::with("serial").start().await;
    let ended = nested(&host, 1, json!({ "route": "/ok", "target": { "worker": 1 } })).await;
    assert_eq!(end(&ended), "would-deadlock");
    assert!(message(&ended).contains("serial in worker-1 runs call"), "{}", message(&ended));
    let elsewhere = nested(&host, 1, json!({ "route": "/ok", "target": { "worker": 0 } })).await;
    assert_eq!(end(&elsewhere), "ok");
}

#[tokio::test]
async fn any_is_another_worker_for_a_serial_guest_that_calls_itself() {
    let host = TestHost::with("serial").workers(3).start().await;
    for from in [0, 1, 2] {
        let ended = nested(&host, from, json!({ "route": "/who" })).await;
        assert_ne!(replied(&ended)["isolate"], format!("worker-{from}"));
    }
    let alone = TestHost::with("serial").workers(1).start().await;
    assert_eq!(end(&nested(&alone, 0, json!({ "route": "/who" })).await), "would-deadlock");
}

#[tokio::test]
async fn every_worker_but_its_own_answers_a_serial_guest() {
    let host = TestHost::with("serial").workers(3).start().await;
    let entries = host.run(1, "serial", "every", json!({ "route": "/ok" })).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "would-deadlock", "reply"]));
}

#[tokio::test]
async fn a_serial_guest_can_notify_itself() {
    let host = TestHost::with("serial").start().await;
    let own = json!({ "route": "/hear", "target": { "worker": 1 } });
    assert_eq!(host.run(1, "serial", "notify", own).await, json!({ "ok": 1 }));
    eventually("the call runs afterwards", || async { host.ended("serial", 1, "rpc", "ok").await == 2.0 }).await;
    let every = json!({ "route": "/hear", "group": "workers" });
    assert_eq!(host.run(0, "serial", "notify", every).await, json!({ "ok": 2 }));
}

/// The modules and isolates in which the nested calls of `go` ran.
fn places(answer: &Value) -> Vec<&str> {
    let levels = std::iter::successors(Some(answer), |level| level.get("next"));
    levels.filter_map(|level| level["here"].as_str()).collect()
}

#[tokio::test]
async fn a_cycle_through_a_serial_guest_continues_in_another_worker_while_one_is_free() {
    let grants = |host: TestHost| {
        host.grant("cycle-a", json!({ "rpc": ["cycle-b"] })).grant("cycle-b", json!({ "rpc": ["cycle-a"] }))
    };
    let cycle = || grants(TestHost::with("cycle-a").and("cycle-b")).limit("cycle-a", "concurrency", 1);

    let host = cycle().start().await;
    let answer = host.run(0, "cycle-a", "go", json!(2)).await;
    let ran = places(&answer);
    assert_eq!((ran.len(), ran[0], ran[1]), (3, "cycle-a worker-0", "cycle-b worker-0"));
    assert_eq!(ran[2], "cycle-a worker-1", "the instance in worker-0 waits for this call");
    let answer = host.run(0, "cycle-a", "go", json!(4)).await;
    let stuck = answer.pointer("/next/next/next/next").unwrap();
    assert_eq!(end(stuck), "would-deadlock", "both instances wait: {answer}");

    let alone = cycle().workers(1).start().await;
    let answer = alone.run(0, "cycle-a", "go", json!(2)).await;
    assert_eq!(end(answer.pointer("/next/next").unwrap()), "would-deadlock", "{answer}");
}

#[tokio::test]
async fn a_cycle_through_concurrent_guests_does_not_deadlock() {
    let host = TestHost::with("cycle-a")
        .and("cycle-b")
        .grant("cycle-a", json!({ "rpc": ["cycle-b"] }))
        .grant("cycle-b", json!({ "rpc": ["cycle-a"] }))
        .workers(1)
        .start()
        .await;
    assert_eq!(places(&host.run(0, "cycle-a", "go", json!(10)).await).len(), 11);
}

#[tokio::test]
async fn nested_calls_of_a_module_do_not_count_against_its_concurrency() {
    // More calls than may run at once, and each calls itself four levels deep.
    let host = TestHost::with("deep").workers(1).limit("deep", "concurrency", 2).start().await;
    let dives = (0..24).map(async |_| host.run(0, "deep", "dive", json!(4)).await);
    for dive in join_all(dives).await {
        assert_eq!(dive, json!({ "reached": 4, "end": null }));
    }
}

#[tokio::test]
async fn nested_calls_of_a_module_count_against_nested() {
    let host = |nested: u32| {
        let host = TestHost::with("deep").workers(1).limit("deep", "nested", nested);
        host.limit("deep", "timeout", "1s").start()
    };
    let under = host(3).await.run(0, "deep", "dive", json!(3)).await;
    assert_eq!(under, json!({ "reached": 3, "end": null }));
    let over = host(2).await.call("any", "deep", "dive", "3").await;
    assert!(over.to_string().contains("timeout"), "the third nested call waits until the timeout: {over}");
}

#[tokio::test]
async fn a_blocking_call_goes_to_another_worker_and_the_next_call_need_not() {
    let host = TestHost::with("blocks").start().await;
    assert_eq!(host.status().await["modules"][0]["serial"], false);
    let ended = host.run(0, "blocks", "twice", Value::Null).await;
    assert_eq!(ended["blocked"], r#"{"count":1,"isolate":"worker-1"}"#, "{ended}");
    assert_eq!(end(&ended["then"]), "ok", "the instance is no longer blocked: {ended}");
    let alone = TestHost::with("blocks").workers(1).start().await;
    assert_eq!(alone.run(0, "blocks", "twice", Value::Null).await["blocked"], "would-deadlock");
}

#[tokio::test]
async fn blocking_calls_of_guests_with_synchronous_exports_go_to_another_worker() {
    for module in ["sync-lifted", "handler-sync"] {
        let host = TestHost::with(module).start().await;
        assert_eq!(host.run(0, module, "nested", "/who".into()).await["isolate"], "worker-1", "{module}");
        let alone = TestHost::with(module).workers(1).start().await;
        assert_eq!(alone.call("any", module, "nested", "/who").await["code"], "would-deadlock", "{module}");
    }
}
