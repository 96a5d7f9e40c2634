//! Folders through `wasi:filesystem`.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost};

/// A host whose module has the folders `/data`, to write to, and `/shared`, to read.
fn host() -> TestHost {
    let asked = json!({ "dirs": { "/data": "rw", "/shared": "ro" } });
    TestHost::with("outside")
        .manifest("outside", json!({ "capabilities": asked }))
        .grant("outside", asked)
        .limit("outside", "cpu", "5s")
        .config(json!({ "modules": { "outside": { "dirs": { "/shared": { "path": "shared" } } } } }))
        .file("shared/greeting", "hello")
        .file("secret", "not for guests")
        .workers(1)
}

async fn run(host: &Started, command: Value) -> Value {
    let answer = host.post("/api/outside/files", command.to_string()).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

async fn act(host: &Started, action: &str, path: &str) -> Value {
    run(host, json!({ "do": action, "path": path })).await
}

async fn write(host: &Started, path: &str, size: u64) -> Value {
    run(host, json!({ "do": "write", "path": path, "size": size })).await
}

#[tokio::test]
async fn a_module_reads_and_writes_the_folders_that_it_has() {
    let host = host().start().await;
    assert_eq!(act(&host, "read", "/shared/greeting").await, "hello");
    assert_eq!(write(&host, "/data/new", 3).await, true);
    assert_eq!(act(&host, "read", "/data/new").await, "xxx");
    // Without a place of the operator's, the folder is the host's own.
    let own = host.dir.path().join("state/dirs/outside/data");
    let own = if own.exists() { own } else { host.dir.path().join(".fanfare/dirs/outside/data") };
    assert_eq!(fs::read_to_string(own.join("new")).unwrap(), "xxx");
    assert_eq!(act(&host, "makeFolder", "/data/below").await, true);
    assert_eq!(act(&host, "list", "/data").await, json!(["below", "new"]));
    let command = json!({ "do": "rename", "from": "/data/new", "to": "/data/below/old" });
    assert_eq!(run(&host, command).await, true);
    assert_eq!(act(&host, "remove", "/data/below/old").await, true);
    for (action, path) in [("write", "/shared/greeting"), ("write", "/shared/new")] {
        let refused = run(&host, json!({ "do": action, "path": path, "size": 1 })).await;
        assert!(refused["error"].is_string(), "{action} {path}: {refused}");
    }
    for (action, path) in [("remove", "/shared/greeting"), ("makeFolder", "/shared/below")] {
        assert!(act(&host, action, path).await["error"].is_string(), "{action} {path}");
    }
    assert_eq!(act(&host, "read", "/shared/greeting").await, "hello");
}

#[tokio::test]
async fn a_module_cannot_leave_its_folders() {
    let host = host().start().await;
    let shared = host.dir.path().join("shared");
    symlink("../secret", shared.join("up")).unwrap();
    symlink(host.dir.path().join("secret"), shared.join("absolute")).unwrap();
    symlink("/proc", shared.join("proc")).unwrap();
    symlink("..", shared.join("parent")).unwrap();
    symlink("greeting", shared.join("inside")).unwrap();
    symlink("two", shared.join("one")).unwrap();
    symlink("one", shared.join("two")).unwrap();
    assert_eq!(act(&host, "read", "/shared/inside").await, "hello");
    for path in [
        "/shared/up",
        "/shared/absolute",
        "/shared/parent/secret",
        "/shared/proc/self/environ",
        "/shared/../secret",
        "/shared/one",
        "/proc/self/environ",
        "/etc/passwd",
        "/secret",
        "secret",
        "/",
    ] {
        let read = act(&host, "read", path).await;
        assert!(read["error"].is_string(), "{path}: {read}");
    }
    for from in ["/shared/greeting", "/data/new"] {
        let moved = json!({ "do": "rename", "from": from, "to": "/data/../../escaped" });
        assert!(run(&host, moved).await["error"].is_string(), "{from}");
    }
    let linked = run(&host, json!({ "do": "hardLink", "from": "/shared/greeting", "to": "/data/greeting" })).await;
    assert!(linked["error"].is_string(), "a link would make it writable: {linked}");
    let moved = run(&host, json!({ "do": "rename", "from": "/shared/greeting", "to": "/data/greeting" })).await;
    assert!(moved["error"].is_string(), "it would be gone, and writable: {moved}");
    assert_eq!(act(&host, "read", "/shared/greeting").await, "hello");
}

/// Whether a write failed because of a limit. wasi-libc has one error for all that a stream
/// reports.
fn is_full(answer: &Value) -> bool {
    let error = answer["error"].as_str().unwrap_or_default();
    error.contains("No space left") || error.contains("I/O error")
}

pub async fn disk() {
    let host = host().limit("outside", "disk", "64KiB").start().await;
    assert_eq!(write(&host, "/data/a", 40_000).await, true);
    let full = write(&host, "/data/b", 40_000).await;
    assert!(is_full(&full), "{full}");
    for command in [
        json!({ "do": "append", "path": "/data/a", "size": 40_000 }),
        json!({ "do": "resize", "path": "/data/a", "size": 1u64 << 40 }),
    ] {
        let full = run(&host, command).await;
        assert!(is_full(&full), "{full}");
    }
    let full = run(&host, json!({ "do": "writeAt", "folder": "/data", "size": 40_000 })).await;
    assert!(full["error"].as_str().is_some_and(|text| text.contains("insufficient-space")), "{full}");
    assert!(host.metric("fanfare_bound_reached_total", &["disk"]).await > 0.0);
    let host_folder = host.dir.path().join("state/dirs/outside/data");
    let host_folder =
        if host_folder.exists() { host_folder } else { host.dir.path().join(".fanfare/dirs/outside/data") };
    let used: u64 = fs::read_dir(host_folder).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(used <= 65_536, "{used}");
    // Room that the guest makes is there again, and so is that of files that it overwrites.
    assert_eq!(act(&host, "remove", "/data/b").await, true);
    assert_eq!(act(&host, "remove", "/data/at").await, true);
    for _ in 0..5 {
        assert_eq!(write(&host, "/data/a", 20_000).await, true);
    }
    assert_eq!(act(&host, "remove", "/data/a").await, true);
    assert_eq!(write(&host, "/data/c", 65_000).await, true);
}

pub async fn files() {
    let host = host().limit("outside", "files", 20).limit("outside", "timeout", "30s").start().await;
    let create = json!({ "do": "create", "path": "/data", "count": 10_000 });
    assert_eq!(run(&host, create.clone()).await, 20);
    assert!(act(&host, "makeFolder", "/data/below").await["error"].is_string());
    assert_eq!(act(&host, "remove", "/data/3").await, true);
    assert_eq!(act(&host, "makeFolder", "/data/below").await, true);
}

pub async fn open_files() {
    let host = host().limit("outside", "openFiles", 10).limit("outside", "cpu", "5s").start().await;
    let open = json!({ "do": "open", "path": "/shared/greeting", "count": 10_000 });
    let opened = run(&host, open.clone()).await.as_u64().unwrap();
    assert!((1..=10).contains(&opened), "{opened}");
    assert!(act(&host, "read", "/shared/greeting").await["error"].is_string());
    assert!(host.metric("fanfare_bound_reached_total", &["open-files"]).await > 0.0);
    assert_eq!(run(&host, json!({ "do": "close" })).await, true);
    assert_eq!(act(&host, "read", "/shared/greeting").await, "hello");
    // A list has all entries of its folder.
    assert_eq!(run(&host, json!({ "do": "lists", "folder": "/shared", "count": 10_000 })).await, 10);
}

#[tokio::test]
async fn a_folder_that_does_not_exist_is_refused_at_load() {
    let missing = json!({ "modules": { "outside": { "dirs": { "/shared": { "path": "none" } } } } });
    let host = host().config(missing).start().await;
    let status = host.status().await;
    let reason = status["modules"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("cannot open the folder") && reason.contains("/none for /shared"), "{reason}");
}

#[tokio::test]
async fn a_right_to_write_needs_a_grant_to_write() {
    let host =
        host().config(json!({ "modules": { "outside": { "grants": { "dirs": { "/data": "ro" } } } } })).start().await;
    let status = host.status().await;
    let reason = status["modules"][0]["reason"].as_str().unwrap();
    assert!(
        reason.contains("use the folder /data (rw), which is not granted: run `fanfare grant outside`"),
        "{reason}"
    );
}
