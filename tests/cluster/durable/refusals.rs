//! What durable broadcasts cannot do.

use super::parked::{parked, replay};
use super::*;
use crate::cluster::security;

#[tokio::test]
async fn without_nats_servers_a_durable_broadcast_is_unavailable_and_the_module_serves() {
    let a = TestHost::with(GUEST).grant(GUEST, grants()).start().await;
    for receipt in [keep(&a, "x").await, emit(&a, "x").await] {
        assert_eq!(receipt["error"], "unavailable", "{receipt}");
        assert!(receipt["message"].as_str().unwrap().contains("set cluster.nats"), "{receipt}");
    }
    assert_eq!(a.emit(GUEST, "direct", "here").await["accepted"], 2);
    all_hear(&a, &["here".to_owned()]).await;
    assert_eq!(durable(&a).await["modules"], json!([]));
}

#[tokio::test]
async fn a_durable_broadcast_is_not_gathered_and_another_one_is_not_kept() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let gather = json!({ "name": "told", "payload": "x" });
    let gathered = a.run(0, GUEST, "gather", gather).await;
    assert_eq!(gathered["error"], "invalid", "{gathered}");
    assert!(gathered["message"].as_str().unwrap().contains("emit it instead of gathering"), "{gathered}");
    let kept = a.run(0, GUEST, "keep", json!({ "name": "direct", "payload": "x" })).await;
    assert_eq!(kept["error"], "invalid", "{kept}");
    assert!(kept["message"].as_str().unwrap().contains("add `\"delivery\": \"durable\"` to it"), "{kept}");
    let unknown = a.run(0, GUEST, "keep", json!({ "name": "none", "payload": "x" })).await;
    assert_eq!(unknown["error"], "not-found", "{unknown}");
    let large = keep(&a, &"x".repeat(1_100_000)).await;
    assert_eq!(large["error"], "invalid", "{large}");
    assert!(large["message"].as_str().unwrap().contains("max_payload of the NATS server allows"), "{large}");
    assert_eq!((texts(&a, 0).await.len(), in_stream(&nats).await), (0, 0));
}

#[tokio::test]
async fn a_startup_cannot_wait_for_the_stream_before_the_host_serves_and_is_told_at_once() {
    let Some(nats) = Nats::start().await else { return };
    let startups = json!({ "startups": { "vow": { "path": "vow" } } });
    let a = host(&nats.url(), "a-1").manifest(GUEST, startups).config(json!({ "cluster": { "timeout": "60s" } }));
    let a = a.start().await;
    assert!(a.log.contains(&["the host does not serve yet", "use `emit` in a startup"]));
    // The host starts the module again.
    for worker in [0, 1] {
        eventually("the worker hears it", || async { texts(&a, worker).await.contains(&"vowed".to_owned()) }).await;
    }
}

#[tokio::test]
async fn without_jetstream_a_durable_broadcast_is_unavailable_and_says_why() {
    let Some(nats) = Nats::without_jetstream().await else { return };
    let a = host(&nats.url(), "a-1").start().await;
    let why = || async { durable(&a).await["modules"][0]["reason"].to_string().contains("is JetStream enabled") };
    eventually("the status says why", why).await;
    let kept = keep(&a, "x").await;
    assert_eq!(kept["error"], "unavailable", "{kept}");
    assert!(kept["message"].as_str().unwrap().contains("is JetStream enabled"), "{kept}");
}

#[tokio::test]
async fn a_node_with_only_the_permissions_of_the_documentation_keeps_and_runs_durable_broadcasts() {
    for nats in Nats::all_configured(&security::documented()).await {
        let login = json!({ "cluster": { "username": "fanfare", "passwordFile": "secret" } });
        let node = |id: &str| host(&nats.url(), id).config(login.clone()).file("secret", "secret");
        let (a, b) = (node("a-1").start().await, node("b-1").start().await);
        reads(&a).await;
        reads(&b).await;
        for text in ["first", "fail3 x", "last"] {
            let receipt = keep(&a, text).await;
            assert!(receipt["seq"].is_u64(), "{receipt}");
        }
        for host in [&a, &b] {
            all_hear(host, &["first", "last"].map(str::to_owned)).await;
        }
        // A replay deletes what was parked.
        eventually("both nodes park it", || async { parked(&a, GUEST).await.len() == 2 }).await;
        let replayed = replay(&a, "all=true").await;
        assert_eq!(
            (replayed["replayed"].as_array().unwrap().len(), &replayed["failed"]),
            (2, &json!([])),
            "{replayed}"
        );
        let ids = |all: &[Value]| all.iter().map(|one| one["id"].as_u64().unwrap()).collect::<Vec<_>>();
        assert!(ids(&parked(&a, GUEST).await).iter().all(|id| *id > 2), "they are gone");
        for host in [&a, &b] {
            assert!(!host.log.contains(&["NATS refuses something", "fanfare_"]), "nothing is refused");
        }
    }
}
