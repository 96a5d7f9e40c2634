//! Components that were built for earlier versions of the contract must load and work for ever.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::harness::{Started, TestHost, root};

/// The guests without an SDK.
const RAW: [&str; 3] = ["raw-rust", "raw-c", "raw-javascript"];

fn folder(version: &str) -> PathBuf {
    root().join("tests/guests/frozen").join(version)
}

/// Returns all files below a folder.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Returns the digest of a file, as `sha256sum` prints it.
fn digest(path: &Path) -> String {
    Sha256::digest(fs::read(path).unwrap()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Starts a host with every frozen component of a version, and returns their names too.
async fn host_with(version: &str) -> (Started, Vec<String>) {
    let mut names: Vec<String> = fs::read_dir(folder(version))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    let place = |name: &String| format!("frozen/{version}/{name}");
    let host = names.iter().fold(TestHost::empty(), |host, name| host.and_as(&place(name), name));
    let host = RAW.into_iter().fold(host, |host, name| host.grant(name, json!({ "rpc": ["echo"] })));
    (host.start().await, names)
}

#[tokio::test]
async fn components_of_0_1_0_load_and_work() {
    let (host, names) = host_with("0.1.0").await;
    assert!(names.len() >= 9, "{names:?}");
    let status = host.status().await;
    for module in status["modules"].as_array().unwrap() {
        assert_eq!(module["state"], "ready", "{module}");
    }
    for name in names.iter().filter(|name| *name != "snapshot" && *name != "counts" && *name != "serial") {
        let answer = host.post(&format!("/api/{name}/echo"), "as ever").await;
        assert_eq!((answer.status, answer.text()), (200, "as ever"), "{name}");
    }
    for name in RAW.into_iter().chain(["echo"]) {
        let answer = host.post(&format!("/api/{name}/pass"), "passed on").await;
        assert_eq!((answer.status, answer.text()), (200, "passed on"), "{name}");
    }
    for name in RAW {
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

#[test]
fn frozen_components_never_change() {
    let folder = folder("0.1.0");
    let sums = fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let mut sums: BTreeMap<&str, &str> =
        sums.lines().map(|line| line.split_once("  ").map(|(sum, name)| (name, sum)).unwrap()).collect();
    for file in files(&folder).iter().filter(|file| !file.ends_with("SHA256SUMS")) {
        let name = file.strip_prefix(&folder).unwrap().to_str().unwrap();
        assert_eq!(sums.remove(name), Some(&*digest(file)), "{name} differs from the frozen file");
    }
    assert!(sums.is_empty(), "these files are missing: {sums:?}");
}
