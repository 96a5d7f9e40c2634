//! Immediate kills: running calls end at once, and nothing else fails.

use serde_json::json;

use super::{crashed, isolates, killable};
use crate::failures::steps::assert_names;
use crate::harness::{TestHost, eventually, json_of};

#[tokio::test]
async fn running_calls_end_as_crashed_and_waiting_ones_run_in_the_next_instance() {
    let host = TestHost::with("serial").workers(1).limit("serial", "timeout", "30s").start().await;
    let hold = host.calling(0, "serial", "hold", "");
    host.until_running("serial", 0, 1).await;
    let waiting = [(); 3].map(|()| host.calling(0, "serial", "who", ""));
    host.until_waiting("serial", 0, 3).await;
    for _ in 0..2 {
        assert_eq!(host.emit("serial", "wave", "").await["accepted"], 1);
    }
    let killed = host.kill(0, true).await;
    assert_eq!((isolates(&killed), crashed(&killed)), (vec!["worker-0".to_owned()], 1));
    let ended = hold.await.unwrap();
    assert_eq!((&ended["code"], &ended["status"]), (&json!("crashed"), &json!(500)), "{ended}");
    assert_names(&ended["detail"], &["serial", "worker-0", "`hold`", "the isolate was killed"]);
    let mut counts = Vec::new();
    for call in waiting {
        counts.push(json_of(&call.await.unwrap())["count"].as_u64().unwrap());
    }
    counts.sort_unstable();
    assert_eq!(counts, [1, 2, 3], "each ran once, in the next instance");
    let broadcasts = || async { host.ended("serial", 0, "broadcast", "ok").await == 2.0 };
    eventually("both broadcasts have run", broadcasts).await;
    assert_eq!(host.metric("fanfare_calls_total", &["outcome=\"crashed\""]).await, 1.0);
    assert_eq!(host.slot("serial", 0).await["inFlight"], 0);
}

#[tokio::test]
async fn calls_that_drain_in_an_older_instance_end_too() {
    let host = killable(json!({}), json!({})).config(json!({ "swap": { "quiesce": "1ms" } })).start().await;
    let old = host.wait_elsewhere().await;
    // The swap leaves the call in its instance, which drains.
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    let spec = json!({ "route": "waits/hold", "target": { "worker": 1 } });
    let new = host.calling(0, "snapshot", "nested", spec);
    host.until_holding(1, 2).await;
    assert_eq!(crashed(&host.kill(0, true).await), 2);
    for call in [old, new] {
        assert_eq!(call.await.unwrap()["code"], "crashed");
    }
}

#[tokio::test]
async fn many_kills_never_count_against_the_restart_intensity() {
    let host = TestHost::with("snapshot")
        .config(json!({ "isolate": { "restartBackoff": "1h", "restartBackoffMax": "1h", "maxRestarts": 1 } }));
    let host = host.start().await;
    for _ in 0..5 {
        assert_eq!(isolates(&host.kill(None, true).await).len(), 2);
        assert_eq!((host.count_on(0).await, host.count_on(1).await), (1, 1), "the state is dropped");
    }
    for worker in [0, 1] {
        let slot = host.slot("snapshot", worker).await;
        assert_eq!((&slot["state"], &slot["restarts"]), (&json!("ready"), &json!(0)), "{slot}");
        assert_names(&slot["reason"], &["the isolate was killed"]);
    }
    assert_eq!(host.metric("fanfare_kills_total", &["snapshot"]).await, 10.0);
    assert_eq!(host.events_named(&["instanceRestarted", "moduleFailed", "fail"]).await.len(), 0);
}

#[tokio::test]
async fn a_next_instance_that_cannot_start_is_an_error_and_is_restarted() {
    let host = killable(json!({ "restart": "fails", "worker": 0 }), json!({})).max_restarts(2).start().await;
    let refused = host.kill(0, true).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(422), &json!("incomplete")), "{refused}");
    let said = ["snapshot in worker-0", "the next instance did not start", "restart fails as configured"];
    assert_names(&refused["detail"], &said);
    host.until("snapshot", 0, "state", "failed").await;
    assert_eq!(host.slot("snapshot", 0).await["restarts"], 2, "as after any other crash");
    assert_eq!(host.count_on(1).await, 1);
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 1, "the isolate was killed all the same");
}

#[tokio::test]
async fn calls_to_any_worker_go_to_another_one_while_the_next_instance_starts() {
    let host = killable(json!({ "restart": "never", "worker": 0 }), json!({})).limit("snapshot", "startup", "1m");
    let host = host.config(json!({ "limits": { "max": { "startup": "1m" } } })).start().await;
    let kill = host.killing(0, true);
    host.until("snapshot", 0, "state", "restarting").await;
    for _ in 0..4 {
        let answer = host.get("/api/snapshot/count").await;
        assert_eq!((answer.status, &answer.json()["isolate"]), (200, &json!("worker-1")));
    }
    let waiting = host.calling(0, "snapshot", "count", "");
    host.until_waiting("snapshot", 0, 1).await;
    assert!(!kill.is_finished());
    // Only a new generation ends this startup.
    host.rewrite("snapshot", json!({ "config": {} }));
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    assert_eq!(json_of(&waiting.await.unwrap())["count"], 1);
    assert_eq!(crashed(&kill.await.unwrap()), 0);
}

#[tokio::test]
async fn no_next_instance_starts_before_all_old_ones_have_ended() {
    // Each restart calls `waits` in its own worker: never one that is about to end.
    let host = killable(json!({ "restart": "waits" }), json!({})).workers(1).max_restarts(1_000).start().await;
    for _ in 0..20 {
        let kill = host.killing(0, true);
        eventually("the startup has failed, or waits", || async {
            kill.is_finished() || host.call("worker-0", "waits", "release", "").await["payload"] == "1"
        })
        .await;
        let killed = kill.await.unwrap();
        let refused = killed["detail"].as_str().unwrap_or_default();
        assert!(!refused.contains("was killed"), "{refused}");
    }
}
