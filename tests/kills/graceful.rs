//! Graceful kills: the next instance starts first, and running calls get time to end.

use serde_json::json;

use super::{crashed, isolates, killable};
use crate::failures::steps::assert_names;
use crate::harness::{eventually, json_of};

#[tokio::test]
async fn every_module_of_the_worker_gets_a_new_instance_without_state() {
    let host = killable(json!({}), json!({})).start().await;
    for expected in 1..=2 {
        assert_eq!((host.count_on(0).await, host.count_on(1).await), (expected, expected));
    }
    let generation = host.generation("snapshot").await;
    let killed = host.kill(0, false).await;
    assert_eq!(isolates(&killed), ["worker-0"]);
    let modules = killed[0]["modules"].clone();
    assert_eq!(modules[0], json!({ "module": "snapshot", "generation": generation, "crashed": 0 }));
    assert_eq!((&modules[1]["module"], modules.as_array().unwrap().len()), (&json!("waits"), 2));

    assert_eq!((host.count_on(0).await, host.count_on(1).await), (1, 3), "the other worker keeps its state");
    assert_eq!(host.look(0).await["loaded"], 0);
    let slot = host.slot("snapshot", 0).await;
    assert_eq!(
        (&slot["state"], &slot["restarts"], &slot["generation"]),
        (&json!("ready"), &json!(0), &json!(generation))
    );
    for module in ["snapshot", "waits"] {
        assert_eq!(host.metric("fanfare_kills_total", &[module, "worker-0"]).await, 1.0);
        assert_eq!(host.metric("fanfare_kills_total", &[module, "worker-1"]).await, 0.0);
    }
}

#[tokio::test]
async fn each_worker_raises_its_exit_and_its_start_in_turn() {
    let host = killable(json!({}), json!({})).workers(3).start().await;
    let starts = host.events_named(&["workerStart"]).await;
    assert!(starts.iter().all(|start| start["respawn"] == false), "{starts:?}");
    for (immediate, reason) in [(false, "killed"), (true, "killed at once")] {
        assert_eq!(isolates(&host.kill(None, immediate).await), ["worker-0", "worker-1", "worker-2"]);
        let events = host.events_named(&["workerExit", "workerStart"]).await;
        let events = &events[events.len() - 6..];
        for (id, pair) in events.chunks(2).enumerate() {
            let (exit, start) = (&pair[0], &pair[1]);
            assert_eq!(
                (&exit["type"], &exit["id"], &exit["reason"]),
                (&json!("workerExit"), &json!(id), &json!(reason))
            );
            assert_eq!(
                (&exit["pid"], &exit["code"], &exit["signal"]),
                (&json!(std::process::id()), &json!(null), &json!(null))
            );
            assert_eq!(
                (&start["type"], &start["id"], &start["respawn"]),
                (&json!("workerStart"), &json!(id), &json!(true))
            );
            assert_eq!(start["pid"], json!(std::process::id()));
        }
    }
    assert_eq!(host.events_named(&["fail", "instanceRestarted", "moduleFailed"]).await, [] as [serde_json::Value; 0]);
}

#[tokio::test]
async fn new_calls_go_to_the_next_instance_while_running_calls_end_in_the_old_one() {
    let host = killable(json!({}), json!({ "processTermTimeout": "1m" })).start().await;
    assert_eq!(host.count_on(0).await, 1);
    let running = host.wait_elsewhere().await;
    let kill = host.killing(0, false);
    eventually("the next instance serves", || async { host.look(0).await["count"] == 0 }).await;
    assert_eq!(host.count_on(0).await, 1);
    assert!(!kill.is_finished() && !running.is_finished(), "the old instance runs its call");
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 0, "the worker has not ended");
    host.release_waiting(1).await;
    assert_eq!(json_of(&running.await.unwrap())["ok"]["payload"], "kept");
    assert_eq!(crashed(&kill.await.unwrap()), 0);
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 1);
    eventually("only one instance is left", || async { host.slot("snapshot", 0).await["inFlight"] == 0 }).await;
}

