//! Requests, folders and sockets through WASI 0.3, whose functions the host replaces separately.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::sockets::echo;
use crate::harness::{Started, TestHost, WebServer};

/// A host whose module has these capabilities.
fn host(asked: &Value) -> TestHost {
    TestHost::with("outside")
        .manifest("outside", json!({ "capabilities": asked }))
        .grant("outside", asked.clone())
        .workers(1)
        .config(json!({ "shutdown": { "drain": "200ms" } }))
}

async fn run(host: &Started, command: Value) -> Value {
    let answer = host.post("/api/outside/next", command.to_string()).await;
    assert_eq!(answer.status, 200, "{command}: {}", answer.text());
    answer.json()
}

/// Checks the error of a command.
async fn fails(host: &Started, command: Value, error: &str) {
    let answer = run(host, command.clone()).await;
    assert!(answer["error"].as_str().is_some_and(|text| text.contains(error)), "{command}: {answer}");
}

fn fetch(server: &WebServer, path: &str, send: u64) -> Value {
    json!({ "do": "fetch", "authority": server.addr.to_string(), "path": path, "send": send })
}

#[tokio::test]
async fn requests_reach_only_granted_origins_within_the_limits() {
    let (server, other) = (WebServer::plain().await, WebServer::plain().await);
    let limits = json!({ "maxRequest": "10KiB", "maxResponse": "100KiB", "timeout": "300ms" });
    let host = host(&json!({ "http": [format!("http://{}", server.addr)] })).config(json!({ "outgoing": limits }));
    let host = host.start().await;
    assert_eq!(run(&host, fetch(&server, "/", 0)).await["body"], "hello over HTTP/1");
    assert_eq!(run(&host, fetch(&server, "/size", 10_240)).await["body"], "10240");
    fails(&host, fetch(&server, "/size", 10_241), "HttpRequestBodySize").await;
    fails(&host, fetch(&server, "/endless", 0), "HttpResponseBodySize").await;
    fails(&host, fetch(&server, "/never", 0), "HttpResponseTimeout").await;
    fails(&host, fetch(&server, "/stalls", 0), "ConnectionReadTimeout").await;
    assert_eq!(run(&host, fetch(&server, "/redirect", 0)).await["status"], 302);
    fails(&host, fetch(&other, "/", 0), "HttpRequestDenied").await;
    assert_eq!(other.accepted.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn folders_have_their_limits() {
    let host = host(&json!({ "dirs": { "/data": "rw" } }))
        .limit("outside", "disk", "64KiB")
        .limit("outside", "files", 20)
        .limit("outside", "openFiles", 10)
        .start()
        .await;
    let append = |size: u64| json!({ "do": "append", "folder": "/data", "name": "0", "size": size });
    assert_eq!(run(&host, append(40_000)).await, true);
    fails(&host, append(40_000), "InsufficientSpace").await;
    fails(&host, json!({ "do": "resize", "folder": "/data", "name": "0", "size": 1u64 << 40 }), "InsufficientSpace")
        .await;
    assert_eq!(run(&host, json!({ "do": "create", "folder": "/data", "count": 10_000 })).await, 20);
    fails(&host, json!({ "do": "makeFolder", "folder": "/data", "name": "below" }), "InsufficientSpace").await;
    let opened = run(&host, json!({ "do": "open", "folder": "/data", "name": "0", "count": 10_000 })).await;
    assert_eq!(opened, 10);
    assert_eq!(run(&host, json!({ "do": "close" })).await, true);
    assert_eq!(run(&host, json!({ "do": "open", "folder": "/data", "name": "0", "count": 1 })).await, 1);
}

#[tokio::test]
async fn streams_have_a_largest_number_and_keep_no_thread() {
    let host = host(&json!({ "dirs": { "/data": "rw" } })).limit("outside", "openFiles", 10).start().await;
    let append = json!({ "do": "append", "folder": "/data", "name": "0", "size": 200_000 });
    let read = json!({ "do": "read", "folder": "/data", "name": "0" });
    let list = json!({ "do": "list", "folder": "/data" });
    assert_eq!(run(&host, append.clone()).await, true);
    assert_eq!(run(&host, read.clone()).await, 200_000);
    assert_eq!(run(&host, json!({ "do": "create", "folder": "/data", "count": 200 })).await, 200);
    let names = run(&host, list.clone()).await;
    assert!(names.as_array().is_some_and(|names| names.len() == 200 && names[0] == "0"), "{names}");
    assert_eq!(run(&host, json!({ "do": "lists", "folder": "/data", "count": 9 })).await, true);
    for command in [&append, &read, &list] {
        assert!(run(&host, command.clone()).await.get("error").is_none(), "one more fits: {command}");
    }
    assert_eq!(run(&host, json!({ "do": "lists", "folder": "/data", "count": 1_000 })).await, true);
    for command in [&append, &read, &list] {
        fails(&host, command.clone(), "InsufficientMemory").await;
    }
    assert_eq!(run(&host, json!({ "do": "close" })).await, true);
    assert_eq!(run(&host, list).await.as_array().unwrap().len(), 200);
}

#[tokio::test]
async fn a_file_that_is_open_to_read_is_not_written_to() {
    let host = host(&json!({ "dirs": { "/data": "rw" } })).start().await;
    assert_eq!(run(&host, json!({ "do": "append", "folder": "/data", "name": "0", "size": 5 })).await, true);
    fails(&host, json!({ "do": "overwrite", "folder": "/data", "name": "0" }), "BadDescriptor").await;
    assert_eq!(run(&host, json!({ "do": "read", "folder": "/data", "name": "0" })).await, 5);
}

#[tokio::test]
async fn a_folder_to_read_is_not_written_to() {
    let host = host(&json!({ "dirs": { "/shared": "ro" } }))
        .config(json!({ "modules": { "outside": { "dirs": { "/shared": { "path": "shared" } } } } }))
        .file("shared/greeting", "hello")
        .start()
        .await;
    for command in [
        json!({ "do": "append", "folder": "/shared", "name": "greeting", "size": 1 }),
        json!({ "do": "overwrite", "folder": "/shared", "name": "greeting" }),
        json!({ "do": "resize", "folder": "/shared", "name": "greeting", "size": 1 }),
        json!({ "do": "makeFolder", "folder": "/shared", "name": "below" }),
    ] {
        fails(&host, command, "NotPermitted").await;
    }
    assert_eq!(std::fs::read_to_string(host.dir.path().join("shared/greeting")).unwrap(), "hello");
}

#[tokio::test]
async fn sockets_reach_only_granted_endpoints() {
    let ((address, _), (other, accepted)) = (echo().await, echo().await);
    let host =
        host(&json!({ "sockets": [format!("tcp://{address}")] })).limit("outside", "openFiles", 10).start().await;
    assert_eq!(run(&host, json!({ "do": "connect", "port": address.port() })).await, true);
    fails(&host, json!({ "do": "connect", "port": other.port() }), "AccessDenied").await;
    fails(&host, json!({ "do": "datagram", "port": address.port() }), "AccessDenied").await;
    fails(&host, json!({ "do": "listen" }), "AccessDenied").await;
    fails(&host, json!({ "do": "lookup", "name": "localhost" }), "AccessDenied").await;
    assert_eq!(run(&host, json!({ "do": "lookup", "name": "127.0.0.1" })).await, 1);
    for port in [0, address.port()] {
        fails(&host, json!({ "do": "bind", "port": port }), "AccessDenied").await;
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 0);
    assert_eq!(run(&host, json!({ "do": "sockets", "count": 10_000 })).await, 10);
}
