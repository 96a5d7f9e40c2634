//! File descriptors: the host reserves some for work other than connections.

use std::fs;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::{Project, Serving};
use crate::harness::{Connection, eventually, source_of};

async fn status(serving: &Serving) -> Value {
    serving.operator("GET", "/v1/status").await.json()
}

#[tokio::test]
async fn the_host_raises_the_soft_limit_to_the_hard_limit() {
    let project = Project::with(&["echo"]);
    let serving = project.start(project.command_with_files(&["-n 900", "-S -n 64"], &["serve"])).await;
    assert_eq!(status(&serving).await["descriptors"], json!({ "max": 900, "reserved": 192 }));
}

#[tokio::test]
async fn connections_of_the_operator_do_not_reduce_those_of_clients() {
    let project = Project::with(&["echo"]);
    let serving = project.start(project.command_with_files(&["-n 256"], &["serve"])).await;
    let mut operators = Vec::new();
    for _ in 0..40 {
        let mut operator = Connection::open(serving.admin).await;
        assert_eq!(operator.send("GET", "/livez", &[], "").await.status, 200);
        operators.push(operator);
    }
    let max = status(&serving).await["connections"]["max"].as_u64().unwrap();
    let mut clients = Vec::new();
    for _ in 0..max {
        let mut client = Connection::open(serving.http).await;
        assert_eq!(client.send("GET", "/api/echo/who", &[], "").await.status, 200);
        clients.push(client);
    }
    let metrics = serving.operator("GET", "/metrics").await;
    assert!(metrics.text().contains("fanfare_accept_failures_total 0"), "{}", metrics.text());
}

#[tokio::test]
async fn with_all_connections_open_the_operator_reload_and_compiler_work() {
    // Long timeouts, so that the host does not close silent connections while a slow machine
    // compiles.
    let http = json!({ "listen": "127.0.0.1:0", "headerTimeout": "10m", "idleTimeout": "10m" });
    let project = Project::with(&["echo"]).own_state().config(json!({ "http": http }));
    let mut serving = project.start(project.command_with_files(&["-n 256"], &["serve"])).await;
    let max = status(&serving).await["connections"]["max"].as_u64().unwrap();
    assert!((32..128).contains(&max), "half of 256 is reserved: {max}");

    let mut clients = Vec::new();
    for _ in 0..300 {
        clients.push(TcpStream::connect(serving.http).await.unwrap());
    }
    eventually("every allowed connection is open", || async {
        status(&serving).await["connections"] == json!({ "open": max, "max": max, "configured": 10_000 })
    })
    .await;

    assert_eq!(serving.operator("GET", "/readyz").await.status, 200);
    let reloaded = serving.operator("POST", "/v1/modules/echo/reload?force=true").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    for file in ["module.json", "flags.wasm"] {
        project.dir.write(&format!("modules/flags/{file}"), fs::read(source_of("flags").join(file)).unwrap());
    }
    let compiled = serving.operator("POST", "/v1/modules/flags/reload").await;
    assert_eq!(compiled.status, 200, "{}", compiled.text());
    assert_eq!(serving.status("flags").await["state"], "ready");

    let metrics = serving.operator("GET", "/metrics").await;
    for line in [
        format!("fanfare_http_connections {max}"),
        format!("fanfare_http_connections_max {max}"),
        "fanfare_descriptors_max 256".to_owned(),
        "fanfare_accept_failures_total 0".to_owned(),
    ] {
        assert!(metrics.text().lines().any(|found| found == line), "{line} in {}", metrics.text());
    }
    let readable = project.run(&["status", "--admin", &serving.admin()]).await;
    assert!(readable.out.contains(&format!("{max} of {max} connections; `ulimit -n`")), "{}", readable.out);

    // Waiting connections are served when others close.
    drop(clients);
    assert_eq!(serving.get("/api/echo/who").await.status, 200);
    serving.signal(Signal::TERM);
    assert_eq!(serving.ended().await.code(), Some(0));
    let log = project.read("log");
    let warnings: Vec<&str> = log.lines().filter(|line| line.contains("WARN")).collect();
    assert!(warnings.len() == 1 && warnings[0].contains("http.maxConnections, 10000"), "{warnings:?}");
}
