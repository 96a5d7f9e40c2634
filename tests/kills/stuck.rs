//! Kills of isolates whose instances are stuck.

use fanfare::tooling::IsolateId;
use serde_json::json;

use super::{MODES, crashed, killable};
use crate::failures::steps::assert_names;
use crate::harness::{Gate, TestHost, eventually, json_of};

/// A host with this module in one worker. No deadline and no limit of the module ends a call.
fn endless(module: &str) -> TestHost {
    let limits = json!({ "timeout": "1m", "cpu": "1m", "abandonAfter": "1m" });
    let host = TestHost::with(module).workers(1).config(json!({ "limits": { "max": limits } }));
    let host = host.config(json!({ "modules": { module: { "limits": limits } } }));
    host.config(json!({ "master": { "processTermTimeout": "100ms" } }))
}

#[tokio::test]
async fn an_instance_that_computes_for_ever_is_replaced() {
    for immediate in MODES {
        let host = endless("loops").start().await;
        let spinning = host.calling(0, "loops", "spin", "");
        host.until_running("loops", 0, 1).await;
        assert_eq!(crashed(&host.kill(0, immediate).await), 1);
        assert_eq!(spinning.await.unwrap()["code"], "crashed");
        assert_eq!(host.count("worker-0", "loops").await, 1);
        let slot = host.slot("loops", 0).await;
        assert_eq!((&slot["state"], &slot["inFlight"], &slot["leaked"]), (&json!("ready"), &json!(0), &json!(0)));
    }
}

#[tokio::test]
async fn a_serial_instance_that_waits_for_ever_is_replaced() {
    for immediate in MODES {
        let host = endless("serial").start().await;
        let held = host.calling(0, "serial", "hold", "");
        host.until_running("serial", 0, 1).await;
        let waiting = host.calling(0, "serial", "who", "");
        host.until_waiting("serial", 0, 1).await;
        assert_eq!(crashed(&host.kill(0, immediate).await), 1);
        assert_eq!(held.await.unwrap()["code"], "crashed");
        assert_eq!(json_of(&waiting.await.unwrap())["count"], 1);
    }
}

#[tokio::test]
async fn fresh_instances_end_too() {
    // A call that computes for ever lets no other one start.
    let cases = [("spin", 1, true), ("hold", 2, true), ("spin", 1, false), ("hold", 2, false)];
    for (handler, calls, immediate) in cases {
        let host = endless("loops").manifest("loops", json!({ "isolation": "fresh" })).start().await;
        let running: Vec<_> = (0..calls).map(|_| host.calling(0, "loops", handler, "")).collect();
        host.until_running("loops", 0, calls).await;
        assert_eq!(crashed(&host.kill(0, immediate).await), u64::from(calls), "{handler}");
        for call in running {
            let ended = call.await.unwrap();
            assert_eq!(ended["code"], "crashed");
            assert_names(&ended["detail"], &["loops", "worker-0", handler, "the isolate was killed"]);
        }
        assert_eq!(host.slot("loops", 0).await["inFlight"], 0);
        assert_eq!(host.count("worker-0", "loops").await, 1);
    }
}

#[tokio::test]
async fn a_next_instance_whose_startup_never_ends_is_given_up_after_limits_startup() {
    let host = killable(json!({ "restart": "never", "worker": 0 }), json!({})).limit("snapshot", "startup", "200ms");
    let host = host.start().await;
    assert_eq!(host.count_on(0).await, 1);
    let refused = host.kill(0, false).await;
    assert_names(&refused["detail"], &["snapshot in worker-0", "limits.startup", "the previous one keeps serving"]);
    assert_eq!(host.count_on(0).await, 2);
}

#[tokio::test]
async fn a_swap_replaces_an_instance_whose_startup_never_ends() {
    let host = killable(json!({ "restart": "never", "worker": 0 }), json!({}));
    let host = host.limit("snapshot", "startup", "1m").config(json!({ "limits": { "max": { "startup": "1m" } } }));
    let host = host.start().await;
    let kill = host.killing(0, true);
    host.until("snapshot", 0, "state", "restarting").await;
    host.rewrite("snapshot", json!({ "config": {} }));
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    assert_eq!(crashed(&kill.await.unwrap()), 0, "the kill ends as well");
    assert_eq!(host.count_on(0).await, 1);
}

#[tokio::test]
async fn a_thread_that_host_code_blocks_is_an_error() {
    for immediate in MODES {
        let gate = Gate::before(|call| &*call.route.handler == "who" && call.context.isolate == IsolateId::Worker(0));
        let config = json!({ "isolate": { "blockedAfter": "50ms" } });
        let host = TestHost::with("echo").config(config).probe(gate.probe()).start().await;
        let blocked = host.calling(0, "echo", "who", "");
        eventually("the thread is blocked", || async { gate.reached() == 1 }).await;
        let refused = host.kill(None, immediate).await;
        assert_eq!(refused["code"], "incomplete", "{refused}");
        assert_names(&refused["detail"], &["echo in worker-0", "host code blocks the thread"]);
        assert_eq!(host.metric("fanfare_kills_total", &["worker-1"]).await, 1.0, "the other worker was killed");
        gate.open();
        blocked.await.unwrap();
        eventually("the thread continues", || async { host.status().await["blocked"] == json!([]) }).await;
        assert!(host.kill(0, immediate).await.is_array(), "a later kill succeeds");
    }
}
