//! Rejected swaps change nothing.

use serde_json::json;

use crate::failures::steps::assert_names;
use crate::harness::{TestHost, json_of};

#[tokio::test]
async fn a_failed_load_rejects_the_swap_and_the_old_instances_keep_serving() {
    let ways = [(json!({ "load": "fails" }), "load fails as configured"), (json!({ "load": "traps" }), "unreachable")];
    for (config, why) in ways {
        let host = TestHost::with("snapshot").start().await;
        let count = async |worker: &str| json_of(&host.call(worker, "snapshot", "count", "").await)["count"].clone();
        assert_eq!((count("worker-0").await, count("worker-1").await), (json!(1), json!(1)));
        let generation = host.generation("snapshot").await;
        host.rewrite("snapshot", json!({ "config": config }));
        let refused = host.reload("snapshot").await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("refused"), &json!(422)), "{refused}");
        assert_names(&refused["detail"], &[why]);
        assert_eq!(host.generation("snapshot").await, generation);
        assert_eq!((count("worker-0").await, count("worker-1").await), (json!(2), json!(2)), "the same instances");
    }
}

#[tokio::test]
async fn a_startup_that_fails_in_one_worker_rejects_the_swap_in_all() {
    let host = TestHost::with("startup").start().await;
    for (config, why) in [
        (json!({ "mode": "traps", "worker": 1 }), "unreachable"),
        (json!({ "mode": "fails", "worker": 1 }), "the startup fails as configured"),
    ] {
        host.rewrite("startup", json!({ "config": config }));
        assert_names(&host.reload("startup").await["detail"], &[why]);
        for worker in ["worker-0", "worker-1"] {
            let started = host.call(worker, "startup", "started&method=GET", "").await;
            assert_eq!(started["payload"], r#"["warm StartupReason::Start"]"#, "the old instance in {worker}");
        }
    }
    host.rewrite("startup", json!({ "config": { "mode": "ok" } }));
    assert_eq!(host.reload("startup").await["outcome"], "swapped");
    let started = host.call("worker-1", "startup", "started&method=GET", "").await;
    assert_eq!(started["payload"], r#"["warm StartupReason::Swap"]"#);
}

#[tokio::test]
async fn a_faulty_manifest_or_component_is_rejected() {
    let host = TestHost::with("echo").start().await;
    let component = host.dir.path().join("modules/echo/echo.wasm");
    let good = std::fs::read(&component).unwrap();
    std::fs::write(&component, &good[..good.len() / 2]).unwrap();
    assert_eq!(host.reload("echo").await["code"], "refused");
    std::fs::write(&component, good).unwrap();
    host.rewrite("echo", json!({ "rotues": [] }));
    assert_names(&host.reload("echo").await["detail"], &["echo/module.json", "rotues", "routes"]);
    assert_eq!(host.get("/api/echo/who").await.status, 200);
}

/// A component that adds integers as if they were floats.
fn invalid_code() -> Vec<u8> {
    let mut component = super::component("snapshot-next");
    let from = component.len() / 4;
    component.iter_mut().skip(from).filter(|byte| **byte == 0x6a).take(40).for_each(|byte| *byte = 0x92);
    component
}

#[tokio::test]
async fn a_component_that_does_not_load_or_start_is_rejected_and_nothing_changes() {
    let host = TestHost::with("snapshot").start().await;
    assert_eq!(super::count(&host).await, 1);
    let generation = host.generation("snapshot").await;
    let module = host.dir.path().join("modules/snapshot/module.json");
    let manifest = std::fs::read(&module).unwrap();
    let ways: [(&str, Vec<u8>, serde_json::Value, &[&str]); 7] = [
        ("no export", super::component("wrong-exports"), json!({}), &["snapshot.wasm", "handler"]),
        ("other types", super::component("wrong-types"), json!({}), &["snapshot.wasm", "wit/"]),
        ("no component", b"hello".to_vec(), json!({}), &["snapshot.wasm"]),
        ("nothing", Vec::new(), json!({}), &["snapshot.wasm"]),
        ("invalid code", invalid_code(), json!({}), &["is not valid WebAssembly", "build the component again"]),
        ("traps", super::component("snapshot-next"), json!({ "config": { "startup": "traps" } }), &["unreachable"]),
        (
            "fails in one",
            super::component("snapshot-next"),
            json!({ "config": { "startup": "fails", "worker": 1 } }),
            &["startup `warm` failed", "startup fails as configured"],
        ),
    ];
    for (what, component, patch, words) in ways {
        host.put("snapshot", "snapshot.wasm", &component);
        host.put("snapshot", "module.json", &manifest);
        host.rewrite("snapshot", patch);
        let refused = host.reload("snapshot").await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("refused"), &json!(422)), "{what}: {refused}");
        assert_names(&refused["detail"], words);
        if words.contains(&"startup `warm` failed") {
            assert!(host.log.contains(&[
                "ERROR",
                "an instance did not start: startup `warm` failed",
                "module=snapshot"
            ]));
        }
        assert_eq!(host.generation("snapshot").await, generation);
        assert_eq!(host.look(0).await["count"], 1, "{what}");
    }
    host.put("snapshot", "snapshot.wasm", &super::component("snapshot-next"));
    host.put("snapshot", "module.json", &manifest);
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    let look = host.look(0).await;
    assert_eq!((&look["build"], &look["count"]), (&json!("next"), &json!(1)));
}
