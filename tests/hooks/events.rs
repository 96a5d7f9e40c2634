//! Hooks that the host calls when it raises an event.

use serde_json::json;

use super::hooked;
use crate::harness::{Log, TestHost, eventually};

#[tokio::test]
async fn a_hook_gets_its_events_in_order_in_the_master_isolate() {
    let path = || json!({ "path": "hook" });
    let hooks = json!({ "workerStart": path(), "moduleLoaded": path(), "hostReady": path(), "swapCommitted": path() });
    let host = hooked(hooks).and("echo").start().await;
    host.cause_swap().await;
    eventually("the swap is recorded", || async {
        host.recorded_types().await.iter().any(|kind| kind == "swapCommitted")
    })
    .await;
    let recorded = host.recorded().await;
    let kinds: Vec<&str> = recorded.iter().map(|call| call["payload"]["type"].as_str().unwrap()).collect();
    let expected = ["workerStart", "workerStart", "moduleLoaded", "moduleLoaded", "hostReady", "swapCommitted"];
    assert_eq!(kinds, expected, "also the events of the start");
    let numbers: Vec<u64> = recorded.iter().map(|call| call["payload"]["number"].as_u64().unwrap()).collect();
    assert!(numbers.is_sorted(), "{numbers:?}");
    for call in &recorded {
        assert_eq!(call["hook"], call["payload"]["type"]);
        assert_eq!((&call["isolate"], &call["origin"]), (&json!("master"), &json!("Origin::Host")));
    }
    assert_eq!(recorded[1]["payload"]["id"], 1, "the payload is the event");
    assert!(host.metric("fanfare_calls_total", &["trigger=\"hook\"", "outcome=\"ok\""]).await >= 6.0);
}

#[tokio::test]
async fn only_modules_with_hooks_are_in_the_master_isolate() {
    let host = hooked(json!({ "fail": { "path": "hook" } })).and("echo").start().await;
    assert_eq!(host.place("master").await["state"], "ready");
    assert_eq!(host.place("broker-0").await, json!(null));
    let status = host.status().await;
    assert_eq!(status["modules"][0]["name"], "echo");
    assert_eq!(status["modules"][0]["isolates"].as_array().unwrap().len(), 2);
    let calls = host.call("master", "echo", "who", "").await;
    assert_eq!(calls["detail"], "there is no module echo in master");
}

#[tokio::test]
async fn a_hook_that_fails_is_logged_and_raises_no_event() {
    let host = hooked(json!({ "swapCommitted": { "path": "hook" } }))
        .manifest("master", json!({ "config": { "hook": "fails" } }))
        .and("echo")
        .start()
        .await;
    let before = host.raised().len();
    host.cause_swap().await;
    let failed = ["trigger=\"hook\"", "outcome=\"failure\"", "module=\"master\""];
    eventually("the hook has failed", || async { host.metric("fanfare_calls_total", &failed).await == 1.0 }).await;
    let kinds: Vec<_> = host.raised().split_off(before).into_iter().map(|event| event["type"].clone()).collect();
    assert_eq!(kinds, ["swapStarted", "swapCommitted"]);
    assert!(Log.contains(&["master", "trigger=\"hook\"", "this hook fails on request"]));
}

/// Each crash of the hook's instance would call the hook again, which would crash again.
#[tokio::test]
async fn a_hook_that_traps_is_not_called_because_of_its_own_crash() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "fail": path(), "instanceRestarted": path() }))
        .manifest("master", json!({ "config": { "hook": "traps" } }))
        .and("traps")
        .start()
        .await;
    for crashes in 1..=2 {
        host.call("worker-0", "traps", "trap", "").await;
        // One crash of a worker raises two events, and the hook traps at each.
        eventually("the hook has trapped twice", || async {
            host.place("master").await["restarts"] == 2 * crashes && host.place("master").await["state"] == "ready"
        })
        .await;
        for kind in ["fail", "instanceRestarted"] {
            let events = host.raised_of(kind);
            assert_eq!(events.len() as u64, crashes, "{events:?}");
            assert!(events.iter().all(|event| !event.to_string().contains("\"master\"")), "{events:?}");
        }
    }
    assert!(host.call("worker-0", "master", "hooks", "").await["status"] == 200, "other isolates notice nothing");
}

