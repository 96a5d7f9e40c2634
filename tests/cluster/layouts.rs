//! The layouts of docs/scaling.md.

use serde_json::json;

use super::durable::{all_hear, emit, grants, in_stream, keep, numbers, reads};
use super::homes::kept::{self, publish};
use super::homes::{channel, place};
use super::rollouts::{generation, manifest};
use super::security::documented;
use super::{on, sees, start};
use crate::channels::Client;
use crate::harness::{Nats, TestHost};
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

/// A node with all that uses JetStream: that of the domain `hub`.
fn in_hub(nats: &Nats, id: &str) -> TestHost {
    kept::host(nats.node(id, "node"))
        .and("durable")
        .grant("durable", grants())
        .workers(2)
        .config(json!({ "cluster": { "jetStreamDomain": "hub" } }))
}

#[tokio::test]
async fn nodes_of_a_leaf_with_its_own_jetstream_use_that_of_the_hub() {
    // What docs/cluster.md says about the permissions in a domain.
    let permissions = documented().replace("\"$KV.", "\"$JS.hub.API.$KV.").replace("\"$JS.API.", "\"$JS.hub.API.");
    let Some([hub, leaf]) = Nats::with_domains(&permissions).await else { return };
    let login = json!({ "cluster": { "username": "fanfare", "passwordFile": "secret" } });
    let far = in_hub(&leaf, "eu-1").config(login).file("secret", "secret").start().await;
    let near = in_hub(&hub, "us-1").start().await;
    for host in [&far, &near] {
        sees(host, &[("eu-1", "durable"), ("us-1", "durable")]).await;
        reads(host).await;
    }
    for (host, text) in [(&far, "0"), (&near, "1")] {
        let kept = keep(host, text).await;
        assert!(kept["error"].is_null(), "{kept}");
    }
    emit(&far, "2").await;
    for host in [&far, &near] {
        all_hear(host, &numbers(0..3)).await;
    }
    assert_eq!(in_stream(&hub).await, 3);
    // Nodes agree on reloads in the bucket.
    let reloaded = far.reload("durable").await;
    assert_eq!(reloaded["nodes"][0]["outcome"], "swapped", "{reloaded}");
    for host in [&far, &near] {
        assert_eq!(host.metric("fanfare_cluster_bucket_failed_total", &[]).await, 0.0);
    }
    // The history of a channel survives its home on the leaf.
    let channel = channel("lasting", &[("eu-1", &["eu-1", "us-1"])]);
    let mut client = Client::subscribed(&near, 2, &channel).await;
    publish(&mut client, &channel, 1).await;
    let first = place(&client.message().await);
    assert_eq!(far.metric("fanfare_histories_written_total", &[]).await, 1.0);
    far.stop().await;
    publish(&mut client, &channel, 2).await;
    assert_eq!(place(&client.message().await), (first.0, 2), "the epoch continues");
}
