//! What bounds the host itself.

use std::time::{Duration, Instant};

use fanfare::call::IsolateId;
use fanfare::host::Stopped;
use serde_json::json;

use crate::failures::steps::assert_names;
use crate::harness::{Connection, Gate, Started, TestHost, eventually};

pub async fn workers() {
    let host = TestHost::with("echo").workers(3).start().await;
    assert_eq!(host.status().await["workers"], 3);
    assert_eq!(host.count("worker-2", "echo").await, 1);
    let over = host.call("worker-3", "echo", "who", "").await;
    assert_eq!(over["code"], "not-found", "{over}");
}

/// Time on the processor is counted in ticks: a longer one sees less of a call.
pub async fn tick() {
    let busy = async |tick: &str| {
        let host = TestHost::with("loops").config(json!({ "engine": { "tick": tick } }));
        let host = host.limit("loops", "cpu", "100ms").workers(1).start().await;
        host.call("any", "loops", "busy", "700").await
    };
    let short = busy("10ms").await;
    assert_eq!(short["code"], "crashed");
    assert_names(&short["detail"], &["limits.cpu, 100ms"]);
    let long = busy("1s").await;
    assert_eq!(long["status"], 200, "{long}");
}

async fn traps(isolate: serde_json::Value, timeout: &str) -> Started {
    let host = TestHost::with("traps").config(json!({ "isolate": isolate })).limit("traps", "timeout", timeout);
    host.workers(1).start().await
}

/// How a call that traps ends: `crashed`, or as the slot's state says.
async fn trap(host: &Started) -> String {
    host.call("any", "traps", "trap", "").await["code"].as_str().unwrap().to_owned()
}

pub async fn restart_backoff() {
    for (backoff, second) in [("1ms", "crashed"), ("1h", "timeout")] {
        let host = traps(json!({ "restartBackoff": backoff, "restartBackoffMax": "1h" }), "2s").await;
        assert_eq!(trap(&host).await, "crashed");
        assert_eq!(trap(&host).await, "crashed", "the first restart comes at once");
        assert_eq!(trap(&host).await, second, "{backoff}");
    }
}

pub async fn restart_backoff_max() {
    let ends = async |max: &str| {
        let isolate = json!({ "restartBackoff": "1ms", "restartBackoffMax": max, "maxRestarts": 100 });
        let host = traps(isolate, "500ms").await;
        for _ in 0..20 {
            let end = trap(&host).await;
            if end != "crashed" {
                return end;
            }
        }
        "crashed".to_owned()
    };
    assert_eq!(ends("1ms").await, "crashed");
    assert_eq!(ends("1h").await, "timeout", "doubled so often, one wait is longer than a call");
}

pub async fn max_restarts() {
    for allowed in [0, 2] {
        let isolate = json!({ "restartBackoff": "1ms", "maxRestarts": allowed });
        let host = traps(isolate, "5s").await;
        for _ in 0..allowed {
            assert_eq!(trap(&host).await, "crashed");
        }
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok", "as many as allowed are borne");
        assert_eq!(trap(&host).await, "crashed");
        host.until("traps", 0, "state", "failed").await;
    }
}

pub async fn restart_window() {
    const WINDOW: Duration = Duration::from_millis(50);
    let isolate = |window: &str| json!({ "restartBackoff": "1ms", "maxRestarts": 1, "restartWindow": window });
    let host = traps(isolate("50ms"), "5s").await;
    for _ in 0..3 {
        let begun = Instant::now();
        assert_eq!(trap(&host).await, "crashed");
        eventually("the window is over", || async { begun.elapsed() > 2 * WINDOW }).await;
    }
    assert_eq!(host.get("/api/traps/ok").await.text(), "ok");

    let host = traps(isolate("1h"), "5s").await;
    assert_eq!(trap(&host).await, "crashed");
    assert_eq!(trap(&host).await, "crashed");
    host.until("traps", 0, "state", "failed").await;
}

pub async fn blocked_after() {
    for (after, reported) in [("60ms", true), ("1m", false)] {
        let gate = Gate::before(|call| &*call.route.handler == "who" && call.context.isolate == IsolateId::Worker(0));
        let config = json!({ "isolate": { "blockedAfter": after } });
        let host = TestHost::with("echo").config(config).probe(gate.probe()).start().await;
        let blocked = async || host.metric("fanfare_isolate_blocked", &["isolate=\"worker-0\""]).await == 1.0;
        let begun = Instant::now();
        let stands = async {
            eventually("it stands", || async { gate.reached() == 1 }).await;
            let long = || !reported && begun.elapsed() > Duration::from_millis(500);
            eventually("it is reported, or not", || async { blocked().await || long() }).await;
            assert_eq!(blocked().await, reported, "{after}");
            gate.open();
        };
        tokio::join!(host.count("worker-0", "echo"), stands);
        let line = format!("has done nothing for {after} (isolate.blockedAfter)");
        assert_eq!(host.log.contains(&[&line]), reported);
    }
}

pub async fn drain() {
    for (drain, stopped) in [("1m", Stopped::Clean), ("100ms", Stopped::CutOff)] {
        let host = TestHost::waits_for(&[]).workers(1).config(json!({ "shutdown": { "drain": drain } }));
        let host = host.limit("waits", "timeout", "60s").start().await;
        let (mut client, mut operator) = (Connection::open(host.http).await, Connection::open(host.admin).await);
        let held = tokio::spawn(async move { client.send("POST", "/api/waits/hold", &[], "kept").await });
        host.until_running("waits", 0, 1).await;
        let release = async {
            if stopped == Stopped::Clean {
                operator.send("POST", "/v1/modules/waits/call?path=release", &[], "").await;
            }
        };
        let begun = Instant::now();
        let (ended, ()) = tokio::join!(host.stop(), release);
        assert_eq!(ended, stopped, "{drain}");
        assert!(begun.elapsed() < Duration::from_secs(8), "{drain}: long before the default");
        assert_eq!(held.await.is_ok(), stopped == Stopped::Clean);
    }
}
