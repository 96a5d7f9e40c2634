//! The conformance suite Autobahn for RFC 6455, run by the package kosoku.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::{Map, Value, json};
use tokio::process::Command;

use super::{GUEST, path, with};
use crate::harness::{not_run, root};

/// The cases about compression, which the host does not have.
const COMPRESSION: [&str; 2] = ["12.*", "13.*"];

/// What kosoku waits for no longer than a second, which is too short beside other tests. Such a
/// case runs again alone.
const TIMEOUTS: [&str; 3] = ["wasServerConnectionDropTimeout", "wasOpenHandshakeTimeout", "wasCloseHandshakeTimeout"];

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
    let report = host.dir.path().join("report");
    let run = async |args: Vec<&str>| -> Map<String, Value> {
        let mut command = Command::new(&kosoku);
        command.args(["-m", "fuzzingclient", "-o"]).arg(&report).args(args);
        command.arg(format!("{}{}", host.http, path("echo"))).stdout(Stdio::null()).kill_on_drop(true);
        command.status().await.unwrap();
        read(&report.join("index.json")).into_iter().flat_map(|(_, agent)| agent.as_object().unwrap().clone()).collect()
    };
    let mut cases =
        run(["-p", "4"].into_iter().chain(COMPRESSION.iter().flat_map(|cases| ["-x", cases])).collect()).await;
    assert_eq!(cases.len(), 301);
    for _ in 0..3 {
        let is_late = |case: &Value| {
            let details = read(&report.join(case["reportfile"].as_str().unwrap()));
            TIMEOUTS.iter().any(|timeout| details[*timeout] == true)
        };
        let late: Vec<String> =
            cases.iter().filter(|(_, case)| !passes(case) && is_late(case)).map(|(name, _)| name.clone()).collect();
        for name in late {
            cases.extend(run(vec!["-i", &name]).await);
        }
    }
    for (name, case) in cases {
        assert!(passes(&case), "case {name}: {case}");
    }
}

fn read(path: &Path) -> Map<String, Value> {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

fn passes(case: &Value) -> bool {
    ["behavior", "behaviorClose"].iter().all(|part| matches!(case[part].as_str(), Some("OK" | "INFORMATIONAL")))
}
