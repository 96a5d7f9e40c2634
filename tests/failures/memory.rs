//! Instances whose memory grows with each call. The host replaces them before `limits.memory` ends
//! them.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::steps::assert_names;
use crate::harness::{Connection, Started, TestHost, eventually, json_of};

/// `limits.memory` of the guest `snapshot`, which needs a little more than 1 MiB.
const LIMIT: u64 = 4 << 20;

/// The calls that are in flight at once.
const AT_ONCE: u64 = 64;

/// The number of calls that each client makes.
const CALLS: u64 = 100;

fn with_snapshot(module: &str) -> TestHost {
    TestHost::empty().and_as("snapshot", module).limit(module, "memory", LIMIT)
}

/// Calls a route a number of times, one call after the other. Returns the last reply.
async fn repeat(host: &Started, path: &str, body: &str, times: u32) -> Value {
    let mut client = Connection::open(host.http).await;
    let mut last = Value::Null;
    for _ in 0..times {
        let answer = client.send("POST", path, &[], body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        last = serde_json::from_str(answer.text()).unwrap_or_default();
    }
    last
}

async fn replaced(host: &Started, module: &str) -> u64 {
    host.metric("fanfare_replacements_total", &[&format!("module=\"{module}\""), "reason=\"memory\""]).await as u64
}

#[tokio::test]
async fn an_instance_that_leaks_is_replaced_with_its_state_and_no_call_fails() {
    let host = with_snapshot("leaky").start().await;
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let http = host.http;
        clients.spawn(async move {
            let (mut client, mut counts) = (Connection::open(http).await, Vec::new());
            for _ in 0..CALLS {
                let answer = client.send("POST", "/api/leaky/leak", &[], "2").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                let count = answer.json();
                counts.push((count["isolate"].to_string(), count["count"].as_u64().unwrap()));
            }
            counts
        });
    }
    let mut seen = BTreeMap::<String, BTreeSet<u64>>::new();
    for (isolate, count) in clients.join_all().await.into_iter().flatten() {
        assert!(seen.entry(isolate.clone()).or_default().insert(count), "{isolate} counted {count} twice");
    }
    let counted: u64 = seen.values().map(|counts| *counts.last().unwrap()).sum();
    assert_eq!(counted, AT_ONCE * CALLS, "each call counts in the instance that follows");
    let replaced = replaced(&host, "leaky").await;
    assert!(replaced >= 2, "{replaced}");
    assert!(host.log.contains(&["replacing an instance", "limits.memory, 4194304 bytes", "module=leaky"]));
    let mut shown = 0;
    for worker in 0..2 {
        let slot = host.slot("leaky", worker).await;
        assert_eq!((&slot["restarts"], &slot["state"]), (&json!(0), &json!("ready")), "{slot}");
        shown += slot["replaced"].as_u64().unwrap();
        if slot["replaced"] != 0 {
            assert_names(&slot["reason"], &["replaced", "limits.memory"]);
        }
    }
    assert_eq!(shown, replaced);
    eventually("only two instances are left", || async {
        host.metric("fanfare_instance_memory_bytes", &["leaky"]).await < (2 * LIMIT) as f64
    })
    .await;
}

#[tokio::test]
async fn an_instance_without_a_snapshot_is_replaced_too_and_the_log_says_that_its_state_is_lost() {
    let host = TestHost::empty().and_as("allocates", "forgetful").limit("forgetful", "memory", "16MiB").workers(1);
    let host = host.start().await;
    repeat(&host, "/api/forgetful/ok", "", 256).await;
    assert_eq!(json_of(&host.call("any", "forgetful", "eat", "13").await), 13);
    eventually("it is replaced", || async { replaced(&host, "forgetful").await == 1 }).await;
    assert_eq!(json_of(&host.call("any", "forgetful", "eat", "0").await), 0, "its memory is new");
    assert!(host.log.contains(&["replacing an instance", "its state is lost", "`snapshot`", "module=forgetful"]));
}

#[tokio::test]
async fn an_instance_that_needs_most_of_its_memory_is_not_replaced_again_and_again() {
    let host = with_snapshot("keeper").workers(1).start().await;
    repeat(&host, "/api/keeper/look", "", 256).await;
    let mark = (LIMIT / 8 * 7) as f64;
    while host.metric("fanfare_instance_memory_bytes", &["keeper"]).await <= mark {
        repeat(&host, "/api/keeper/keep", "64", 1).await;
    }
    let kept = repeat(&host, "/api/keeper/keep", "128", 1).await;
    eventually("it is replaced", || async { replaced(&host, "keeper").await == 1 }).await;
    // The next instance begins with all that the state needs.
    repeat(&host, "/api/keeper/look", "", 256).await;
    eventually("the log says so", || async { host.log.contains(&["raise limits.memory", "module=keeper"]) }).await;
    repeat(&host, "/api/keeper/leak", "1", 64).await;
    repeat(&host, "/api/keeper/look", "", 256).await;
    assert_eq!(replaced(&host, "keeper").await, 1, "{kept} KiB are kept");
    assert_eq!(repeat(&host, "/api/keeper/keep", "0", 1).await, kept);
    assert_eq!(host.log.lines(&["raise limits.memory", "module=keeper"]).len(), 1);
}

#[tokio::test]
async fn an_instance_whose_state_cannot_be_handed_over_keeps_serving() {
    let host = with_snapshot("rejected").workers(1).manifest("rejected", json!({ "config": { "load": "fails" } }));
    let host = host.start().await;
    let mut calls = 0;
    while !host.log.contains(&["could not replace the instance, so it keeps serving", "not-today", "module=rejected"]) {
        calls += 10;
        let last = repeat(&host, "/api/rejected/leak", "2", 10).await;
        assert_eq!(last["count"], calls, "its state is kept");
    }
    assert_eq!((replaced(&host, "rejected").await, &host.slot("rejected", 0).await["restarts"]), (0, &json!(0)));
}
