//! The stream patterns of modules: no two modules declare the same one.

use fanfare::api::ReloadOutcome;

use super::*;
use crate::harness::EventStream;

/// A manifest of `echo` that declares stream patterns.
fn declares(patterns: &[&str]) -> Value {
    let mut manifest = with_route("new");
    manifest["streams"] = patterns.iter().map(|pattern| ((*pattern).to_owned(), json!({}))).collect();
    manifest
}

/// A host with `first`, which declares `news`, and `second`, both with the grant for every key.
fn two_modules(second: &[&str]) -> TestHost {
    let declared = |name: &str, patterns: &[&str], host: TestHost| {
        let streams = &declares(patterns)["streams"];
        host.and_as("echo", name).manifest(name, json!({ "streams": streams })).grant(name, json!({ "sse": ["*"] }))
    };
    declared("second", second, declared("first", &["news", "first/*"], TestHost::empty()))
}

const TAKEN: &str = "the module first declares this pattern already: remove it from one of the two modules";

#[tokio::test]
async fn a_module_that_declares_the_pattern_of_another_one_is_rejected() {
    let host = two_modules(&["second", "news"]).start().await;
    let listed = host.module("second").await;
    let reason = listed["reason"].as_str().unwrap().to_owned();
    assert_eq!(listed["state"], "refused", "{listed}");
    assert!(reason.contains("second/module.json:1:") && reason.contains("streams.news: "), "{reason}");
    assert!(reason.contains(TAKEN), "{reason}");

    host.put_manifest("second", &declares(&["second", "news/*"]));
    let started = host.reload_with("second", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(started.outcome, ReloadOutcome::Started, "another pattern is free");
}

#[tokio::test]
async fn a_reload_that_takes_a_pattern_is_rejected_and_the_previous_generation_serves() {
    let host = two_modules(&["second"]).start().await;
    let before = host.generations("second").await;
    host.put_manifest("second", &declares(&["second", "first/*"]));
    let error = host.reload_with("second", ReloadOptions::CHANGE).await.unwrap_err().to_string();
    assert!(error.contains("streams.first/*: ") && error.contains(TAKEN), "{error}");
    assert_eq!(host.generations("second").await, before);
    assert_eq!(host.post("/api/second/echo", "hello").await.text(), "hello");
}

#[tokio::test]
async fn a_pattern_is_free_once_its_module_no_longer_declares_it() {
    let host = two_modules(&["second"]).start().await;
    let wants = declares(&["second", "news"]);
    host.put_manifest("second", &wants);
    assert!(host.reload_with("second", ReloadOptions::CHANGE).await.is_err());
    host.put_manifest("first", &declares(&["first/*"]));
    host.reload_with("first", ReloadOptions::CHANGE).await.unwrap();
    let swapped = host.reload_with("second", ReloadOptions::CHANGE).await.unwrap();
    assert_eq!(swapped.outcome, ReloadOutcome::Swapped);

    // A removed module frees its patterns, too.
    std::fs::remove_dir_all(host.folder("second")).unwrap();
    host.reload_with("second", ReloadOptions::CHANGE).await.unwrap();
    host.put_manifest("first", &declares(&["first/*", "news"]));
    host.reload_with("first", ReloadOptions::CHANGE).await.unwrap();
}

#[tokio::test]
async fn the_patterns_of_a_canary_belong_to_it_until_it_ends() {
    let host = two_modules(&["second"]).start().await;
    let mut manifest = canary::canary_manifest("new", "1h", 0);
    manifest["streams"] = declares(&["first/*", "news", "later"])["streams"].clone();
    host.put_manifest("first", &manifest);
    let canary = host.start_canary("first").await;
    host.put_manifest("second", &declares(&["second", "later"]));
    let error = host.reload_with("second", ReloadOptions::CHANGE).await.unwrap_err().to_string();
    assert!(error.contains("streams.later: ") && error.contains(TAKEN), "{error}");
    // The rollback ends the canary.
    host.running().swapper().rollback("first", None).await.unwrap();
    assert!(canary.await.unwrap().is_err());
    host.reload_with("second", ReloadOptions::CHANGE).await.unwrap();
}

/// A host without modules, whose compiler waits for the module `gated`.
async fn without_modules() -> Started {
    let host = TestHost::empty().gated_compiler("gated");
    let host = ["gated", "second"].iter().fold(host, |host, name| host.grant(name, json!({ "sse": ["*"] })));
    host.config(json!({ "sse": {}, "swap": { "settle": "0ms" } })).start().await
}

/// Adds the guest `streams` under another name, which the host has to compile. A route admits the
/// readers of these patterns.
fn add(host: &Started, name: &str, patterns: &[&str]) {
    let text = fs::read_to_string(source_of("streams").join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    let admit = |pattern: &&str| ((*pattern).to_owned(), json!({ "path": "may-listen" }));
    manifest["streams"] = patterns.iter().map(admit).collect();
    manifest["capabilities"] = json!({ "sse": patterns });
    fs::create_dir_all(host.folder(name)).unwrap();
    fs::write(host.folder(name).join("streams.wasm"), never_compiled("streams")).unwrap();
    host.put_manifest(name, &manifest);
}

/// Asks for a stream, and returns the status and `Retry-After`.
async fn ask(host: &Started, key: &str) -> (u16, Option<String>) {
    let request = format!("GET /stream?connectKey={key} HTTP/1.1\r\nhost: h\r\n\r\n");
    let stream = EventStream::send(host.http, &request).await;
    (stream.status, stream.header("retry-after").map(str::to_owned))
}

fn not_yet() -> (u16, Option<String>) {
    (503, Some("1".to_owned()))
}

#[tokio::test]
async fn no_stream_opens_that_a_new_module_may_guard_while_the_host_loads_it() {
    let host = without_modules().await;
    assert_eq!(ask(&host, "gated/room").await, (200, None));
    add(&host, "gated", &["gated/guarded/*", "orders/*"]);
    let reload = reloading(&host, "gated");
    for key in ["gated", "gated/room", "gated/guarded/refuse"] {
        assert_eq!(ask(&host, key).await, not_yet(), "{key}");
    }
    assert_eq!(host.get("/api/gated/who").await.status, 503);
    eventually("the compiler runs", || async { host.dir.path().join("reached").exists() }).await;
    for key in ["gated", "gated/guarded/refuse", "orders/refuse"] {
        assert_eq!(ask(&host, key).await, not_yet(), "{key}");
    }
    let mut stream = EventStream::try_resume(host.http, "/stream?connectKey=orders/refuse", "").await;
    assert_eq!((stream.status, stream.event().await.unwrap().name()), (200, "unavailable"));
    assert_eq!(ask(&host, "other").await.0, 200);

    // A second module waits for its turn to be compiled.
    add(&host, "second", &["second", "parcels/*"]);
    let second = reloading(&host, "second");
    assert_eq!(ask(&host, "second/room").await, not_yet());
    eventually("the folder was read", || async { ask(&host, "parcels/refuse").await == not_yet() }).await;
    assert!(!reload.is_finished() && !second.is_finished());

    host.dir.write("open", "");
    assert_eq!(reload.await.unwrap().unwrap().outcome, ReloadOutcome::Started);
    assert_eq!(second.await.unwrap().unwrap().outcome, ReloadOutcome::Started);
    for key in ["gated/guarded/refuse", "orders/refuse", "parcels/refuse"] {
        assert_eq!(ask(&host, key).await.0, 401, "{key}");
    }
    for key in ["gated/guarded/pass", "orders/pass", "gated/room"] {
        assert_eq!(ask(&host, key).await.0, 200, "{key}");
    }
}

#[tokio::test]
async fn a_new_module_that_vanishes_while_the_host_loads_it_is_not_known_any_more() {
    let host = without_modules().await;
    add(&host, "gated", &["gated/guarded/*"]);
    fs::remove_file(host.folder("gated").join("streams.wasm")).unwrap();
    let settled = host.running().swapper().reload("gated", ReloadOptions::CHANGE);
    fs::remove_dir_all(host.folder("gated")).unwrap();
    let error = settled.await.unwrap_err();
    assert!(matches!(error, SwapError::NotFound(_)), "{error}");
    assert_eq!((host.get("/api/gated/who").await.status, ask(&host, "gated/room").await.0), (404, 200));
}

#[tokio::test]
async fn a_key_that_only_a_canary_guards_does_not_open_until_it_ends() {
    let host = two_modules(&["second"]).start().await;
    let mut manifest = canary::canary_manifest("new", "1h", 0);
    manifest["streams"] = json!({ "first/*": {}, "news": {}, "later/*": { "path": "get who" }, "open/*": {} });
    host.put_manifest("first", &manifest);
    assert_eq!(ask(&host, "later/1").await.0, 200);
    let canary = host.start_canary("first").await;
    assert_eq!(ask(&host, "later/1").await, not_yet());
    for key in ["open/1", "first/1", "news"] {
        assert_eq!(ask(&host, key).await.0, 200, "{key}");
    }
    host.running().swapper().rollback("first", None).await.unwrap();
    assert!(canary.await.unwrap().is_err());
    assert_eq!(ask(&host, "later/1").await.0, 200);
}
