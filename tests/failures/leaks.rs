//! Calls that continue past their deadline, and guests that no longer respond.

use futures_util::future::join_all;
use serde_json::json;

use super::steps::assert_names;
use crate::harness::{Started, TestHost, json_of};

/// Sets short limits for calls of a module: they time out and leak soon.
fn impatient(module: &str, host: TestHost) -> TestHost {
    let (timeout, grace) = ("500ms", "50ms");
    host.workers(1).limit(module, "timeout", timeout).limit(module, "abandonAfter", grace)
}

async fn assert_times_out(host: &Started, path: &str, body: &str) {
    let answer = host.post(path, body).await;
    assert_eq!((answer.status, answer.code()), (504, "timeout".to_owned()), "{}", answer.text());
    assert_names(&answer.json()["detail"], &["no answer by the deadline"]);
}

#[tokio::test]
async fn a_handler_that_never_answers_is_a_504_and_leaks_its_call() {
    let host = impatient("never", TestHost::with("never")).start().await;
    assert_times_out(&host, "/api/never/never", "").await;
    host.until("never", 0, "leaked", 1).await;
    assert_eq!(host.metric("fanfare_calls_leaked", &["never"]).await, 1.0);
    assert_eq!(host.metric("fanfare_calls_total", &["never", "timeout"]).await, 1.0);
    assert_eq!(host.get("/api/never/ok").await.text(), "ok", "the instance keeps serving");
    assert_eq!(host.slot("never", 0).await["restarts"], 0);
}

#[tokio::test]
async fn an_instance_with_too_many_leaked_calls_is_replaced() {
    let host = impatient("never", TestHost::with("never")).limit("never", "maxLeaked", 2).start().await;
    assert_eq!((host.count("any", "never").await, host.count("any", "never").await), (1, 2));
    for _ in 0..3 {
        assert_times_out(&host, "/api/never/never", "").await;
    }
    host.until_restarted("never", 0, 1).await;
    assert_eq!(host.count("any", "never").await, 1, "its memory is new");
    assert!(host.log.contains(&["replacing an instance", "limits.maxLeaked", "module=never"]));
    host.until("never", 0, "leaked", 0).await;
    host.until_running("never", 0, 0).await;
}

#[tokio::test]
async fn an_instance_that_replaces_a_leaky_one_gets_its_state() {
    let host = impatient("snapshot", TestHost::with("snapshot")).limit("snapshot", "maxLeaked", 1).start().await;
    for count in 1..=3 {
        assert_eq!(json_of(&host.call("any", "snapshot", "count", "").await)["count"], count);
    }
    for _ in 0..2 {
        assert_times_out(&host, "/api/snapshot/hold", "").await;
    }
    host.until_restarted("snapshot", 0, 1).await;
    let counted = json_of(&host.call("any", "snapshot", "count", "").await);
    assert_eq!(counted["count"], 4, "{counted}");
    host.until("snapshot", 0, "leaked", 0).await;
}

#[tokio::test]
async fn a_leaked_call_that_ends_no_longer_counts() {
    let host = impatient("waits", TestHost::waits_for(&[])).start().await;
    assert_times_out(&host, "/api/waits/hold", "").await;
    host.until("waits", 0, "leaked", 1).await;
    assert_eq!(host.call("any", "waits", "release", "").await["payload"], "1");
    host.until("waits", 0, "leaked", 0).await;
    assert_eq!(host.slot("waits", 0).await["restarts"], 0);
}

#[tokio::test]
async fn a_call_past_its_deadline_keeps_its_place() {
    let host =
        TestHost::with("never").workers(1).limit("never", "timeout", "500ms").limit("never", "abandonAfter", "60s");
    let host = host.limit("never", "concurrency", 2).start().await;
    assert_times_out(&host, "/api/never/never", "").await;
    assert_times_out(&host, "/api/never/never", "").await;
    // The two calls still use both places, so this call waits until its own deadline.
    assert_times_out(&host, "/api/never/who", "").await;
    assert_eq!(host.slot("never", 0).await["restarts"], 0);
}

/// Asserts that the instance was replaced once, and that the log and the status name this reason.
async fn assert_replaced(host: &Started, module: &str, why: &str) {
    host.until_restarted(module, 0, 1).await;
    assert_names(&host.slot(module, 0).await["reason"], &["replaced", why]);
    assert!(host.log.contains(&["replacing an instance", why, &format!("module={module}")]));
    host.until(module, 0, "leaked", 0).await;
}

#[tokio::test]
async fn a_serial_instance_is_replaced_when_its_only_place_has_leaked() {
    let host = impatient("serial", TestHost::with("serial")).start().await;
    assert_eq!(host.count("any", "serial").await, 1);
    assert_times_out(&host, "/api/serial/hold", "").await;
    assert_replaced(&host, "serial", "the only place of a serial module").await;
    assert_eq!(host.count("any", "serial").await, 1, "its memory is new");
}

#[tokio::test]
async fn an_instance_is_replaced_when_leaked_calls_hold_every_place() {
    let host = impatient("never", TestHost::with("never")).limit("never", "concurrency", 2).start().await;
    assert_times_out(&host, "/api/never/never", "").await;
    host.until("never", 0, "leaked", 1).await;
    assert_eq!(host.slot("never", 0).await["restarts"], 0, "one place is left");
    assert_times_out(&host, "/api/never/never", "").await;
    assert_replaced(&host, "never", "limits.concurrency").await;
    assert_eq!(host.get("/api/never/ok").await.text(), "ok");
}

#[tokio::test]
async fn an_instance_is_replaced_when_hung_calls_to_itself_hold_every_nested_place() {
    let host = impatient("waits", TestHost::waits_for(&[])).limit("waits", "timeout", "2s");
    // On a busy machine the calls above count as leaked for a moment, too.
    let host = host.limit("waits", "maxLeaked", 64).start().await;
    let body = json!({ "route": "/hold" }).to_string();
    let hang = async || {
        let hung = host.call("any", "waits", "nested", body.clone()).await;
        assert!(hung.to_string().contains("timeout"), "{hung}");
    };
    join_all((0..16).map(|_| hang())).await;
    assert_replaced(&host, "waits", "limits.nested").await;
    assert_eq!(host.nested(0, json!({ "route": "/ok" })).await["ok"]["payload"], "ok");
}

#[tokio::test]
async fn a_guest_that_blocks_its_store_past_a_deadline_is_dropped() {
    let host = impatient("waits", TestHost::waits_for(&["echo"])).start().await;
    assert_eq!(host.count("any", "waits").await, 1);
    assert_times_out(&host, "/api/waits/block", "3600000").await;
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "other modules keep serving");
    host.until_restarted("waits", 0, 1).await;
    assert_names(&host.slot("waits", 0).await["reason"], &["the guest stopped responding after a deadline"]);
    host.until("waits", 0, "state", "ready").await;
    assert_eq!(host.count("any", "waits").await, 1);
    host.until("waits", 0, "leaked", 0).await;
}
