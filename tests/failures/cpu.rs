//! Handlers that use too much processor time.

use serde_json::json;

use super::steps::assert_names;
use crate::harness::{Log, Started, TestHost};

/// Starts a host with one worker, `echo`, and the guest `loops` with this limit of processor time.
async fn one_worker(module: &str, cpu: &str) -> Started {
    TestHost::empty().and_as("loops", module).limit(module, "cpu", cpu).and("echo").workers(1).start().await
}

#[tokio::test]
async fn a_guest_that_spins_is_interrupted() {
    let host = one_worker("spinner", "50ms").await;
    let answer = host.post("/api/spinner/spin", "").await;
    assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()));
    assert_names(&answer.json()["detail"], &["spinner", "`spin`", "limits.cpu, 50ms"]);
    assert!(Log::capture().contains(&["the instance crashed", "limits.cpu", "spinner"]));
    assert_eq!(host.get("/api/spinner/ok").await.text(), "ok");
}

#[tokio::test]
async fn the_time_of_host_functions_is_charged_to_the_guest() {
    let host = TestHost::with("hostile").and("echo").limit("hostile", "cpu", "200ms").workers(1).start().await;
    let spins = async {
        let answer = host.post("/api/hostile/random", r#"{ "mib": 1 }"#).await;
        assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()));
        assert_names(&answer.json()["detail"], &["`random`", "limits.cpu, 200ms"]);
    };
    let beside = async {
        host.until_running("hostile", 0, 1).await;
        assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
    };
    tokio::join!(spins, beside);
    // The host rejects a request for random bytes that would block the thread for long.
    let answer = host.post("/api/hostile/random", r#"{ "mib": 60 }"#).await;
    assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()));
    assert!(!answer.text().contains("limits.cpu"), "{}", answer.text());
}

#[tokio::test]
async fn other_modules_on_the_worker_answer_while_a_guest_spins() {
    let host = one_worker("loops", "1s").await;
    let beside = async {
        host.until_running("loops", 0, 1).await;
        for _ in 0..5 {
            assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
        }
        host.slot("loops", 0).await["inFlight"].clone()
    };
    let (spun, in_flight) = tokio::join!(host.post("/api/loops/spin", ""), beside);
    assert_eq!(in_flight, 1, "the guest still spins when the others have been served");
    assert_eq!(spun.code(), "crashed");
}

#[tokio::test]
async fn every_call_has_its_own_budget_of_processor_time() {
    let host = one_worker("loops", "200ms").await;
    for _ in 0..8 {
        assert_eq!(host.post("/api/loops/busy", "60").await.status, 200);
    }
    assert_eq!(host.slot("loops", 0).await["restarts"], 0);
}

#[tokio::test]
async fn work_after_a_reply_is_not_charged_to_a_later_call() {
    let host = one_worker("loops", "200ms").await;
    for _ in 0..3 {
        assert_eq!(host.post("/api/loops/busy-after", "150").await.status, 200);
    }
    assert_eq!(host.get("/api/loops/ok").await.text(), "ok");
    assert_eq!(host.slot("loops", 0).await["restarts"], 0);
}

#[tokio::test]
async fn replies_that_arrive_late_cost_no_processor_time() {
    let host = TestHost::waits_for(&["echo"]).limit("waits", "cpu", "10ms").workers(1).start().await;
    let wanted = json!({ "route": "waits/slow", "payload": "30" }).to_string();
    for _ in 0..10 {
        let answer = host.post("/api/waits/nested", wanted.clone()).await;
        assert!(answer.text().contains("ok"), "{}", answer.text());
    }
    assert_eq!(host.slot("waits", 0).await["restarts"], 0);
}

/// The body of a call that computes and then waits for these numbers of ms, `times` times.
fn naps(times: u32, compute: u32, wait: u32) -> String {
    json!([times, compute, wait]).to_string()
}

/// In each wait, a tick of 10 ms passes.
#[tokio::test]
async fn a_call_that_waits_hundreds_of_times_pays_only_for_what_it_computes() {
    let host = TestHost::empty().and_as("loops", "naps").workers(1).start().await;
    let answer = host.post("/api/naps/naps", naps(200, 0, 11)).await;
    assert_eq!((answer.status, answer.text()), (200, "ok"));
}

#[tokio::test]
async fn a_call_that_never_computes_for_a_whole_tick_is_charged_too() {
    let host = one_worker("dodger", "200ms").await;
    let answer = host.post("/api/dodger/naps", naps(300, 9, 3)).await;
    assert_eq!((answer.status, answer.code()), (500, "crashed".to_owned()), "{}", answer.text());
    assert_names(&answer.json()["detail"], &["dodger", "`naps`", "limits.cpu, 200ms"]);
}

#[tokio::test]
async fn a_guest_that_ignores_timeouts_is_interrupted() {
    let host = TestHost::with("never").and("echo").limit("never", "timeout", "500ms").limit("never", "cpu", "100ms");
    let host = host.workers(1).start().await;
    assert_eq!(host.post("/api/never/stubborn", "").await.code(), "timeout");
    host.until_restarted("never", 0, 1).await;
    assert_names(&host.slot("never", 0).await["reason"], &["limits.cpu"]);
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
    assert_eq!(host.get("/api/never/ok").await.text(), "ok");
}
