//! The conformance suite Autobahn for RFC 6455, run by the package kosoku.

use std::process::Stdio;

use serde_json::{Value, json};
use tokio::process::Command;

use super::{GUEST, path, with};
use crate::harness::{not_run, root};

/// The cases about compression, which the host does not have.
const COMPRESSION: [&str; 2] = ["12.*", "13.*"];

#[tokio::test]
async fn a_plain_echo_socket_passes_the_cases_of_autobahn() {
    let kosoku = root().join("target/readers/python/bin/kosoku");
    if !kosoku.exists() {
        return not_run("the conformance suite of WebSockets: install python3-venv, then run tests/readers/install");
    }
    // The largest messages have 16 MiB.
    let limits = json!({ "payload": "64MiB", "queued": "256MiB", "memory": "1GiB", "timeout": "60s" });
    let host = with(json!({
        "maxMessage": "64MiB", "pingTimeout": "10m", "ackTimeout": "60s", "queue": { "events": 100_000, "bytes": "256MiB" }
    }))
    .config(json!({ "limits": { "max": limits }, "modules": { GUEST: { "limits": limits } } }))
    .start()
    .await;
    let mut command = Command::new(kosoku);
    command.args(["-m", "fuzzingclient", "-p", "4", "-o"]).arg(host.dir.path().join("report"));
    command.args(COMPRESSION.iter().flat_map(|cases| ["-x", cases]));
    command.arg(format!("{}{}", host.http, path("echo"))).stdout(Stdio::null()).kill_on_drop(true);
    command.status().await.unwrap();
    let report = std::fs::read_to_string(host.dir.path().join("report/index.json")).unwrap();
    let report: Value = serde_json::from_str(&report).unwrap();
    let cases: Vec<_> = report.as_object().unwrap().values().flat_map(|agent| agent.as_object().unwrap()).collect();
    assert_eq!(cases.len(), 301);
    for (name, case) in cases {
        for part in ["behavior", "behaviorClose"] {
            assert!(matches!(case[part].as_str(), Some("OK" | "INFORMATIONAL")), "case {name}: {case}");
        }
    }
}
