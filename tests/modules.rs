//! The example modules, called as their users call them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fanfare::tooling::IsolateId;
use serde_json::json;

use crate::harness::{Connection, TestHost, eventually};

#[tokio::test]
async fn a_broadcast_of_test_party_reaches_every_worker_and_marks_the_caller() {
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
async fn the_inner_route_of_a_broadcast_is_forbidden_over_http() {
    let host = TestHost::with("test-party").start().await;
    let answer = host.post("/api/test-party/test/feat/broadcast", "{}").await;
    assert_eq!((answer.status, answer.code()), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_flag_that_is_set_in_one_worker_is_set_in_all() {
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
async fn a_new_instance_of_flags_gets_the_flags_from_another_worker() {
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

/// The bindings free their record of each call. A leak of 152 bytes per call would exceed the
/// memory limit of this instance.
#[tokio::test]
async fn an_instance_does_not_grow_with_its_calls() {
    let host = TestHost::with("flags").workers(1).limit("flags", "memory", "4MiB").start().await;
    let mut connection = Connection::open(host.http).await;
    for _ in 0..30_000 {
        assert_eq!(connection.send("GET", "/api/flags/none", &[], "").await.status, 404);
    }
    assert_eq!(host.slot("flags", 0).await["restarts"], 0);
}

/// The counts of the workers add up to the number of acknowledged visits, after several swaps.
#[tokio::test]
async fn counter_loses_no_visit_over_swaps() {
    let host = TestHost::with("counter").start().await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = (1..=4).map(|more| {
        let (http, stop, answered) = (host.http, stop.clone(), answered.clone());
        tokio::spawn(async move {
            let (mut client, mut added) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", "/api/counter/visits", &[], more.to_string()).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                added += more;
                answered.fetch_add(1, Ordering::AcqRel);
            }
            added
        })
    });
    let clients: Vec<_> = clients.collect();
    for round in 1..=5 {
        let so_far = answered.load(Ordering::Acquire);
        eventually("calls between swaps", || async { answered.load(Ordering::Acquire) >= so_far + 20 }).await;
        let swapped = host.admin("POST", "/v1/modules/counter/reload", "").await.json();
        assert_eq!(swapped["outcome"], "swapped", "{round}: {swapped}");
    }
    stop.store(true, Ordering::Release);
    let mut added: u64 = 0;
    for client in clients {
        added += client.await.unwrap();
    }
    let total = host.get("/api/counter/visits").await.json();
    assert_eq!(total["total"], json!(added), "{total}");
    let workers: Vec<u64> =
        total["workers"].as_array().unwrap().iter().map(|worker| worker["count"].as_u64().unwrap()).collect();
    assert!(workers.len() == 2 && workers.iter().all(|count| *count > 0), "both workers have counted: {total}");
    assert_eq!(host.get("/api/counter/").await.json(), json!({ "visits": added }));
    assert_eq!(host.post("/api/counter/inner/counts", "").await.status, 403);
}

/// Every worker has the value of the last acknowledged `PUT`, after several swaps.
#[tokio::test]
async fn flags_lose_no_value_over_swaps() {
    let host = TestHost::with("flags").start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let writer = |name: &'static str| {
        let (http, stop) = (host.http, stop.clone());
        tokio::spawn(async move {
            let (mut client, mut last) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let url = format!("/api/flags/{name}");
                let put = client.send("PUT", &url, &[], (last + 1).to_string()).await;
                assert_eq!(put.status, 200, "{}", put.text());
                last += 1;
                let got = client.send("GET", &url, &[], "").await;
                assert_eq!((got.status, got.text()), (200, last.to_string().as_str()));
            }
            last
        })
    };
    let writers = ["one", "two"].map(|name| (name, writer(name)));
    for _ in 0..10 {
        let swapped = host.admin("POST", "/v1/modules/flags/reload", "").await.json();
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }
    stop.store(true, Ordering::Release);
    for (name, writer) in writers {
        let last = writer.await.unwrap();
        assert!(last > 0);
        for worker in ["worker-0", "worker-1"] {
            let answer = host.call(worker, "flags", &format!("{name}&method=GET"), "").await;
            assert_eq!(answer["payload"], last.to_string(), "{worker}");
        }
    }
}
