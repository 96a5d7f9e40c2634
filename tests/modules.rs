//! The example modules, as their users call them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use fanfare::tooling::IsolateId;
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

/// The sum of what the clients were answered is what the workers have, however often the module was renewed meanwhile.
#[tokio::test]
async fn totals_of_counter_lose_nothing_over_swaps() {
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
    assert!(workers.len() == 2 && workers.iter().all(|count| *count > 0), "both have counted: {total}");
    assert_eq!(host.get("/api/counter/").await.json(), json!({ "visits": added }));
    assert_eq!(host.post("/api/counter/inner/counts", "").await.status, 403);
}

/// What a PUT was answered for is there in every worker, however often the module was renewed meanwhile.
#[tokio::test]
async fn flags_keep_over_swaps() {
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
