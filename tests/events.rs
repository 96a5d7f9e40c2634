//! Host events, as the operator reads them.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::tooling::Trigger;
use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually};

mod stream;

impl Started {
    /// All kept events.
    async fn events(&self) -> Vec<Value> {
        self.admin("GET", "/v1/events?follow=false", "").await.json().as_array().unwrap().clone()
    }

    /// The types of all kept events.
    async fn event_types(&self) -> Vec<String> {
        self.events().await.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The kept events of this type, without number and time.
    pub async fn events_of(&self, kind: &str) -> Vec<Value> {
        let of_kind = |mut event: Value| {
            let fields = event.as_object_mut().unwrap();
            fields.remove("number");
            fields.remove("time");
            (fields.remove("type") == Some(json!(kind))).then_some(event)
        };
        self.events().await.into_iter().filter_map(of_kind).collect()
    }
}

#[tokio::test]
async fn a_start_raises_its_events_in_order() {
    let host = TestHost::with("echo").start().await;
    let events = host.events().await;
    let expected = [
        "brokerStart",
        "workerClusterStart",
        "workerStart",
        "workerStart",
        "moduleLoaded",
        "workerClusterReady",
        "hostReady",
    ];
    assert_eq!(host.event_types().await, expected);
    let numbers: Vec<_> = events.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5, 6, 7]);
    assert!(events.is_sorted_by_key(|event| event["time"].as_u64().unwrap()));
    let pid = std::process::id();
    let start = |id| json!({ "id": id, "pid": pid, "respawn": false });
    assert_eq!(host.events_of("workerStart").await, [start(0), start(1)]);
    assert_eq!(host.events_of("workerClusterReady").await, [json!({ "pid": pid, "childProcess": null })]);
    assert_eq!(host.events_of("hostReady").await, [json!({ "pid": pid, "workers": 2, "brokers": 1 })]);
    let generation = host.generations("echo").await.remove(0);
    assert_eq!(host.events_of("moduleLoaded").await, [json!({ "module": "echo", "generation": generation })]);
}

#[tokio::test]
async fn brokers_start_before_the_workers() {
    let host = TestHost::empty().brokers(1).workers(1).start().await;
    let types = host.event_types().await;
    assert_eq!(types, ["brokerStart", "workerClusterStart", "workerStart", "workerClusterReady", "hostReady"]);
}

#[tokio::test]
async fn reloads_raise_whether_they_were_committed_or_rejected() {
    let host = TestHost::with("echo").start().await;
    let old = host.generations("echo").await.remove(0);
    host.put_manifest("echo", &json!({ "component": "echo.wasm", "routes": [{ "path": "new", "handler": "who" }] }));
    let reloaded = host.operate("modules/echo/reload").await;
    let swap = json!({ "module": "echo", "from": old, "to": reloaded["generation"] });
    assert_eq!(
        (host.events_of("swapStarted").await, host.events_of("swapCommitted").await),
        (vec![swap.clone()], vec![swap])
    );

    host.put_manifest("echo", &json!({ "component": "missing.wasm" }));
    host.operate("modules/echo/reload").await;
    let rejected = host.events_of("swapRejected").await.remove(0);
    assert_eq!((&rejected["module"], &rejected["from"]), (&json!("echo"), &reloaded["generation"]));
    assert!(rejected["reason"].as_str().unwrap().contains("missing.wasm"), "{rejected}");

    let back = host.operate("modules/echo/rollback").await;
    let rolled_back = host.events_of("swapRolledBack").await.remove(0);
    assert_eq!((&rolled_back["from"], &rolled_back["to"]), (&back["from"], &old), "{rolled_back}");
    assert_eq!(rolled_back["reason"], "the operator asked for the rollback");

    fs::remove_dir_all(host.folder("echo")).unwrap();
    host.operate("modules/echo/reload").await;
    assert_eq!(host.events_of("moduleRemoved").await, [json!({ "module": "echo", "generation": old })]);
}

