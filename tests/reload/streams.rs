//! The stream patterns of modules: no two modules declare the same one.

use fanfare::api::ReloadOutcome;

use super::*;

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
