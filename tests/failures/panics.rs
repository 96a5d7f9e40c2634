//! Faults of the host itself: panics, and blocked threads.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fanfare::Stopped;
use fanfare::tooling::IsolateId;
use serde_json::json;

use super::steps::assert_names;
use crate::harness::{Connection, Gate, Log, TestHost, eventually};

#[tokio::test]
async fn a_panic_of_the_host_ends_one_instance_and_is_logged() {
    let once = Arc::new(AtomicBool::new(true));
    let host = TestHost::empty().and_as("traps", "panicked").and("echo").workers(1);
    let host = host.probe(Arc::new(move |call| {
        let here = &*call.context.module == "panicked" && &*call.route.handler == "ok";
        assert!(!(here && once.swap(false, Ordering::AcqRel)), "the fault of the host");
    }));
    let host = host.start().await;
    for module in ["panicked", "echo"] {
        assert_eq!(host.count("any", module).await, 1);
    }
    let held = async {
        let panics = async {
            host.until_running("panicked", 0, 1).await;
            host.get("/api/panicked/ok").await
        };
        tokio::join!(host.call("any", "panicked", "hold", ""), panics)
    };
    let (held, panicked) = held.await;
    assert_eq!((panicked.status, panicked.code()), (500, "crashed".to_owned()));
    assert_names(&panicked.json()["detail"], &["panicked", "`ok`", "the host panicked: the fault of the host"]);
    assert_eq!(held["code"], "crashed");
    assert!(host.log.contains(&["the instance crashed: the host panicked", "panicked", "fault=\"host\""]));
    let origin = json!({ "type": "Worker", "id": 0, "module": "panicked" });
    let fail = json!({ "origin": origin, "message": "the host panicked: the fault of the host" });
    assert_eq!(host.events_of("fail").await, [fail]);

    assert_eq!(host.get("/api/panicked/ok").await.text(), "ok");
    assert_eq!(host.count("any", "panicked").await, 1, "the instance is new");
    assert_eq!(host.count("any", "echo").await, 2, "the instance is the same");
}

#[tokio::test]
async fn a_blocked_thread_is_reported_and_the_others_keep_serving() {
    let gate = Gate::before(|call| &*call.route.handler == "who" && call.context.isolate == IsolateId::Worker(0));
    let config = json!({ "isolate": { "blockedAfter": "50ms" } });
    let host = TestHost::with("echo").config(config).probe(gate.probe()).start().await;
    let blocked =
        async |worker: u32| host.metric("fanfare_isolate_blocked", &[&format!("isolate=\"worker-{worker}\"")]).await;
    let listed = async || host.status().await["blocked"].clone();
    assert_eq!((blocked(0).await, blocked(1).await, listed().await), (0.0, 0.0, json!([])));
    let check = async {
        eventually("it is reported", || async { blocked(0).await == 1.0 }).await;
        assert!(host.log.contains(&["worker-0", "host code has blocked the thread for 50ms", "isolate.blockedAfter"]));
        assert_eq!((blocked(1).await, listed().await), (0.0, json!(["worker-0"])));
        let message = "host code has blocked the thread for 50ms (isolate.blockedAfter)";
        let warning = json!({ "origin": { "type": "Worker", "id": 0 }, "message": message });
        assert_eq!(host.events_of("warning").await, [warning]);
        assert_eq!(host.count("worker-1", "echo").await, 1, "the other thread serves");
        gate.open();
    };
    let (waited, ()) = tokio::join!(host.count("worker-0", "echo"), check);
    assert_eq!(waited, 1);
    eventually("the thread continues", || async { blocked(0).await == 0.0 }).await;
    assert_eq!(listed().await, json!([]));
    assert!(host.log.contains(&["worker-0", "the thread continues after"]));
}

#[tokio::test]
async fn a_blocked_thread_does_not_keep_the_host_from_stopping() {
    let gate = Gate::before(|call| &*call.route.handler == "who");
    let host = TestHost::with("echo").workers(1).config(json!({ "shutdown": { "drain": "50ms" } }));
    let host = host.probe(gate.probe()).start().await;
    let mut client = Connection::open(host.http).await;
    tokio::spawn(async move { client.send("GET", "/api/echo/who", &[], "").await });
    eventually("it is blocked", || async { gate.reached() == 1 }).await;
    let ended = ["the thread does not end: host code blocks it", "worker-0"];
    assert_eq!(host.stop().await, Stopped::CutOff);
    assert!(Log::capture().contains(&ended));
    gate.open();
}
