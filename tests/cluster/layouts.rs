//! The layouts of docs/scaling.md.

use serde_json::json;

use super::rollouts::{generation, manifest};
use super::{on, sees, start};
use crate::harness::Nats;
use crate::rpc::{end, replied};

#[tokio::test]
async fn nodes_of_a_leaf_and_of_its_hub_are_one_cluster() {
    let Some([hub, leaf]) = Nats::with_leaf().await else { return };
    let far = start(&leaf, "eu-1", "eu", &["echo"]).await;
    let near = start(&hub, "us-1", "us", &["echo"]).await;
    for host in [&far, &near] {
        sees(host, &[("eu-1", "echo"), ("us-1", "echo")]).await;
    }
    for (host, node) in [(&far, "us-1"), (&near, "eu-1")] {
        let called = host.nested(0, on(node, "echo/context")).await;
        assert_eq!(end(&called), "ok", "{called}");
        assert_eq!(replied(&called)["whoami"]["node"], node);
    }
    let receipt = far.emit("waits", "wave", "x").await;
    assert_eq!((&receipt["nodes"], &receipt["skipped"]), (&json!(1), &json!([])), "{receipt}");
    // The leaf has no JetStream: its nodes use that of the hub.
    for host in [&far, &near] {
        host.put_manifest("echo", &manifest("new"));
    }
    let reloaded = far.reload("echo").await;
    assert_eq!(reloaded["nodes"][0]["outcome"], "swapped", "{reloaded}");
    assert_eq!(generation(&far).await, generation(&near).await);
    assert_eq!(far.metric("fanfare_cluster_bucket_failed_total", &[]).await, 0.0);
}