#[tokio::test]
async fn a_module_that_is_rejected_at_the_start_raises_why() {
    let host = TestHost::empty().file("modules/broken/module.json", r#"{ "component": 1 }"#).start().await;
    let rejected = host.events_of("swapRejected").await.remove(0);
    assert_eq!((&rejected["module"], &rejected["from"]), (&json!("broken"), &Value::Null));
    assert!(rejected["reason"].as_str().unwrap().contains("component"), "{rejected}");
}

#[tokio::test]
async fn a_canary_raises_its_start_and_its_end() {
    let host = TestHost::with("echo").start().await;
    let old = host.generations("echo").await.remove(0);
    host.put_manifest("echo", &crate::reload::canary::canary_manifest("new", "200ms", 0));
    let promoted = host.operate("modules/echo/reload").await;
    let (new, started) = (&promoted["generation"], host.events_of("canaryStarted").await);
    assert_eq!(started, [json!({ "module": "echo", "from": old, "to": new, "workers": [0] })]);
    let ended = |promoted| json!({ "module": "echo", "generation": new, "promoted": promoted });
    assert_eq!(host.events_of("canaryEnded").await, [ended(true)]);
    assert_eq!(host.events_of("swapCommitted").await, [json!({ "module": "echo", "from": old, "to": new })]);
}

#[tokio::test]
async fn a_canary_that_fails_raises_that_it_was_rolled_back() {
    let host = TestHost::with("echo").start().await;
    let old = host.generations("echo").await.remove(0);
    host.put_manifest("echo", &crate::reload::canary::canary_manifest("new", "1h", 0));
    let reload = host.start_canary("echo").await;
    let new = host.generations("echo").await.remove(0);
    host.fail(0, "echo").await;
    reload.await.unwrap().unwrap_err();
    assert_eq!(
        host.events_of("canaryEnded").await,
        [json!({ "module": "echo", "generation": new, "promoted": false })]
    );
    let rolled_back = host.events_of("swapRolledBack").await.remove(0);
    assert_eq!((&rolled_back["from"], &rolled_back["to"]), (&new, &old), "{rolled_back}");
    assert_eq!(host.events_of("swapCommitted").await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_canary_that_cannot_be_rolled_back_raises_fail_and_no_rollback() {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = broken.clone();
    let host = TestHost::with("snapshot").probe(Arc::new(move |call| {
        let starts = matches!(call.trigger, Trigger::Startup { .. });
        assert!(!(starts && breaks.load(Ordering::Acquire)), "the next instance does not start");
    }));
    let host = host.start().await;
    let mut manifest: Value =
        serde_json::from_slice(&fs::read(host.folder("snapshot").join("module.json")).unwrap()).unwrap();
    manifest["rollout"] = json!({ "canary": 1, "for": "1h", "maxFailures": 0 });
    host.put_manifest("snapshot", &manifest);
    let reload = host.start_canary("snapshot").await;
    broken.store(true, Ordering::Release);
    // Another change of the folder ends the canary.
    manifest["rollout"]["for"] = json!("2h");
    host.put_manifest("snapshot", &manifest);
    host.operate("modules/snapshot/reload").await;
    let error = reload.await.unwrap().unwrap_err().to_string();
    let says = "the canary ended: another reload or a rollback ended the canary, and could not be rolled back: ";
    assert!(error.starts_with(says) && error.contains("it still runs in worker-0"), "{error}");
    let ended = host.events_of("canaryEnded").await;
    assert_eq!((ended.len(), &ended[0]["promoted"]), (1, &json!(false)));
    assert_eq!(host.events_of("swapRolledBack").await, [] as [Value; 0]);
    let says = |fail: &Value| fail["message"].as_str().unwrap().starts_with("could not roll back ");
    let fail = host.events_of("fail").await.into_iter().find(says).expect("a fail");
    assert!(fail["message"].as_str().unwrap().contains("the canary still runs in worker-0: "), "{fail}");
    assert_eq!(fail["origin"], json!({ "type": "Master", "module": "snapshot" }));
}

#[tokio::test]
async fn a_crash_raises_the_failure_the_restart_and_the_end_of_restarts() {
    let host = TestHost::with("traps").max_restarts(1).start().await;
    for state in ["ready", "failed"] {
        host.call("worker-1", "traps", "trap", "").await;
        eventually("the crash is noticed", || async {
            let slot = host.slot("traps", 1).await;
            slot["restarts"] == 1 && slot["state"] == state
        })
        .await;
    }
    eventually("the event", || async { host.events_of("moduleFailed").await.len() == 1 }).await;
    for fail in host.events_of("fail").await {
        assert_eq!(fail["origin"], json!({ "type": "Worker", "id": 1, "module": "traps" }));
        assert!(fail["message"].as_str().unwrap().contains("unreachable"), "{fail}");
    }
    for (kind, count) in [("fail", 2), ("instanceRestarted", 1), ("moduleFailed", 1)] {
        let events = host.events_of(kind).await;
        assert_eq!(events.len(), count, "{kind}: {events:?}");
    }
    let failed = host.events_of("moduleFailed").await.remove(0);
    assert_eq!((&failed["module"], &failed["isolate"]), (&json!("traps"), &json!("worker-1")));
}

#[tokio::test]
async fn failures_are_not_raised_when_they_are_switched_off() {
    let host = TestHost::with("traps").config(json!({ "master": { "propagateErrors": false } })).start().await;
    host.call("worker-0", "traps", "trap", "").await;
    eventually("the instance restarts", || async { !host.events_of("instanceRestarted").await.is_empty() }).await;
    assert_eq!(host.events_of("fail").await, [] as [Value; 0]);
}

#[tokio::test]
async fn metrics_count_the_events() {
    let host = TestHost::empty().workers(1).start().await;
    assert_eq!(host.metric("fanfare_host_events_total", &[]).await, host.events().await.len() as f64);
}
