//! Components of earlier versions of the contract, as they were: they load and pass for ever.

use std::fs;

use serde_json::json;

use crate::harness::{Started, TestHost, root};

/// A host with every component that is kept for a version.
async fn host_with(version: &str) -> (Started, Vec<String>) {
    let dir = root().join("tests/guests/frozen").join(version);
    let mut names: Vec<String> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let place = |name: &String| format!("frozen/{version}/{name}");
    let host = names.iter().fold(TestHost::empty(), |host, name| host.and_as(&place(name), name));
    let host = ["raw-rust", "raw-c"].into_iter().fold(host, |host, name| host.grant(name, json!({ "rpc": ["echo"] })));
    (host.start().await, names)
}

#[tokio::test]
async fn components_of_0_1_0_load_and_pass() {
    let (host, names) = host_with("0.1.0").await;
    assert!(names.len() >= 8, "{names:?}");
    let status = host.status().await;
    for module in status["modules"].as_array().unwrap() {
        assert_eq!(module["state"], "ready", "{module}");
    }
    for name in names.iter().filter(|name| *name != "snapshot" && *name != "counts" && *name != "serial") {
        let answer = host.post(&format!("/api/{name}/echo"), "as ever").await;
        assert_eq!((answer.status, answer.text()), (200, "as ever"), "{name}");
    }
    for name in ["raw-rust", "raw-c"] {
        let answer = host.post(&format!("/api/{name}/wait"), "echo/echo").await;
        assert_eq!(answer.status, 204, "{name}: {}", answer.text());
        let receipt = host.post(&format!("/api/{name}/emit"), "x").await.json();
        assert_eq!(receipt["accepted"], 2, "{name}");
    }
    let entries = host.gather("counts", "append", r#"{"n":1}"#).await;
    assert!(entries.len() == 2 && entries.iter().all(|entry| entry.get("reply").is_some()), "{entries:?}");
    let count = host.post("/api/snapshot/count", "").await;
    assert_eq!(count.status, 200, "{}", count.text());
}
