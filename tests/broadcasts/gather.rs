//! A gather returns one entry for each worker, in index order, whether the broadcast succeeded or
//! failed.

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, by_worker, ends, eventually};

/// Makes `misbehave` fail in worker 1; the other workers reply `fine`.
fn in_worker_1(how: &str) -> String {
    json!({ "worker": 1, "how": how }).to_string()
}

async fn misbehaving(host: &Started, how: &str) -> Value {
    host.gather("counts", "misbehave", in_worker_1(how)).await.into()
}

#[tokio::test]
async fn a_gather_has_one_entry_for_each_worker() {
    // `spin` crashes when it has used its processor time, which takes longer on a busy machine.
    let host = TestHost::with("counts").workers(3).limit("counts", "cpu", "50ms").limit("counts", "timeout", "4s");
    let host = host.start().await;
    for (how, end) in [("fail", "on-request"), ("trap", "crashed"), ("spin", "crashed"), ("never", "timeout")] {
        let entries = misbehaving(&host, how).await;
        assert_eq!(ends(&entries), by_worker(&["reply", end, "reply"]), "{how}: {entries}");
        assert_eq!(entries[2]["reply"], json!({ "status": 200, "headers": [], "payload": "fine" }), "{how}");
    }
}

#[tokio::test]
async fn a_guest_gets_the_handlers_failure_unchanged() {
    let host = TestHost::waits_for(&["counts"]).start().await;
    let gather = json!({ "module": "counts", "name": "misbehave", "payload": in_worker_1("fail") });
    let entries = host.run(0, "waits", "gather", gather).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "failure"]));
    let failure = &entries[1]["outcome"]["error"]["failure"];
    assert_eq!((&failure["name"], &failure["status"]), (&json!("on-request"), &json!(409)));
}

#[tokio::test]
async fn a_gather_ends_at_the_callers_timeout() {
    // Without `timeoutMs` the caller itself would time out.
    let host = TestHost::waits_for(&["counts"]).limit("waits", "timeout", "15s").limit("counts", "timeout", "1m");
    let host = host.start().await;
    let gather = json!({ "module": "counts", "name": "misbehave", "payload": in_worker_1("never"), "timeoutMs": 1000 });
    let entries = host.run(0, "waits", "gather", gather).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "timeout"]));
}

#[tokio::test]
async fn a_gather_says_which_worker_waits_to_restart() {
    let host = TestHost::with("counts").one_restart().config(json!({ "limits": { "max": { "timeout": "1s" } } }));
    let host = host.limit("counts", "timeout", "1s").start().await;
    for _ in 0..2 {
        assert_eq!(ends(&misbehaving(&host, "trap").await), by_worker(&["reply", "crashed"]));
    }
    eventually("worker-1 restarts", || async { host.slot("counts", 1).await["state"] == "restarting" }).await;
    let entries = misbehaving(&host, "fail").await;
    assert_eq!(ends(&entries), by_worker(&["reply", "timeout"]));
    let detail = entries[1]["error"]["detail"].as_str().unwrap();
    assert!(detail.contains("; counts in worker-1 restarts after a crash, its next instance starts in 3"), "{detail}");
}

#[tokio::test]
async fn a_failed_worker_is_skipped_and_named() {
    let host = TestHost::with("counts").workers(3).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    assert_eq!(ends(&misbehaving(&host, "trap").await), by_worker(&["reply", "crashed", "reply"]));
    eventually("worker-1 has failed", || async { host.slot("counts", 1).await["state"] == "failed" }).await;

    let receipt = host.emit("counts", "append", "x").await;
    assert_eq!((&receipt["accepted"], &receipt["seq"]), (&json!(2), &json!(2)), "{receipt}");
    let skipped = receipt["skipped"].as_array().unwrap();
    assert_eq!((skipped.len(), &skipped[0]["isolate"]), (1, &json!("worker-1")));
    assert!(skipped[0]["reason"].as_str().unwrap().contains("counts has failed in worker-1"), "{skipped:?}");
    assert_eq!(ends(&misbehaving(&host, "fail").await), by_worker(&["reply", "unavailable", "reply"]));
}

#[tokio::test]
async fn a_broadcast_that_no_worker_can_run_is_unavailable() {
    let host = TestHost::with("counts").workers(1).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    host.emit("counts", "misbehave", json!({ "worker": 0, "how": "trap" }).to_string()).await;
    eventually("the module has failed", || async { host.slot("counts", 0).await["state"] == "failed" }).await;
    let refused = host.emit("counts", "append", "x").await;
    assert_eq!((&refused["code"], &refused["status"]), (&json!("unavailable"), &json!(503)), "{refused}");
}

#[tokio::test]
async fn a_serial_guest_gets_would_deadlock_from_itself_and_runs_the_broadcast_afterwards() {
    let host = TestHost::with("serial").workers(3).start().await;
    let entries = host.run(1, "serial", "gather", json!({ "name": "wave" })).await;
    assert_eq!(ends(&entries), by_worker(&["reply", "would-deadlock", "reply"]), "{entries}");
    eventually("the broadcast runs there too", || async { host.ended("serial", 1, "broadcast", "ok").await == 1.0 })
        .await;
}

#[tokio::test]
async fn the_blocking_imports_behave_the_same_in_guests_with_synchronous_exports() {
    for module in ["sync-lifted", "handler-sync"] {
        let host = TestHost::with(module).start().await;
        assert_eq!(host.run(0, module, "gather", "x".into()).await, json!(["would-deadlock", "ok"]), "{module}");
        eventually("the broadcast runs there too", || async { host.ended(module, 0, "broadcast", "ok").await == 1.0 })
            .await;
        assert_eq!(host.run(1, module, "emit", "x".into()).await, json!(2), "{module}");
    }
}