/// The same for hooks that never return: their instance is replaced because of leaked calls.
#[tokio::test]
async fn a_hook_that_never_returns_is_not_called_because_its_instance_is_replaced() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "instanceRestarted": path() }))
        .manifest("master", json!({ "config": { "hook": "never" } }))
        .limit("master", "timeout", "20ms")
        .limit("master", "abandonAfter", "20ms")
        .limit("master", "maxLeaked", 1)
        .limit("master", "concurrency", 4)
        .and("traps")
        .start()
        .await;
    for _ in 0..2 {
        host.call("worker-0", "traps", "trap", "").await;
    }
    eventually("the instance was replaced", || async { host.place("master").await["restarts"] == 1 }).await;
    eventually("it is ready", || async { host.place("master").await["state"] == "ready" }).await;
    let events = host.raised_of("instanceRestarted");
    assert!(events.len() == 2 && events.iter().all(|event| event["module"] == "traps"), "{events:?}");
}

/// A call that a hook makes elsewhere, and that crashes there, is a failure of the hook as well.
#[tokio::test]
async fn a_hook_is_not_called_because_of_the_crash_of_a_call_that_it_made() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "fail": path(), "instanceRestarted": path() }))
        .manifest("master", json!({ "config": { "hook": "relays" } }))
        .and("traps")
        .start()
        .await;
    host.call("worker-0", "traps", "trap", "").await;
    eventually("each of the two hooks has caused a crash", || async {
        host.place("worker-0").await["restarts"] == 2 && host.place("worker-0").await["state"] == "ready"
    })
    .await;
    eventually("both have ended", || async {
        host.metric("fanfare_calls_total", &["trigger=\"hook\"", "outcome=\"failure\""]).await == 2.0
    })
    .await;
    for kind in ["fail", "instanceRestarted"] {
        let events = host.raised_of(kind);
        assert!(events.len() == 1 && events[0].to_string().contains("traps"), "{events:?}");
    }
}

#[tokio::test]
async fn a_swap_keeps_hooks_working() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "swapCommitted": path(), "moduleLoaded": path() }))
        .manifest("master", json!({ "config": { "hook": "waits", "only": "swapCommitted" } }))
        .and("echo")
        .start()
        .await;
    host.cause_swap().await;
    eventually("the first one runs", || async { host.recorded().await.len() == 3 }).await;
    host.cause_swap().await;
    // The new generation has the hook at another route.
    let file = host.dir.path().join("modules/master/module.json");
    let text = std::fs::read_to_string(&file).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    let route = json!({ "path": "moved", "handler": "hook", "middlewares": "inner" });
    manifest["routes"].as_array_mut().unwrap().push(route);
    manifest["hooks"]["swapCommitted"]["path"] = json!("moved");
    manifest["config"] = json!({});
    std::fs::write(&file, manifest.to_string()).unwrap();
    let reloaded = host.running().reload("master").await.unwrap();
    assert!(reloaded.from.is_some(), "{reloaded:?}");
    // The call in the old instance ends by its deadline or when the instance has drained. The
    // events that waited then run in the new one.
    eventually("the events that waited and the swap itself are recorded by the new instance", || async {
        host.recorded_types().await == ["swapCommitted", "swapCommitted"]
    })
    .await;
    host.cause_swap().await;
    eventually("later ones too", || async { host.recorded().await.len() == 3 }).await;
}