#[tokio::test]
async fn without_time_left_a_running_call_ends_as_crashed() {
    let host = killable(json!({}), json!({ "processTermTimeout": "100ms" })).start().await;
    let running = host.wait_elsewhere().await;
    assert_eq!(crashed(&host.kill(0, false).await), 1);
    let ended = running.await.unwrap();
    assert_eq!((&ended["code"], &ended["status"]), (&json!("crashed"), &json!(500)), "{ended}");
    let generation = host.generation("snapshot").await;
    assert_names(&ended["detail"], &["snapshot", "worker-0", &generation, "`nested`", "the isolate was killed"]);
    let slot = host.slot("snapshot", 0).await;
    assert_eq!((&slot["state"], &slot["restarts"], &slot["inFlight"]), (&json!("ready"), &json!(0), &json!(0)));
    assert_eq!(host.count_on(0).await, 1);
}

#[tokio::test]
async fn when_the_next_instance_cannot_start_the_old_one_keeps_serving() {
    for (mode, why) in [("fails", "startup `warm` failed: restart fails as configured"), ("traps", "unreachable")] {
        let host = killable(json!({ "restart": mode, "worker": 0 }), json!({})).start().await;
        assert_eq!((host.count_on(0).await, host.count_on(1).await), (1, 1));
        let waits = host.count("worker-0", "waits").await;
        assert_eq!(waits, 1);
        let refused = host.kill(None, false).await;
        assert_eq!((&refused["status"], &refused["code"]), (&json!(422), &json!("incomplete")), "{refused}");
        let said = ["snapshot in worker-0", "the next instance did not start, so the previous one keeps serving", why];
        assert_names(&refused["detail"], &said);
        assert_eq!(refused["detail"].as_str().unwrap().lines().count(), 1);
        assert!(host.log.contains(&["a kill could not replace an instance", "snapshot in worker-0"]));

        assert_eq!(host.count_on(0).await, 2, "the old instance with its state");
        let slot = host.slot("snapshot", 0).await;
        assert_eq!((&slot["state"], &slot["restarts"]), (&json!("ready"), &json!(0)));
        assert_eq!(host.count("worker-0", "waits").await, 1, "the other module was killed");
        assert_eq!(host.count_on(1).await, 1, "and so was the next worker");
        assert_eq!(host.events_named(&["workerExit"]).await.len(), 2);
    }
}

#[tokio::test]
async fn an_isolate_in_which_nothing_was_replaced_raises_no_exit() {
    let host = crate::harness::TestHost::with("snapshot").workers(1);
    let host = host.manifest("snapshot", json!({ "config": { "restart": "fails" } })).start().await;
    assert_eq!(host.kill(0, false).await["code"], "incomplete");
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 0);
}

#[tokio::test]
async fn broadcasts_and_calls_that_wait_are_kept() {
    let host = crate::harness::TestHost::with("serial").workers(1).limit("serial", "timeout", "30s");
    let host = host.config(json!({ "master": { "processTermTimeout": "1m" } })).start().await;
    let hold = host.calling(0, "serial", "hold", "");
    host.until_running("serial", 0, 1).await;
    let waiting = host.calling(0, "serial", "who", "");
    host.until_waiting("serial", 0, 1).await;
    assert_eq!(host.emit("serial", "wave", "").await["accepted"], 1);
    let kill = host.killing(0, false);
    // They ran in the next instance, because the old one is busy.
    assert_eq!(json_of(&waiting.await.unwrap())["count"], 1);
    eventually("the broadcast has run", || async { host.ended("serial", 0, "broadcast", "ok").await == 1.0 }).await;
    assert!(!kill.is_finished() && !hold.is_finished());
    hold.abort();
    drop(kill);
}
