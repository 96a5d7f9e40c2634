//! Emitted broadcasts that fail.

use serde_json::json;

use super::{heard_all, seqs};
use crate::harness::{TestHost, eventually};

async fn misbehaves(how: &str, outcome: &str) {
    let host = TestHost::with("counts").limit("counts", "timeout", "1s").start().await;
    host.emit("counts", "misbehave", json!({ "worker": 1, "how": how }).to_string()).await;
    host.emit("counts", "append", "behind it").await;
    eventually(outcome, || async { host.ended("counts", 1, "broadcast", outcome).await == 1.0 }).await;
    assert_eq!(host.ended("counts", 0, "broadcast", outcome).await, 0.0);
    for worker in [0, 1] {
        assert_eq!(seqs(&heard_all(&host, worker, 1).await), [2], "the next broadcast runs in worker-{worker}");
    }
}

#[tokio::test]
async fn a_broadcast_past_its_timeout_counts_as_timeout() {
    misbehaves("never", "timeout").await;
}

#[tokio::test]
async fn a_failing_handler_counts_as_failure() {
    misbehaves("fail", "failure").await;
}

#[tokio::test]
async fn waiting_in_the_lane_does_not_count_against_the_timeout() {
    // Two broadcasts before it hang, one after the other, until they time out.
    let host = TestHost::with("counts")
        .workers(1)
        .limit("counts", "concurrency", 1)
        .limit("counts", "timeout", "500ms")
        .limit("counts", "abandonAfter", "100ms")
        .limit("counts", "maxLeaked", 1)
        .start()
        .await;
    for _ in 0..2 {
        host.emit("counts", "misbehave", json!({ "worker": 0, "how": "spin" }).to_string()).await;
    }
    host.emit("counts", "append", "last").await;
    eventually("the last broadcast has run", || async { host.ended("counts", 0, "broadcast", "ok").await == 1.0 })
        .await;
}
