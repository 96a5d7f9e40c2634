//! Handing the state over, and its limits.

use serde_json::json;

use super::{count, swapping};
use crate::failures::steps::assert_names;
use crate::harness::{TestHost, json_of};

#[tokio::test]
async fn each_worker_hands_its_state_over() {
    let host = TestHost::with("snapshot").start().await;
    let count = async |worker: &str| json_of(&host.call(worker, "snapshot", "count", "").await);
    for expected in 1..=3 {
        assert_eq!(count("worker-0").await["count"], expected);
    }
    assert_eq!(count("worker-1").await["count"], 1);
    let digest = host.module("snapshot").await["generation"].clone();
    assert_eq!(host.reload("snapshot").await["running"], 0);
    let (first, second) = (count("worker-0").await, count("worker-1").await);
    assert_eq!((&first["count"], &second["count"]), (&json!(4), &json!(2)), "each worker has its own");
    assert_eq!(first["from"], digest);
}

#[tokio::test]
pub async fn running_calls_get_quiesce_to_end() {
    let host = swapping(json!({ "quiesce": "20s" }), json!({})).start().await;
    assert_eq!(count(&host).await, 1);
    let swapped = async {
        host.until_running("snapshot", 0, 1).await;
        host.reload("snapshot").await
    };
    let (blocked, swapped) = tokio::join!(host.call("any", "snapshot", "block", "200"), swapped);
    assert_eq!((&blocked["status"], &swapped["running"]), (&json!(200), &json!(0)), "{blocked} {swapped}");
    assert_eq!(count(&host).await, 2);

    let host = swapping(json!({ "quiesce": "20ms" }), json!({})).limit("snapshot", "timeout", "500ms").start().await;
    let swapped = async {
        host.until_running("snapshot", 0, 1).await;
        host.reload("snapshot").await
    };
    let (held, swapped) = tokio::join!(host.call("any", "snapshot", "hold", ""), swapped);
    assert_eq!((&held["code"], &swapped["running"]), (&json!("timeout"), &json!(1)), "{held} {swapped}");
}

#[tokio::test]
pub async fn save_and_load_end_at_the_timeout() {
    for (which, config) in [("save", json!({ "save": "never" })), ("load", json!({ "load": "never" }))] {
        let host = swapping(json!({ "timeout": "50ms" }), config).start().await;
        assert_eq!(count(&host).await, 1);
        let refused = host.reload("snapshot").await;
        assert_names(&refused["detail"], &[which, "took longer than swap.timeout (50ms)"]);
        assert_eq!(count(&host).await, 2, "the old instance keeps serving");
    }
    let host = swapping(json!({ "timeout": "20s" }), json!({})).start().await;
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
}

#[tokio::test]
pub async fn the_size_of_the_state_is_limited() {
    // The saved state is `{"count":1,"padding":".."}`.
    for (padding, within) in [(1_000 - 24, true), (1_000 - 23, false)] {
        let host = swapping(json!({ "state": 1_000 }), json!({ "padding": padding })).start().await;
        assert_eq!(count(&host).await, 1);
        let swapped = host.reload("snapshot").await;
        assert_eq!(swapped["outcome"] == "swapped", within, "{swapped}");
        if !within {
            assert_names(&swapped["detail"], &["snapshot in worker-0", "1001 bytes", "swap.state allows 1000"]);
        }
        assert_eq!(count(&host).await, 2);
    }
}
