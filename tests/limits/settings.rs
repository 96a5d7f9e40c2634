//! The settings that limit the host itself.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fanfare::Stopped;
use fanfare::tooling::{Call, IsolateId, Probe};
use futures_util::future::join_all;
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

/// The host measures processor time in ticks, so a longer tick measures a call less exactly.
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

/// Makes a call that traps. Returns its code, which is not `crashed` if no instance is ready.
async fn trap(host: &Started) -> String {
    host.call("any", "traps", "trap", "").await["code"].as_str().unwrap().to_owned()
}

pub async fn restart_backoff() {
    for (backoff, second) in [("1ms", "crashed"), ("1h", "timeout")] {
        let host = traps(json!({ "restartBackoff": backoff, "restartBackoffMax": "1h" }), "2s").await;
        assert_eq!(trap(&host).await, "crashed");
        assert_eq!(trap(&host).await, "crashed", "the first restart is immediate");
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
    assert_eq!(ends("1h").await, "timeout", "the doubled backoff becomes longer than a call may take");
}

pub async fn max_restarts() {
    for allowed in [0, 2] {
        let isolate = json!({ "restartBackoff": "1ms", "maxRestarts": allowed });
        let host = traps(isolate, "5s").await;
        for _ in 0..allowed {
            assert_eq!(trap(&host).await, "crashed");
        }
        assert_eq!(host.get("/api/traps/ok").await.text(), "ok", "as many restarts as allowed");
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
        let check = async {
            eventually("the thread is blocked", || async { gate.reached() == 1 }).await;
            let long = || !reported && begun.elapsed() > Duration::from_millis(500);
            eventually("it is reported, or enough time has passed", || async { blocked().await || long() }).await;
            assert_eq!(blocked().await, reported, "{after}");
            gate.open();
        };
        tokio::join!(host.count("worker-0", "echo"), check);
        let line = format!("host code has blocked the thread for {after} (isolate.blockedAfter)");
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
        assert!(begun.elapsed() < Duration::from_secs(8), "{drain}: the default is longer");
        assert_eq!(held.await.is_ok(), stopped == Stopped::Clean);
    }
}

/// Queues calls of `never`, and then one of `echo` on the same thread. Returns how many calls of
/// `never` start before the call of `echo`.
async fn starts_before_its_neighbour(isolation: &str, turn_calls: u32) -> usize {
    const CALLS: u32 = 20;
    let gate = Gate::before(|call| &*call.route.handler == "ok");
    let (order, seen) = (Arc::new(Mutex::new(Vec::new())), gate.clone());
    let record = order.clone();
    let probe: Probe = Arc::new(move |call: &Call| {
        record.lock().unwrap().push(call.context.module.to_string());
        seen.pass(call);
    });
    let host = TestHost::with("never").and("echo").manifest("never", json!({ "isolation": isolation })).workers(1);
    let host = host.limit("never", "timeout", "60s").limit("echo", "timeout", "60s").probe(probe);
    let host = host.config(json!({ "isolate": { "turnCalls": turn_calls } })).start().await;
    // Each request makes the thread poll its sockets and run the tasks that wait for that, so that
    // the first turns are over.
    for _ in 0..2 {
        host.get("/").await;
    }
    let storm = join_all((0..CALLS).map(|_| host.call("any", "never", "ok", "")));
    let neighbour = async {
        host.until_waiting("never", 0, CALLS - 1).await;
        let opens = async {
            host.until_waiting("echo", 0, 1).await;
            gate.open();
        };
        tokio::join!(host.call("any", "echo", "echo", "hello"), opens).0
    };
    let (storm, neighbour) = tokio::join!(storm, neighbour);
    assert!(storm.iter().chain([&neighbour]).all(|ended| ended["status"] == 200), "{storm:?}, {neighbour}");
    let full = host.metric("fanfare_turns_full_total", &["never"]).await;
    // A turn that ends because of the time spent at the gate does not count as full.
    assert!(isolation == "fresh" || (full > 0.0) == (turn_calls < CALLS), "{full} full turns");
    let order = order.lock().unwrap();
    order.iter().take_while(|module| *module == "never").count()
}

pub async fn turn_calls() {
    // The deadline watch wakes an instance that was idle once more, so a second turn may follow at
    // once.
    let resident = starts_before_its_neighbour("resident", 5).await;
    assert!([5, 10].contains(&resident), "the calls of one turn or two: {resident}");
    assert_eq!(starts_before_its_neighbour("resident", 100).await, 20, "all calls in one turn");
    // A turn of fresh instances may also end because of its time, for example at the gate.
    let fresh = starts_before_its_neighbour("fresh", 5).await;
    assert!((1..=5).contains(&fresh), "{fresh}");
}

pub async fn linger() {
    let idle = async |linger: &str| {
        let host = TestHost::with("echo").config(json!({ "shutdown": { "drain": "1m", "linger": linger } }));
        let host = host.start().await;
        let mut client = Connection::open(host.http).await;
        assert_eq!(client.send("GET", "/api/echo/who", &[], "").await.status, 200);
        (host, client)
    };
    let (host, mut client) = idle("1m").await;
    let (http, admin) = (host.http, host.admin);
    let under = async {
        let draining = || async { Connection::open(admin).await.send("GET", "/readyz", &[], "").await.status == 503 };
        eventually("the host stops", draining).await;
        // The host still serves new connections.
        for client in [&mut client, &mut Connection::open(http).await] {
            let answer = client.send("GET", "/api/echo/who", &[], "").await;
            assert_eq!((answer.status, answer.header("connection")), (200, Some("close")));
        }
    };
    let begun = Instant::now();
    let (stopped, ()) = tokio::join!(host.stop(), under);
    assert_eq!(stopped, Stopped::Clean);
    assert!(begun.elapsed() < Duration::from_secs(30), "the host waits only until all clients disconnect");

    let (host, _client) = idle("50ms").await;
    assert_eq!(host.stop().await, Stopped::Clean);
}
