//! The settings of kills.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{crashed, killable};
use crate::failures::steps::assert_names;
use crate::harness::{TestHost, eventually, json_of};

pub async fn process_term_timeout() {
    for (timeout, crashes) in [("1m", 0), ("50ms", 1)] {
        let host = killable(json!({}), json!({ "processTermTimeout": timeout })).start().await;
        let running = host.wait_elsewhere().await;
        let kill = host.killing(0, false);
        eventually("the next instance serves", || async { host.look(0).await["count"] == 0 }).await;
        if crashes == 0 {
            host.release_waiting(1).await;
        }
        assert_eq!(crashed(&kill.await.unwrap()), crashes, "{timeout}");
        let ended = running.await.unwrap();
        assert_eq!(ended["code"] == "crashed", crashes == 1, "{ended}");
    }
}

/// `allocates` in two workers, checked every 100 ms for this threshold.
fn heavy(threshold: Value) -> TestHost {
    let master = json!({ "killWorkerMemoryThreshold": threshold, "workerStatusInterval": "100ms" });
    TestHost::with("allocates").and("echo").config(json!({ "master": master }))
}

async fn eat(host: &crate::harness::Started, worker: u32, mib: u32) {
    host.run(worker, "allocates", "eat", json!(mib)).await;
}

pub async fn kill_worker_memory_threshold() {
    let host = heavy(json!("24MiB")).start().await;
    let memory = async |worker: usize| host.status().await["isolates"][worker]["memory"].as_u64().unwrap();
    eat(&host, 0, 12).await;
    eat(&host, 1, 12).await;
    for worker in [0, 1] {
        assert!((12 << 20..24 << 20).contains(&memory(worker).await), "{}", memory(worker).await);
    }
    assert_eq!(host.count("worker-0", "echo").await, 1);
    eat(&host, 0, 12).await;
    eventually("worker 0 is killed", || async { host.events_named(&["workerExit"]).await.len() == 1 }).await;
    assert!(memory(0).await < 12 << 20, "{}", memory(0).await);
    let why = ["worker-0", "more than master.killWorkerMemoryThreshold, 24MiB"];
    let (exit, warning) = (host.events_named(&["workerExit"]).await, host.events_named(&["warning"]).await);
    assert_eq!((&exit[0]["id"], warning.len()), (&json!(0), 1));
    assert_names(&exit[0]["reason"], &why);
    assert_names(&warning[0]["message"], &why);
    assert_eq!(warning[0]["origin"], json!({ "type": "Worker", "id": 0 }));
    assert_eq!(host.count("worker-0", "echo").await, 1, "all modules of the isolate are killed");
    assert!(memory(1).await >= 12 << 20, "the other worker keeps its memory");

    let host = heavy(Value::Null).start().await;
    eat(&host, 0, 40).await;
    let sampled = || async { host.metric("fanfare_instance_memory_bytes", &["worker-0", "allocates"]).await > 4e7 };
    eventually("the memory is measured", sampled).await;
    assert_eq!(host.events_named(&["workerExit", "warning"]).await.len(), 0);
}

pub async fn worker_status_interval() {
    for (interval, early) in [("100ms", true), ("1h", false)] {
        let master = json!({ "killWorkerMemoryThreshold": "1MiB", "workerStatusInterval": interval });
        let host = TestHost::with("allocates").workers(1).config(json!({ "master": master })).start().await;
        eat(&host, 0, 2).await;
        let (begun, wait) = (Instant::now(), Duration::from_millis(500));
        let killed = async || !host.events_named(&["workerExit"]).await.is_empty();
        eventually("it is killed, or enough time has passed", || async {
            killed().await || (!early && begun.elapsed() > wait)
        })
        .await;
        assert_eq!(killed().await, early, "{interval}");
    }
}

#[tokio::test]
async fn the_status_counts_the_clients_and_the_requests_of_each_worker() {
    let host = TestHost::with("echo").brokers(1).config(json!({ "master": { "workerStatusInterval": "100ms" } }));
    let host = host.start().await;
    let load = async |index: usize| host.status().await["isolates"][index].clone();
    assert_eq!(load(2).await["isolate"], "broker-0");
    assert_eq!(load(3).await["isolate"], "master");
    let mut clients = Vec::new();
    for _ in 0..4 {
        let mut client = crate::harness::Connection::open(host.http).await;
        assert_eq!(client.send("GET", "/api/echo/who", &[], "").await.status, 200);
        clients.push(client);
    }
    for worker in [0, 1] {
        assert_eq!(load(worker).await["clients"], 2);
        let rate = || async { load(worker).await["requestsPerMinute"].as_u64().unwrap() };
        eventually("the rate falls again", || async { rate().await == 0 }).await;
    }
    let busy = || async {
        assert_eq!(clients.len(), 4);
        json_of(&host.call("worker-0", "echo", "who", "").await);
        host.get("/api/echo/who").await;
        load(0).await["requestsPerMinute"].as_u64().unwrap() > 0
    };
    eventually("requests are counted", busy).await;
    assert_eq!(load(2).await["requestsPerMinute"], 0, "calls of the operator are no requests");
}
