//! Swaps under load: nothing fails, nothing is lost or doubled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use fanfare::tooling::{IsolateId, Trigger};
use serde_json::json;

use super::load::{Load, assert_started_once, recorded};
use crate::harness::{Connection, TestHost, eventually, json_of};

/// The broadcasts that each worker started: sequence number and handler.
type Seen = BTreeMap<IsolateId, Vec<(u64, String)>>;

#[tokio::test]
async fn no_call_fails_and_no_broadcast_is_lost_or_doubled() {
    let seen = Arc::new(Mutex::new(Seen::new()));
    let notes = seen.clone();
    let host = TestHost::with("counts").and("echo").probe(Arc::new(move |call| {
        if let Trigger::Broadcast(broadcast) = &call.trigger {
            let note = (broadcast.seq, call.route.handler.to_string());
            notes.lock().unwrap().entry(call.context.isolate).or_default().push(note);
        }
    }));
    let host = host.start().await;
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = (0..4).map(|_| {
        let (http, stop, answered) = (host.http, stop.clone(), answered.clone());
        tokio::spawn(async move {
            let mut client = Connection::open(http).await;
            while !stop.load(Ordering::Acquire) {
                assert_eq!(client.send("GET", "/api/counts/list", &[], "").await.status, 200);
                answered.fetch_add(1, Ordering::AcqRel);
            }
        })
    });
    let clients: Vec<_> = clients.collect();
    let emitting = async {
        let mut count = 0;
        while !stop.load(Ordering::Acquire) {
            assert_eq!(host.emit("counts", "append", "x").await["accepted"], 2);
            count += 1;
        }
        count
    };
    let reloading = async {
        for round in 0..25 {
            // The handler alternates, so that it identifies the generation.
            let handler = if round % 2 == 0 { "list" } else { "append" };
            let append = json!({ "path": "append", "handler": handler, "middlewares": ["inner"] });
            let list = json!({ "method": "get", "path": "list", "handler": "list" });
            let broadcasts = json!({ "append": { "path": "append" } });
            host.rewrite("counts", json!({ "routes": [append, list], "broadcasts": broadcasts }));
            assert_eq!(host.reload("counts").await["outcome"], "swapped");
        }
        stop.store(true, Ordering::Release);
    };
    let (emitted, ()) = tokio::join!(emitting, reloading);
    for client in clients {
        client.await.unwrap();
    }
    assert!(answered.load(Ordering::Acquire) > 0);
    let last = host.emit("counts", "append", "x").await["seq"].as_u64().unwrap();
    assert_eq!(last, emitted + 1, "each broadcast has a number");
    eventually("the last broadcast has started", || async {
        seen.lock().unwrap().values().all(|notes| notes.last().is_some_and(|(seq, _)| *seq == last))
    })
    .await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    for (isolate, notes) in &*seen {
        let seqs: Vec<u64> = notes.iter().map(|(seq, _)| *seq).collect();
        assert_eq!(seqs, (1..=last).collect::<Vec<_>>(), "{isolate}");
    }
    let mut all = seen.values();
    assert_eq!(all.next(), all.next(), "each broadcast runs in one generation in all workers");
}

#[tokio::test]
async fn every_answered_call_is_in_the_state_that_is_handed_over() {
    let host = TestHost::with("snapshot").start().await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = (0..6).map(|_| {
        let (http, stop) = (host.http, stop.clone());
        tokio::spawn(async move {
            let (mut client, mut answered) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", "/api/snapshot/count", &[], "").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered += 1;
            }
            answered
        })
    });
    let clients: Vec<_> = clients.collect();
    for _ in 0..25 {
        let swapped = host.reload("snapshot").await;
        assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(0)), "{swapped}");
    }
    stop.store(true, Ordering::Release);
    let mut answered = 0;
    for client in clients {
        answered += client.await.unwrap();
    }
    let mut counted = 0;
    for worker in ["worker-0", "worker-1"] {
        counted += json_of(&host.call(worker, "snapshot", "count", "").await)["count"].as_u64().unwrap() - 1;
    }
    assert_eq!(counted, answered);
    assert!(answered > 100, "{answered}");
}

/// Keep-alive connections, new connections, HTTP/2 streams, RPC and broadcasts at once. The swaps
/// alternate between two components, and each loads the state that the other one saved.
#[tokio::test]
async fn swaps_between_two_components_under_load_count_every_call_once() {
    const SWAPS: usize = 60;
    let (host, started) = recorded(TestHost::waits_for(&["snapshot"]));
    // Long timeouts, because calls may wait long on a slow machine.
    let host = host.limit("snapshot", "timeout", "60s").limit("waits", "timeout", "60s");
    let host = host.config(json!({ "swap": { "quiesce": "20s", "timeout": "20s" } })).start().await;
    let load = Load::start(&host).await;
    let components = ["snapshot-next", "snapshot"].map(super::component);
    let mut generations = BTreeSet::new();
    for round in 0..SWAPS {
        host.put("snapshot", "snapshot.wasm", &components[round % 2]);
        let swapped = host.reload("snapshot").await;
        assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(0)), "{swapped}");
        generations.insert(swapped["generation"].as_str().unwrap().to_owned());
    }
    assert_eq!(generations.len(), 2);
    let (answered, emitted) = load.end().await;
    for worker in [0, 1] {
        eventually("all broadcasts have run", || async { host.look(worker).await["heard"] == emitted }).await;
        let look = host.look(worker).await;
        let isolate = format!("worker-{worker}");
        assert_eq!(look["count"], answered[&isolate], "{look} {answered:?}");
        assert_eq!((&look["build"], &look["loaded"]), (&json!("first"), &json!(1)));
        let slot = host.slot("snapshot", worker as usize).await;
        assert_eq!((&slot["restarts"], &slot["leaked"]), (&json!(0), &json!(0)));
    }
    assert_started_once(&started, emitted).await;
    assert!(answered.values().sum::<u64>() > 500 && emitted > 50, "{answered:?} {emitted}");
    assert_eq!(host.metric("fanfare_calls_total", &["module=\"snapshot\""]).await, {
        host.metric("fanfare_calls_total", &["module=\"snapshot\"", "outcome=\"ok\""]).await
    });
}
