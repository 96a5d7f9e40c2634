//! Runs that wait in a worker whose instance does not start again soon.

use fanfare::tooling::{IsolateId, Trigger};
use serde_json::{Value, json};

use super::{assert_every_multiple_once, scheduled};
use crate::harness::{Gate, eventually, json_of};

const INTERVAL: u64 = 40;

/// Crashes worker 0 for the second time while runs wait there, so that its next start is as far
/// away as `isolate` says. Asserts that the runs that wait take place in the other worker, each
/// once.
async fn assert_moved(isolate: Value, state: &str) {
    let gate = Gate::before(|call| {
        let crashes = matches!(&call.trigger, Trigger::Schedule(run) if &*run.name == "second");
        crashes && call.context.isolate == IsolateId::Worker(0)
    });
    let crash = json!({ "path": "tick", "interval": "1h", "disable": true, "data": { "how": "traps" } });
    let by_hand = json!({ "path": "tick", "interval": "1h", "disable": true });
    let due = json!({ "path": "tick", "interval": INTERVAL, "overlap": "allow" });
    let host = scheduled(json!({ "first": crash, "second": crash, "by-hand": by_hand, "due": due }))
        .limit("schedules", "concurrency", 1)
        .config(json!({ "isolate": isolate }))
        .probe(gate.probe())
        .start()
        .await;
    assert_eq!(host.run_by_hand("name=first", "").await["code"], "crashed");
    host.until_restarted("schedules", 0, 1).await;
    host.until("schedules", 0, "state", "ready").await;

    let ask = |name: &str| host.asking(format!("/v1/schedules/run?module=schedules&name={name}"), "");
    let crash = ask("second");
    eventually("worker 0 is busy", || async { gate.reached() == 1 }).await;
    let by_hand = ask("by-hand");
    eventually("a due run and the one by hand wait", || async {
        let waiting = host.metric("fanfare_mailbox_calls", &["isolate=\"worker-0\""]).await;
        waiting >= 2.0 && host.schedule("due").await["running"].as_u64() >= Some(1)
    })
    .await;
    gate.open();
    assert_eq!(crash.await.unwrap()["code"], "crashed");
    let reply = by_hand.await.unwrap();
    assert_eq!((&reply["status"], &json_of(&reply)["isolate"]), (&json!(200), &json!("worker-1")), "{reply}");

    eventually("the runs that waited have ended", || async { host.schedule("due").await["running"] == 0 }).await;
    host.until("schedules", 0, "state", state).await;
    let status = host.schedule("due").await;
    let mut runs = host.ended_runs().await;
    runs.retain(|run| run["key"] == "schedules:due");
    assert!(runs.iter().all(|run| run["success"] == true), "{runs:?}");
    let not_run = status["missed"].as_u64().unwrap() + status["skipped"].as_u64().unwrap();
    assert_every_multiple_once(&runs, INTERVAL, not_run);
}

#[tokio::test]
async fn runs_that_wait_for_a_restart_move_to_a_worker_that_is_ready() {
    assert_moved(json!({ "restartBackoff": "1h", "restartBackoffMax": "1h" }), "restarting").await;
}

#[tokio::test]
async fn runs_that_wait_where_the_module_fails_for_good_move_to_a_worker_that_is_ready() {
    assert_moved(json!({ "maxRestarts": 1 }), "failed").await;
}
