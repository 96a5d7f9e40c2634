//! Reloads that go from node to node while all nodes are under load.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use serde_json::json;
use tokio::process::Command;

use super::{on, sees, start};
use crate::foreign::packages::succeeded;
use crate::harness::{Connection, Nats, Started, eventually, not_run, program};
use crate::rpc::end;

#[tokio::test]
async fn a_rolling_reload_under_load_fails_no_call() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = super::two(&nats, &["snapshot"]).await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "snapshot"), ("b-1", "snapshot")]).await;
    }
    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients = [a.http, b.http, a.http, b.http].map(|address| {
        let (stop, answered) = (stop.clone(), answered.clone());
        tokio::spawn(async move {
            // `send` fails when the host closes the connection.
            let mut client = Connection::open(address).await;
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", "/api/snapshot/count", &[], "").await;
                assert_eq!(answer.status, 200, "{}", answer.text());
                answered.fetch_add(1, Ordering::AcqRel);
            }
        })
    });
    let crossing = async |host: &Started, other: &str| {
        while !stop.load(Ordering::Acquire) {
            let told = host.nested(0, on(other, "snapshot/count")).await;
            assert_eq!(end(&told), "ok", "{told}");
            answered.fetch_add(1, Ordering::AcqRel);
        }
    };
    let rolling = async {
        for round in 0..10 {
            let (asked, other) = if round % 2 == 0 { (&a, "b-1") } else { (&b, "a-1") };
            let reloaded = asked.reload("snapshot").await;
            let node = &reloaded["nodes"][0];
            assert_eq!((&node["node"], &node["outcome"]), (&json!(other), &json!("swapped")), "{reloaded}");
            let before = answered.load(Ordering::Acquire);
            eventually("calls go on", || async { answered.load(Ordering::Acquire) > before + 20 }).await;
        }
        stop.store(true, Ordering::Release);
    };
    tokio::join!(rolling, crossing(&a, "b-1"), crossing(&b, "a-1"));
    for client in clients {
        client.await.unwrap();
    }
}

/// Runs `wrk` again and again until `stop`. Returns the number of its requests. Fails with the
/// output of a run in which one failed.
async fn load(wrk: PathBuf, url: String, stop: Arc<AtomicBool>) -> u64 {
    let mut requests = 0;
    while !stop.load(Ordering::Acquire) {
        let mut command = Command::new(&wrk);
        command.args(["-t1", "-c4", "-d1s", "--timeout", "10s", &url]).stdin(Stdio::null()).kill_on_drop(true);
        let output = command.output().await.unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        requests += succeeded(&text).unwrap_or_else(|| panic!("a request failed: {text}"));
    }
    requests
}

#[tokio::test]
async fn a_rolling_reload_under_wrk_on_all_nodes_fails_no_call() {
    let Some(nats) = Nats::start().await else { return };
    let Some(wrk) = program(&["wrk"]) else { return not_run("wrk is not installed (the package wrk)") };
    let all = [
        start(&nats, "a-1", "alpha", &["snapshot"]).await,
        start(&nats, "b-1", "beta", &["snapshot"]).await,
        start(&nats, "c-1", "alpha", &["snapshot"]).await,
    ];
    for host in &all {
        sees(host, &[("a-1", "snapshot"), ("b-1", "snapshot"), ("c-1", "snapshot")]).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let loads: Vec<_> = all
        .iter()
        .map(|host| tokio::spawn(load(wrk.clone(), format!("http://{}/api/snapshot/count", host.http), stop.clone())))
        .collect();
    let calls = || async { all[2].metric("fanfare_calls_total", &["module=\"snapshot\""]).await };
    for round in 0..6 {
        let (asked, before) = (&all[round % 3], calls().await);
        let reloaded = asked.reload("snapshot").await;
        let nodes = reloaded["nodes"].as_array().unwrap();
        assert_eq!(nodes.len(), 2, "{reloaded}");
        assert!(nodes.iter().all(|node| node["outcome"] == "swapped"), "{reloaded}");
        eventually("calls go on", || async { calls().await > before + 100.0 }).await;
    }
    stop.store(true, Ordering::Release);
    for load in loads {
        assert!(load.await.unwrap() > 100, "each node was under load");
    }
    let failed = ["crashed", "timeout", "overloaded", "unavailable", "failure"];
    for host in &all {
        for outcome in failed {
            let outcome = format!("outcome=\"{outcome}\"");
            assert_eq!(host.metric("fanfare_calls_total", &["module=\"snapshot\"", &outcome]).await, 0.0, "{outcome}");
        }
    }
}
