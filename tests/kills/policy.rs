//! Slots that are restarting or failed, and the settings that decide about crashes.

use serde_json::json;

use super::{MODES, isolates};
use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost};

fn traps(master: serde_json::Value) -> TestHost {
    TestHost::with("traps").and("echo").workers(1).config(json!({ "master": master }))
}

async fn trap(host: &Started) {
    assert_eq!(host.call("any", "traps", "trap", "").await["code"], "crashed");
}

async fn trap_until_failed(host: &Started) {
    trap(host).await;
    host.until("traps", 0, "state", "failed").await;
    assert_eq!(host.get("/api/traps/ok").await.status, 503);
}

#[tokio::test]
async fn a_failed_module_starts_anew() {
    for immediate in MODES {
        let host = traps(json!({})).max_restarts(0).start().await;
        trap_until_failed(&host).await;
        assert_eq!(isolates(&host.kill(0, immediate).await), ["worker-0"]);
        assert_eq!(host.slot("traps", 0).await["state"], "ready");
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok");
        trap_until_failed(&host).await;
    }
}

#[tokio::test]
async fn a_restarting_module_does_not_wait_for_its_backoff() {
    for immediate in MODES {
        let host = traps(json!({})).one_restart().start().await;
        trap(&host).await;
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok");
        trap(&host).await;
        host.until("traps", 0, "state", "restarting").await;
        assert_eq!(isolates(&host.kill(0, immediate).await), ["worker-0"]);
        assert_eq!(host.slot("traps", 0).await["state"], "ready");
        trap(&host).await;
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok", "the restarts are counted from the kill");
    }
}

#[tokio::test]
async fn broadcasts_reach_a_module_that_a_kill_has_started_anew() {
    for immediate in MODES {
        let host = TestHost::with("counts").max_restarts(0).start().await;
        let spec = json!({ "worker": 0, "how": "trap" }).to_string();
        host.gather("counts", "misbehave", spec).await;
        host.until("counts", 0, "state", "failed").await;
        assert_eq!(host.emit("counts", "append", "1").await["accepted"], 1);
        host.kill(0, immediate).await;
        assert_eq!(host.emit("counts", "append", "2").await["accepted"], 2);
    }
}

#[tokio::test]
async fn without_reboot_worker_on_crash_a_crashed_module_stays_failed_until_a_kill_or_a_reload() {
    let host = traps(json!({ "rebootWorkerOnCrash": false })).start().await;
    for start_again in ["kill", "kill at once", "reload"] {
        trap_until_failed(&host).await;
        assert_eq!(host.slot("traps", 0).await["restarts"], 0);
        let answer = host.get("/api/traps/ok").await.json();
        assert_names(&answer["detail"], &["traps has failed in worker-0", "unreachable"]);
        assert!(host.log.contains(&[
            "failed because master.rebootWorkerOnCrash is false: run `fanfare reload traps`",
            "unreachable",
            "module=traps"
        ]));
        assert_eq!(host.post("/api/echo/echo", "other").await.text(), "other", "other modules are not affected");
        match start_again {
            "reload" => assert_eq!(host.reload("traps").await["outcome"], "swapped"),
            mode => assert_eq!(isolates(&host.kill(0, mode != "kill").await), ["worker-0"]),
        }
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok");
    }
    assert_eq!(host.events_named(&["moduleFailed"]).await.len(), 3);
}

#[tokio::test]
async fn without_crash_worker_on_error_a_trap_is_never_given_up() {
    for reboot in [true, false] {
        let host = traps(json!({ "crashWorkerOnError": false, "rebootWorkerOnCrash": reboot }));
        let host = host.max_restarts(1).config(json!({ "isolate": { "restartBackoffMax": "1ms" } })).start().await;
        for times in 1..=5 {
            trap(&host).await;
            assert_eq!(host.get("/api/traps/ok").await.text(), "ok", "the next instance starts");
            assert_eq!(host.slot("traps", 0).await["restarts"], times);
        }
        assert_eq!(host.events_named(&["fail"]).await.len(), 5, "each error is reported");
        assert_eq!(host.events_named(&["moduleFailed"]).await.len(), 0);
    }
}

#[tokio::test]
async fn a_crash_that_is_not_an_error_of_the_guest_counts_in_any_case() {
    let panics = std::sync::Arc::new(|call: &fanfare::tooling::Call| {
        assert_ne!(&*call.route.handler, "ok", "the host panics on request");
    });
    let host = traps(json!({ "crashWorkerOnError": false, "rebootWorkerOnCrash": false })).probe(panics);
    let host = host.start().await;
    assert_eq!(host.call("any", "traps", "ok", "").await["code"], "crashed");
    host.until("traps", 0, "state", "failed").await;
    assert_names(&host.slot("traps", 0).await["reason"], &["the host panics on request"]);
}
