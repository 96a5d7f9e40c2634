//! Deadlines of nested calls, and callers that disconnect.

use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::harness::{Started, TestHost, eventually, json_of};

/// Lets `waits` call `echo/context` with this timeout, and returns the time left there in
/// milliseconds.
async fn left(host: TestHost, timeout_ms: Option<u64>) -> u64 {
    let host = host.start().await;
    let body = json!({ "route": "echo/context", "timeoutMs": timeout_ms });
    let nested = host.post("/api/waits/nested", body.to_string()).await.json();
    json_of(&nested["ok"])["deadlineMs"].as_u64().unwrap()
}

#[tokio::test]
async fn a_nested_call_has_the_smallest_timeout_of_its_own_its_caller_and_its_target() {
    let minute = |host: TestHost, module| host.limit(module, "timeout", "60s");
    let waits = || TestHost::waits_for(&["echo"]);
    let caller = waits().limit("waits", "timeout", "20s");
    let of_caller = left(minute(caller, "echo"), Some(50_000)).await;
    assert!((10_000..=20_000).contains(&of_caller), "the caller's: {of_caller}");

    let own = left(minute(minute(waits(), "waits"), "echo"), Some(20_000)).await;
    assert!((10_000..=20_000).contains(&own), "its own: {own}");

    let target = left(minute(waits(), "waits").limit("echo", "timeout", "20s"), None).await;
    assert!((10_000..=20_000).contains(&target), "the target's: {target}");
}

/// Lets `waits` in worker 0 call `hold` in worker 1, with this timeout.
async fn wait_for_worker_1(host: &Started, timeout_ms: Option<u64>) -> Value {
    let body = json!({ "route": "/hold", "target": { "worker": 1 }, "timeoutMs": timeout_ms });
    host.call("worker-0", "waits", "nested", body.to_string()).await
}

#[tokio::test]
async fn an_import_returns_timeout_early_enough_for_the_guest_to_continue() {
    let host = TestHost::waits_for(&[]).start().await;
    let ended = wait_for_worker_1(&host, Some(50)).await;
    assert_eq!(json_of(&ended)["error"]["kind"], "timeout", "{ended}");
}

#[tokio::test]
async fn an_import_returns_at_the_deadline_of_its_call() {
    let host =
        TestHost::waits_for(&[]).limit("waits", "timeout", "100ms").limit("waits", "abandonAfter", "10s").start().await;
    let ended = wait_for_worker_1(&host, None).await;
    // The call and its import have the same deadline, so the guest may still reply in time.
    assert!(ended["code"] == "timeout" || json_of(&ended)["error"]["kind"] == "timeout", "{ended}");
    host.until_running("waits", 0, 0).await;
    let slot = host.slot("waits", 0).await;
    assert_eq!((&slot["leaked"], &slot["restarts"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn a_gather_returns_at_the_deadline_of_its_call() {
    let host = TestHost::waits_for(&["counts"]).limit("waits", "timeout", "60s").limit("waits", "abandonAfter", "60s");
    let host = host.limit("counts", "timeout", "60s").start().await;
    let never = json!({ "worker": 1, "how": "never" });
    let gather = json!({ "module": "counts", "name": "misbehave", "payload": never });
    // The call that gathers has less time than its module allows.
    let ended = host.nested(0, json!({ "route": "/gather", "payload": gather, "timeoutMs": 500 })).await;
    assert!(ended.to_string().contains("timeout"), "{ended}");
    host.until_running("waits", 0, 0).await;
}

#[tokio::test]
async fn a_call_whose_deadline_passes_while_it_waits_is_not_started() {
    // A broadcast releases the running calls, because it needs no place among the calls.
    let release = json!({ "broadcasts": { "release": { "path": "release" } } });
    let host = TestHost::waits_for(&[]).manifest("waits", release).workers(1).limit("waits", "concurrency", 2);
    let host = host.limit("waits", "timeout", "500ms").limit("waits", "abandonAfter", "60s").start().await;
    let hold = || host.call("any", "waits", "hold", "");
    let late = async {
        host.until_running("waits", 0, 2).await;
        let late = host.call("any", "waits", "who", "").await;
        host.emit("waits", "release", "").await;
        late
    };
    let (_, _, late) = tokio::join!(hold(), hold(), late);
    assert_eq!(late["code"], "timeout");
    host.until_waiting("waits", 0, 0).await;
    assert_eq!(host.count("any", "waits").await, 1, "the late call has not run");
}

#[tokio::test]
async fn a_client_that_disconnects_does_not_cancel_its_call() {
    let host = TestHost::waits_for(&[]).workers(1).start().await;
    let mut client = TcpStream::connect(host.http).await.unwrap();
    client.write_all(b"POST /api/waits/hold HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    host.until_running("waits", 0, 1).await;
    drop(client);
    // When a later client has its response, the host has seen that this one disconnected.
    assert_eq!(host.get("/api/waits/ok").await.text(), "ok");
    assert_eq!(host.slot("waits", 0).await["inFlight"], 1);
    assert_eq!(host.call("any", "waits", "release", "").await["payload"], "1");
    eventually("both calls succeed", || async {
        host.metric("fanfare_calls_total", &["waits", "http", "\"ok\""]).await == 2.0
    })
    .await;
    assert_eq!(host.slot("waits", 0).await["restarts"], 0);
}
