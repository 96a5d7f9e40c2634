//! Components that block run one call at a time.

use serde_json::json;

use crate::harness::{Started, TestHost, json_of, section, source_of};

const BLOCKING: [&str; 2] = ["sync-lifted", "handler-sync"];

/// Starts a host with the blocking guest and `waits`, which the guest may call.
async fn beside_waits(module: &str, workers: u32) -> Started {
    TestHost::waits_for(&[]).and(module).may_call(module, "waits").workers(workers).start().await
}

#[tokio::test]
async fn a_blocking_component_is_served_and_detected_as_serial() {
    for module in BLOCKING {
        let host = TestHost::with(module).and("echo").start().await;
        assert_eq!(host.post(&format!("/api/{module}/echo"), "hello").await.text(), "hello");
        assert_eq!(host.module(module).await["serial"], true);
        assert_eq!(host.module("echo").await["serial"], false);
        assert_eq!((host.count("worker-0", module).await, host.count("worker-0", module).await), (1, 2), "resident");
    }
}

/// A nested component with an `async` lift, which nothing instantiates.
const ASYNC_COMPONENT: &str = r#"(component
  (core module $m
    (func (export "start") (result i32) unreachable)
    (func (export "callback") (param i32 i32 i32) (result i32) unreachable))
  (core instance $i (instantiate $m))
  (func (export "f") async (canon lift (core func $i "start") async (callback (core func $i "callback")))))"#;

#[tokio::test]
async fn an_async_lift_in_another_part_of_the_component_does_not_make_it_concurrent() {
    let component = std::fs::read(source_of("sync-lifted").join("sync_lifted.wasm")).unwrap();
    let component = [component, section(4, wat::parse_str(ASYNC_COMPONENT).unwrap())].concat();
    let host = TestHost::with("sync-lifted").file("modules/sync-lifted/sync_lifted.wasm", component).start().await;
    assert_eq!(host.post("/api/sync-lifted/echo", "hello").await.text(), "hello");
    assert_eq!(host.module("sync-lifted").await["serial"], true);
}

#[tokio::test]
async fn a_call_of_a_serial_module_that_waits_delays_the_next_calls() {
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
async fn a_serial_module_that_calls_itself_uses_another_worker_or_would_deadlock() {
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
async fn a_gather_of_a_serial_module_would_deadlock_in_its_own_worker_only() {
    for module in BLOCKING {
        let host = TestHost::with(module).start().await;
        let entries = host.call("worker-1", module, "gather", "x").await;
        assert_eq!(json_of(&entries), json!(["ok", "would-deadlock"]));
    }
}