/// The time that an event waits for the instance does not count against `limits.timeout`.
#[tokio::test]
async fn an_event_waits_while_the_instance_restarts_for_longer_than_limits_timeout() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "fail": path(), "swapCommitted": path() }))
        .manifest("master", json!({ "config": { "hook": "traps", "only": "fail" } }))
        .limit("master", "timeout", "100ms")
        .config(json!({ "isolate": { "restartBackoff": "700ms" } }))
        .and("echo")
        .and("traps")
        .start()
        .await;
    for worker in ["worker-0", "worker-1"] {
        host.call(worker, "traps", "trap", "").await;
    }
    eventually("the second restart waits", || async {
        let place = host.place("master").await;
        place["restarts"] == 2 && place["state"] == "restarting"
    })
    .await;
    host.cause_swap().await;
    eventually("it is ready again", || async { host.place("master").await["state"] == "ready" }).await;
    eventually("the event is recorded", || async { host.recorded_types().await == ["swapCommitted"] }).await;
}

#[tokio::test]
async fn beyond_limits_mailbox_the_oldest_events_are_dropped_with_a_warning() {
    let path = || json!({ "path": "hook" });
    let host = hooked(json!({ "swapCommitted": path(), "warning": path() }))
        .manifest("master", json!({ "config": { "hook": "waits", "only": "swapCommitted" } }))
        .limit("master", "mailbox", 2)
        .limit("master", "timeout", "30s")
        .config(json!({ "limits": { "max": { "timeout": "60s" } } }))
        .and("echo")
        .start()
        .await;
    host.cause_swap().await;
    eventually("the first one runs", || async { host.recorded().await.len() == 1 }).await;
    // Two may wait; the third replaces the first of them.
    for _ in 0..3 {
        host.cause_swap().await;
    }
    for running in 2..=3 {
        host.call("master", "master", "release", "").await;
        eventually("the next one runs", || async { host.recorded().await.len() == running }).await;
    }
    host.call("master", "master", "release", "").await;
    eventually("the warning is recorded", || async { host.recorded_types().await.last().unwrap() == "warning" }).await;
    assert_eq!(host.metric("fanfare_hook_events_dropped", &["module=\"master\"", "isolate=\"master\""]).await, 1.0);
    let warnings = host.raised_of("warning");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    let expected = "1 host events for the hooks of master were dropped, because its hooks are too slow: at most limits.mailbox events wait, and as many calls";
    assert_eq!(warnings[0]["message"], expected);
    assert_eq!(warnings[0]["origin"], json!({ "type": "Master", "module": "master" }));
    let swaps = host.raised_of("swapCommitted");
    let seen: Vec<_> = host.recorded().await.into_iter().map(|call| call["payload"].clone()).collect();
    assert_eq!(seen[..3], [swaps[0].clone(), swaps[2].clone(), swaps[3].clone()]);
}

#[tokio::test]
async fn a_module_that_is_added_later_gets_the_events_from_then_on() {
    let host = TestHost::with("echo").start().await;
    host.cause_swap().await;
    let _added = hooked(json!({ "moduleLoaded": { "path": "hook" }, "swapCommitted": { "path": "hook" } }));
    let from = crate::harness::source_of("master");
    let to = host.dir.path().join("modules/master");
    std::fs::create_dir_all(&to).unwrap();
    std::fs::copy(from.join("master.wasm"), to.join("master.wasm")).unwrap();
    let mut manifest: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(from.join("module.json")).unwrap()).unwrap();
    manifest["hooks"] = json!({ "moduleLoaded": { "path": "hook" }, "swapCommitted": { "path": "hook" } });
    std::fs::write(to.join("module.json"), manifest.to_string()).unwrap();
    host.running().reload("master").await.unwrap();
    host.cause_swap().await;
    eventually("its own load and the swap after it", || async {
        host.recorded_types().await == ["moduleLoaded", "swapCommitted"]
    })
    .await;
    assert_eq!(host.recorded().await[0]["payload"]["module"], "master");
    std::fs::remove_dir_all(&to).unwrap();
    let removed = host.running().reload("master").await.unwrap();
    assert_eq!(serde_json::to_value(removed.outcome).unwrap(), "removed");
    host.cause_swap().await;
}
