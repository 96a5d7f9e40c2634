//! Limits on what an instance of a component costs the host before any of its code runs.

use std::fs;

use serde_json::{Value, json};

use crate::failures::steps::assert_names;
use crate::harness::TestHost;

/// Returns why the host rejects this component, with one setting of `engine`.
async fn refused(component: &str, key: &str, value: Value) -> Value {
    let host = TestHost::with("echo")
        .file("modules/odd/module.json", r#"{ "component": "odd.wasm" }"#)
        .file("modules/odd/odd.wasm", wat::parse_str(component).unwrap())
        .config(json!({ "engine": { key: value } }))
        .start()
        .await;
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "the other modules are served");
    let why = host.module("odd").await["reason"].clone();
    let counted = host.metric("fanfare_components_too_heavy_total", &[]).await;
    let text = why.as_str().unwrap();
    assert_eq!(counted == 1.0, !text.contains("exports neither"), "{why}");
    why
}

/// Asserts that the host rejects a component because of a setting of `engine`. With a limit that
/// is one higher, it rejects the component only because it has no handler.
async fn just_over(component: &str, key: &str, most: u64, words: &[&str]) {
    let why = refused(component, key, json!(most)).await;
    assert_names(&why, &["odd.wasm: ", &format!("engine.{key} of fanfare.json allows {most}")]);
    assert_names(&why, words);
    assert_names(&refused(component, key, json!(most + 1)).await, &["exports neither"]);
}

/// A component that instantiates a core module `count` times.
fn times(module: &str, count: usize) -> String {
    format!("(component (core module $m {module}) {})", "(core instance (instantiate $m))".repeat(count))
}

pub async fn max_instances() {
    just_over(&times("", 201), "maxInstances", 200, &["creates 201 instances of core modules"]).await;
}

pub async fn max_memories() {
    let two = "(memory 0) (memory 0)";
    just_over(&times(two, 5), "maxMemories", 9, &["creates 10 memories"]).await;
}

pub async fn max_instance_size() {
    let globals = times(&"(global i32 (i32.const 0))".repeat(100_000), 2);
    let why = refused(&globals, "maxInstanceSize", json!("3MiB")).await;
    assert_names(
        &why,
        &["bytes of host memory", "2 core instances, 200000 globals", "maxInstanceSize of fanfare.json"],
    );
    let bytes: u64 = why.as_str().unwrap().split("needs ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!(bytes > 2 * 100_000 * 16, "{why}");
    just_over(&globals, "maxInstanceSize", bytes - 1, &[]).await;

    // 3^40 instances, in a few hundred bytes.
    let mut nested = "(component $c0 (core module $m) (core instance (instantiate $m)))".to_owned();
    for level in 1..40 {
        let below = format!("(instance (instantiate $c{}))", level - 1).repeat(3);
        nested = format!("(component $c{level} {nested} {below})");
    }
    assert_names(&refused(&nested, "maxInstances", json!(200)).await, &["too often or too deep"]);
}

/// The address space that one memory reserves.
const MEMORY: u64 = (4 << 30) + (64 << 20);

pub async fn address_space() {
    let host = TestHost::with("echo").and("counts").config(json!({ "engine": { "addressSpace": 3 * MEMORY } }));
    let host = host.workers(1).start().await;
    let room = async |name: &str| host.status().await["addressSpace"][name].as_u64().unwrap();
    assert_eq!((room("used").await, room("limit").await), (2 * MEMORY, 3 * MEMORY));
    assert_eq!(host.metric("fanfare_address_space_used_bytes", &[]).await, (2 * MEMORY) as f64);
    assert_eq!(host.metric("fanfare_space_refused_total", &[]).await, 0.0);
    // There is room for the old instance and the new one besides `counts`, and the old one releases
    // its own.
    assert_eq!(host.admin("POST", "/v1/modules/echo/reload", "").await.status, 200);
    crate::harness::eventually("the old instance has ended", async || room("used").await == 2 * MEMORY).await;

    let copy = |from: &str, to: &str| {
        let modules = host.dir.path().join("modules");
        fs::create_dir_all(modules.join(to)).unwrap();
        for entry in fs::read_dir(modules.join(from)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, modules.join(to).join(path.file_name().unwrap())).unwrap();
        }
    };
    copy("echo", "third");
    assert_eq!(host.admin("POST", "/v1/modules/third/reload", "").await.status, 200);
    assert_eq!(room("used").await, 3 * MEMORY);
    copy("echo", "fourth");
    for module in ["fourth", "echo"] {
        let refused = host.admin("POST", &format!("/v1/modules/{module}/reload"), "").await;
        assert_eq!(refused.status, 422, "{module}");
        assert_names(&refused.json()["detail"], &["1 memories", "0 of 13086228480 are left", "engine.addressSpace"]);
    }
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello");
    assert_eq!(host.metric("fanfare_space_refused_total", &[]).await, 2.0);
    fs::remove_dir_all(host.dir.path().join("modules/third")).unwrap();
    assert_eq!(host.admin("POST", "/v1/modules/third/reload", "").await.status, 200);
    crate::harness::eventually("the room is released", async || room("used").await == 2 * MEMORY).await;
    assert_eq!(host.admin("POST", "/v1/modules/fourth/reload", "").await.status, 200);
}

pub async fn pool() {
    let fresh = json!({ "isolation": "fresh", "limits": { "timeout": "2s" } });
    let host = TestHost::with("traps").manifest("traps", fresh).workers(1);
    let host = host.config(json!({ "engine": { "pool": 2 } })).start().await;
    let used = async || host.status().await["addressSpace"]["used"].as_u64().unwrap();
    let without_place = async || host.metric("fanfare_bound_reached_total", &["bound=\"pool\""]).await;
    assert_eq!(used().await, 2 * MEMORY, "the pool, which is mapped once");
    let hold = || host.call("any", "traps", "hold", "");
    let before = without_place().await;
    // The third call has an instance of its own, and the places are free again after each round.
    for round in 1..=2 {
        let full = async {
            host.until_running("traps", 0, 2).await;
            assert_eq!(used().await, 2 * MEMORY);
            let third = async {
                host.until_running("traps", 0, 3).await;
                assert_eq!(used().await, 3 * MEMORY);
            };
            tokio::join!(hold(), third).0
        };
        let (first, second, third) = tokio::join!(hold(), hold(), full);
        for ended in [first, second, third] {
            assert_eq!(ended["code"], "timeout", "{ended}");
        }
        host.until_running("traps", 0, 0).await;
        assert_eq!(without_place().await - before, f64::from(round));
    }
}
