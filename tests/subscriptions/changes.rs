//! Subscriptions while generations and instances change.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{EMITTER, GUEST, assert_in_order, numbers, subscribed};
use crate::harness::{Started, TestHost, eventually};

fn counting(deliver: &str) -> TestHost {
    // Enough room, so that nothing is dropped while a swap holds the calls.
    subscribed(json!({ "s": { "event": "t/*", "path": "on", "deliver": deliver, "queue": { "messages": 20_000, "bytes": "32MiB" } } }))
        .limit(GUEST, "timeout", "20s")
        .workers(2)
}

/// Runs `work` while events are emitted. Returns how many were emitted for sure.
async fn emit_during(host: &Started, work: impl Future<Output = ()>) -> u64 {
    let done = AtomicBool::new(false);
    let emit = async {
        let mut count = 0_u64;
        while !done.load(Ordering::Relaxed) {
            let spec = json!({ "type": format!("t/{}", count % 3), "value": count });
            let reply = host.call("worker-0", EMITTER, "emit", spec.to_string()).await;
            assert_eq!(reply["status"], 200, "{reply}");
            count += 1;
        }
        count
    };
    let work = async {
        work.await;
        done.store(true, Ordering::Relaxed);
    };
    tokio::join!(emit, work).0
}

#[tokio::test]
async fn a_subscription_of_other_environments_does_not_exist() {
    let one = |env| json!({ "event": "t", "path": "on", "env": env });
    let subscriptions = json!({ "here": one(json!(["a", "staging"])), "there": one(json!("production")) });
    let host = subscribed(subscriptions).environment("staging").start().await;
    host.emit_event("t", json!(1)).await;
    host.until_handled("here", 1).await;
    assert_eq!(host.all_subscriptions().await.len(), 1);
}

#[tokio::test]
async fn twenty_swaps_under_a_stream_of_events_lose_and_double_nothing() {
    let host = counting("one").start().await;
    let swaps = async {
        for version in 1..=20 {
            host.swap_to_version(version).await;
        }
    };
    let count = emit_during(&host, swaps).await;
    assert!(count > 20, "{count} events");
    let status = host.until_handled("s", count).await;
    assert_eq!((&status["failed"], &status["dropped"], &status["gaps"]), (&json!(0), &json!(0), &json!(0)), "{status}");
    let (first, second) = (host.got(0).await, host.got(1).await);
    assert_in_order(&first);
    assert_in_order(&second);
    assert_eq!(numbers(&[first.clone(), second.clone()].concat()), (0..count).collect::<Vec<_>>());
    let versions: BTreeSet<u64> = first.iter().chain(&second).filter_map(|one| one["version"].as_u64()).collect();
    assert!(versions.len() > 1, "several generations have received events: {versions:?}");
}

#[tokio::test]
async fn swaps_lose_and_double_nothing_in_any_worker() {
    let host = counting("all").start().await;
    let swaps = async {
        for version in 1..=5 {
            host.swap_to_version(version).await;
        }
    };
    let count = emit_during(&host, swaps).await;
    host.until_handled("s", 2 * count).await;
    for worker in 0..2 {
        let got = host.got(worker).await;
        assert_in_order(&got);
        assert_eq!(numbers(&got), (0..count).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_crash_fails_at_most_the_running_message_and_keeps_those_that_wait() {
    let host = counting("one").workers(1).start().await;
    let crashes = async {
        for _ in 0..3 {
            host.call("worker-0", GUEST, "crash", "").await;
            host.until(GUEST, 0, "state", "ready").await;
        }
    };
    let count = emit_during(&host, crashes).await;
    let status = host.until_handled("s", count).await;
    let (delivered, failed) = (status["delivered"].as_u64().unwrap(), status["failed"].as_u64().unwrap());
    assert_eq!(delivered + failed, count, "{status}");
    assert!(failed <= 3, "{status}");
    assert_eq!((&status["dropped"], &status["gaps"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn kills_keep_what_waits() {
    let host = counting("one").start().await;
    let kills = async {
        for immediate in [false, true] {
            let killed = host.admin("POST", "/v1/workers/kill", json!({ "immediate": immediate }).to_string()).await;
            assert_eq!(killed.status, 200, "{}", killed.text());
        }
    };
    // The kill ends calls of the emitter, too.
    let mut emitted = 0_u64;
    tokio::join!(kills, async {
        for n in 0..200 {
            let spec = json!({ "type": "t/0", "value": n });
            let reply = host.call("worker-0", EMITTER, "emit", spec.to_string()).await;
            emitted += u64::from(reply["status"] == 200);
        }
    });
    let status = host.until_handled("s", emitted).await;
    assert_eq!((&status["dropped"], &status["gaps"]), (&json!(0), &json!(0)), "{status}");
    let failed = status["failed"].as_u64().unwrap();
    assert!(failed <= 4, "{status}");
}

#[tokio::test]
async fn a_message_that_waits_runs_the_route_of_the_next_generation() {
    let host = subscribed(json!({ "s": { "event": "*", "path": "waits" } }))
        .limit(GUEST, "timeout", "1s")
        .workers(1)
        .start()
        .await;
    host.emit_event("t", json!(1)).await;
    eventually("the first message runs", || async { host.got(0).await.len() == 1 }).await;
    host.emit_event("t", json!(2)).await;
    // The swap waits for the first message, which ends at its deadline.
    host.rewrite(GUEST, json!({ "subscriptions": { "s": { "event": "*", "path": "other" } } }));
    let swapped = host.reload(GUEST).await;
    assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    let status = host.until_handled("s", 2).await;
    assert_eq!((&status["delivered"], &status["failed"]), (&json!(1), &json!(1)), "{status}");
    let got = host.got(0).await;
    let handlers: Vec<&Value> = got.iter().map(|one| &one["handler"]).collect();
    assert_eq!(handlers, ["waits", "other"], "{got:?}");
}

#[tokio::test]
async fn a_subscription_that_a_swap_removes_ends_and_one_that_it_adds_begins() {
    let host = subscribed(json!({ "old": { "event": "*", "path": "on" } })).workers(1).start().await;
    host.emit_event("t", json!(1)).await;
    host.until_handled("old", 1).await;
    host.rewrite(GUEST, json!({ "subscriptions": { "new": { "event": "*", "path": "other" } } }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    host.emit_event("t", json!(2)).await;
    host.until_handled("new", 1).await;
    let names: Vec<Value> = host.all_subscriptions().await.into_iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["new"]);
    let got = host.got(0).await;
    assert_eq!(got.iter().map(|one| &one["handler"]).collect::<Vec<_>>(), ["on", "other"]);
}
