//! The example modules, as their users call them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::call::IsolateId;
use serde_json::json;

use crate::harness::{Connection, TestHost, eventually};

#[tokio::test]
async fn test_party_reaches_every_worker_and_names_the_one_that_emitted() {
    let host = TestHost::with("test-party").start().await;
    let receipt = host.post("/api/test-party/test/feat/emit", r#"{"n":1}"#).await.json();
    assert_eq!((&receipt["accepted"], &receipt["seq"]), (&json!(2), &json!(1)));

    let entries = host.post("/api/test-party/test/feat/gather", r#"{"n":2}"#).await.json();
    let isolates: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["isolate"].clone()).collect();
    assert_eq!(isolates, ["worker-0", "worker-1"]);
    let own = entries.as_array().unwrap().iter().filter(|entry| entry["reply"]["sameAsCaller"] == true).count();
    assert_eq!(own, 1, "{entries}");

    let seen = host.get("/api/test-party/test/feat/seen").await.json();
    assert_eq!((&seen["seen"], &seen["last"]), (&json!(2), &json!({ "n": 2 })));
}

#[tokio::test]
async fn the_inner_route_of_a_broadcast_is_closed_to_the_outside() {
    let host = TestHost::with("test-party").start().await;
    let answer = host.post("/api/test-party/test/feat/broadcast", "{}").await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_flag_set_through_one_worker_is_there_in_all() {
    let host = TestHost::with("flags").start().await;
    assert_eq!(host.request("PUT", "/api/flags/dark", &[], "true").await.status, 200);
    for worker in ["worker-0", "worker-1"] {
        let answer = host.call(worker, "flags", "dark&method=GET", "").await;
        assert_eq!(answer["payload"], "true", "{worker}");
    }
    assert_eq!(host.get("/api/flags/").await.json(), json!({ "dark": true }));
    assert_eq!(host.get("/api/flags/none").await.status, 404);
}

#[tokio::test]
async fn a_new_instance_of_flags_catches_up_from_another_worker() {
    let armed = Arc::new(AtomicBool::new(false));
    let probe = armed.clone();
    let host = TestHost::with("flags")
        .probe(Arc::new(move |call| {
            let first = call.context.isolate == IsolateId::Worker(0) && probe.swap(false, Ordering::AcqRel);
            assert!(!first, "a panic for the test");
        }))
        .start()
        .await;
    host.request("PUT", "/api/flags/dark", &[], r#"{"on":true}"#).await;
    armed.store(true, Ordering::Release);
    let crashed = host.call("worker-0", "flags", "dark&method=GET", "").await;
    assert_eq!(crashed["code"], "crashed", "{crashed}");
    eventually("worker-0 restarts", || async { host.slot("flags", 0).await["restarts"] == 1 }).await;
    let answer = host.call("worker-0", "flags", "dark&method=GET", "").await;
    assert_eq!(answer["payload"], r#"{"on":true}"#);
}

/// The bindings' own record of a call is freed: 152 bytes a call would be more than this instance may have.
#[tokio::test]
async fn an_instance_that_stays_does_not_grow_with_its_calls() {
    let host = TestHost::with("flags").workers(1).limit("flags", "memory", "4MiB").start().await;
    let mut connection = Connection::open(host.http).await;
    for _ in 0..30_000 {
        assert_eq!(connection.send("GET", "/api/flags/none", &[], "").await.status, 404);
    }
    assert_eq!(host.slot("flags", 0).await["restarts"], 0);
}
