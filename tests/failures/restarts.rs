//! When a new instance starts after a crash, and when the module is marked failed.

use serde_json::{Value, json};

use super::steps::{assert_names, gate_before};
use crate::harness::{Started, TestHost, eventually};

async fn trap(host: &Started, worker: &str) {
    assert_eq!(host.call(worker, "traps", "trap", "").await["code"], "crashed");
}

#[tokio::test]
async fn the_first_restart_is_immediate_and_the_second_one_backs_off() {
    let host = TestHost::with("traps").one_restart().limit("traps", "timeout", "1s").start().await;
    trap(&host, "worker-0").await;
    assert_eq!(host.count("worker-0", "traps").await, 1);
    trap(&host, "worker-0").await;
    host.until("traps", 0, "state", "restarting").await;
    assert_names(&host.slot("traps", 0).await["reason"], &["unreachable"]);
    assert_eq!(host.metric("fanfare_slot_ready", &["traps", "worker-0"]).await, 0.0);
    for _ in 0..4 {
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok", "the other worker runs the calls");
    }
    let waited = host.call("worker-0", "traps", "ok", "").await;
    assert_eq!((&waited["code"], &waited["status"]), (&json!("timeout"), &json!(504)), "calls to this worker wait");
    let restarts = "no answer by the deadline; traps in worker-0 restarts after a crash, its next instance starts in 3";
    assert_names(&waited["detail"], &[restarts, "unreachable"]);
    assert!(host.log.contains(&["module=traps", restarts]));
    assert_eq!(host.slot("traps", 0).await["state"], "restarting");
}

#[tokio::test]
async fn a_module_that_waits_to_restart_says_for_how_long() {
    let host = TestHost::empty().and_as("traps", "patient").one_restart().workers(1);
    let host = host.limit("patient", "timeout", "4s").limit("patient", "mailbox", 1).start().await;
    let trap = async || assert_eq!(host.call("any", "patient", "trap", "").await["code"], "crashed");
    trap().await;
    assert_eq!(host.count("any", "patient").await, 1);
    trap().await;
    let waits = async || host.slot("patient", 0).await["restartsIn"].as_u64().unwrap_or_default();
    eventually("it waits to restart", || async { waits().await > 3_000_000 }).await;
    let (waited, refused) = tokio::join!(host.get("/api/patient/ok"), async {
        host.until_waiting("patient", 0, 1).await;
        host.get("/api/patient/ok").await
    });
    assert_eq!((waited.status, waited.code(), refused.status), (504, "timeout".to_owned(), 503));
    for (answer, why) in [
        (waited, "no answer by the deadline; "),
        (refused, "1 call already waits for patient in worker-0: limits.mailbox allows no more; "),
    ] {
        let restarts = format!("{why}patient restarts after a crash, its next instance starts in 3");
        assert_names(&answer.json()["detail"], &[&restarts, "unreachable"]);
        assert!(answer.header("retry-after").is_some_and(|wait| wait.parse::<u32>().is_ok_and(|wait| wait > 3_000)));
    }
    assert!(host.log.contains(&["module=patient", "restarts generation", " at once, 1 of at most 10 restarts"]));
    assert!(host.log.contains(&["module=patient", " in 3600.0s, 2 of at most 10 restarts", "unreachable"]));
}

#[tokio::test]
async fn a_swap_forgets_the_crash_of_the_previous_generation() {
    let host = TestHost::with("traps").workers(1).start().await;
    trap(&host, "any").await;
    assert_eq!(host.count("any", "traps").await, 1);
    assert_names(&host.slot("traps", 0).await["reason"], &["unreachable"]);
    host.reload("traps").await;
    assert_names(&host.slot("traps", 0).await["reason"], &["unreachable"]);
    let file = host.folder("traps").join("module.json");
    let mut manifest: Value = serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap();
    manifest["limits"] = json!({ "timeout": "9s" });
    host.put_manifest("traps", &manifest);
    host.reload("traps").await;
    assert_eq!(host.slot("traps", 0).await["reason"], json!(null), "another generation");
}

#[tokio::test]
async fn a_module_is_marked_failed_after_the_allowed_restarts() {
    let host = TestHost::with("traps").and("echo").max_restarts(3).workers(1).start().await;
    for _ in 0..3 {
        trap(&host, "any").await;
        assert_eq!(host.count("any", "traps").await, 1);
    }
    trap(&host, "any").await;
    host.until("traps", 0, "state", "failed").await;
    assert_eq!(host.slot("traps", 0).await["restarts"], 3);
    let answer = host.get("/api/traps/ok").await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable".to_owned()));
    assert_names(&answer.json()["detail"], &["traps", "worker-0", "unreachable", "reload"]);
    let remedy =
        "failed after 3 restarts (isolate.maxRestarts) within 60s (isolate.restartWindow): run `fanfare reload traps`";
    assert!(host.log.contains(&[remedy, "last reason: ", "unreachable", "module=traps"]));
    let reason = host.slot("traps", 0).await["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with(&format!("{remedy}\n")) && reason.contains("unreachable"), "{reason}");
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
}

#[tokio::test]
async fn waiting_calls_fail_when_their_module_is_marked_failed() {
    let gate = gate_before("trap");
    let host = TestHost::with("traps").max_restarts(0).limit("traps", "concurrency", 1).workers(1);
    let host = host.probe(gate.probe()).start().await;
    let behind = async {
        host.until_running("traps", 0, 1).await;
        let open = async {
            host.until_waiting("traps", 0, 1).await;
            gate.open();
        };
        tokio::join!(host.call("any", "traps", "who", ""), open).0
    };
    let (_, waited) = tokio::join!(host.call("any", "traps", "trap", ""), behind);
    assert_eq!((&waited["code"], &waited["status"]), (&json!("unavailable"), &json!(503)), "{waited}");
}
