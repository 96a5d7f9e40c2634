//! Components that block: taken as they are, one call at a time.

use serde_json::json;

use crate::harness::{Started, TestHost, json_of, section, source_of};

const BLOCKING: [&str; 2] = ["sync-lifted", "handler-sync"];

/// The blocking guest and `waits`, which it may call.
async fn beside_waits(module: &str, workers: u32) -> Started {
    TestHost::waits_for(&[]).and(module).may_call(module, "waits").workers(workers).start().await
}

#[tokio::test]
async fn they_serve_and_are_known_as_serial() {
    for module in BLOCKING {
        let host = TestHost::with(module).and("echo").start().await;
        assert_eq!(host.post(&format!("/api/{module}/echo"), "hello").await.text(), "hello");
        assert_eq!(host.module(module).await["serial"], true);
        assert_eq!(host.module("echo").await["serial"], false);
        assert_eq!((host.count("worker-0", module).await, host.count("worker-0", module).await), (1, 2), "resident");
    }
}

/// A component that nothing instantiates, with an `async` lift.
const ELSEWHERE: &str = r#"(component
  (core module $m
    (func (export "start") (result i32) unreachable)
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (export "f") async (canon lift (core func $i "start") async (callback (core func $i "callback")))))"#;

#[tokio::test]
async fn an_async_lift_elsewhere_in_the_component_makes_it_no_less_serial() {
    let component = std::fs::read(source_of("sync-lifted").join("sync_lifted.wasm")).unwrap();
    let component = [component, section(4, wat::parse_str(ELSEWHERE).unwrap())].concat();
    let host = TestHost::with("sync-lifted").file("modules/sync-lifted/sync_lifted.wasm", component).start().await;
    assert_eq!(host.post("/api/sync-lifted/echo", "hello").await.text(), "hello");
    assert_eq!(host.module("sync-lifted").await["serial"], true);
}

#[tokio::test]
async fn a_call_that_waits_holds_up_those_behind_it() {
    for module in BLOCKING {
        let host = beside_waits(module, 1).await;
        let behind = async {
            host.until_running("waits", 0, 1).await;
            let release = async {
                host.until_waiting(module, 0, 1).await;
                assert_eq!(host.slot(module, 0).await["inFlight"], 1);
                host.call("any", "waits", "release", "").await;
            };
            tokio::join!(host.call("any", module, "who", ""), release).0
        };
        let (nested, who) = tokio::join!(host.call("any", module, "nested", "waits/hold"), behind);
        assert_eq!(nested["status"], 204, "{nested}");
        assert_eq!(json_of(&who)["count"], 1);
    }
}

#[tokio::test]
async fn one_that_calls_itself_goes_elsewhere_or_is_told_at_once() {
    for module in BLOCKING {
        let nested = format!("{module}/who");
        let host = beside_waits(module, 2).await;
        let elsewhere = host.call("worker-0", module, "nested", nested.as_str()).await;
        assert_eq!(json_of(&elsewhere)["isolate"], "worker-1");

        let host = beside_waits(module, 1).await;
        let stuck = host.call("worker-0", module, "nested", nested.as_str()).await;
        assert_eq!(stuck["code"], "would-deadlock", "{stuck}");
    }
}

#[tokio::test]
async fn a_gather_tells_its_own_worker_apart() {
    for module in BLOCKING {
        let host = TestHost::with(module).start().await;
        let entries = host.call("worker-1", module, "gather", "x").await;
        assert_eq!(json_of(&entries), json!(["ok", "would-deadlock"]));
    }
}
