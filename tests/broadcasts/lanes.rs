//! Broadcasts wait in a lane of their own.

use serde_json::json;

use super::{broadcast, heard_all, seqs};
use crate::harness::{Connection, Gate, Started, TestHost, by_worker, ends, eventually};

/// Sends this number of requests that do not end, and waits until the status shows them.
async fn hold(host: &Started, count: usize, status: &str) {
    for _ in 0..count {
        let mut connection = Connection::open(host.http).await;
        tokio::spawn(async move { connection.send("POST", "/api/waits/hold", &[], "").await });
    }
    eventually(status, || async { host.slot("waits", 0).await[status] == count }).await;
}

#[tokio::test]
async fn http_load_does_not_fill_the_broadcast_lane() {
    let host = TestHost::waits_for(&[])
        .workers(1)
        .limit("waits", "concurrency", 2)
        .limit("waits", "mailbox", 3)
        .limit("waits", "broadcasts", 1)
        .start()
        .await;
    // Two calls run and three wait, so the mailbox is full.
    hold(&host, 2, "inFlight").await;
    hold(&host, 3, "waiting").await;
    let refused = host.post("/api/waits/hold", "").await;
    assert_eq!((refused.status, refused.code().as_str()), (503, "overloaded"));

    let entries = host.gather("waits", "wave", "over the heads of all").await;
    assert_eq!(ends(&entries.into()), by_worker(&["reply"]));
    assert_eq!(host.slot("waits", 0).await["waiting"], 3, "the calls still wait");
}

#[tokio::test]
async fn a_full_lane_in_one_worker_rejects_the_broadcast_in_all() {
    let gate = Gate::before(|call| broadcast("append", call) == Some((1, 1)));
    let host = TestHost::with("counts").limit("counts", "broadcasts", 2).probe(gate.probe()).start().await;
    host.emit("counts", "append", "runs").await;
    eventually("worker-1 is blocked", || async { gate.reached() == 1 }).await;
    for seq in [2_u64, 3] {
        assert_eq!(host.emit("counts", "append", "waits in worker-1").await["seq"], seq);
        heard_all(&host, 0, seq as usize).await;
    }
    for _ in 0..3 {
        let refused = host.emit("counts", "append", "for nobody").await;
        assert_eq!((&refused["code"], &refused["status"]), (&json!("overloaded"), &json!(503)), "{refused}");
        let detail = refused["detail"].as_str().unwrap();
        assert!(detail.contains("worker-1") && detail.contains("limits.broadcasts"), "{detail}");
    }
    let refused = host.admin("POST", "/v1/modules/counts/broadcasts/append?gather=true", "").await;
    assert_eq!(refused.json()["code"], "overloaded");

    gate.open();
    eventually("its lane is empty", || async { host.slot("counts", 1).await["waitingBroadcasts"] == 0 }).await;
    assert_eq!(host.emit("counts", "append", "next").await["seq"], 4, "a rejection uses no number");
    for worker in [0, 1] {
        assert_eq!(seqs(&heard_all(&host, worker, 4).await), [1, 2, 3, 4], "worker-{worker}");
    }
}
