//! Messages to the clients of other nodes that are refused.

use serde_json::json;

use super::pushes::{GUEST, host, meet, plain, push, result, send, socketcluster};
use crate::harness::{Nats, eventually};

#[tokio::test]
async fn a_push_that_is_too_large_or_has_no_room_reaches_nobody() {
    let Some(nats) = Nats::configured("max_payload: 65536").await else { return };
    let limits = json!({ "cluster": { "queue": { "messages": 1, "bytes": "40KiB" }, "maxWaiting": 1 } });
    let a = host("a-1", &nats.url()).config(limits).limit(GUEST, "payload", "1MiB").start().await;
    let b = host("b-1", &nats.url()).start().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    let ((mut on_a, a_id), (mut on_b, b_id)) = (plain(a.http).await, plain(b.http).await);
    let text = |size: usize| "x".repeat(size);
    for (size, kind, why) in [
        (64 * 1_024, "invalid", "max_payload of the NATS server allows 65536"),
        (48 * 1_024, "overloaded", "cluster.queue"),
    ] {
        for what in [push(json!("everyone"), &text(size)), send(json!({ "session": b_id }), &text(size))] {
            let refused = a.uses(what).await;
            assert_eq!(refused["error"], kind, "{refused}");
            assert!(refused["message"].as_str().unwrap().contains(why), "{refused}");
        }
    }
    // The own clients need no NATS.
    assert_eq!(a.pushes(json!({ "session": a_id }), &text(64 * 1_024)).await, result(1, &[], &[]));
    assert_eq!(on_a.text().await.len(), 64 * 1_024);
    assert_eq!(a.pushes(json!("everyone"), &text(32 * 1_024)).await, result(2, &[], &[]));
    assert_eq!([on_a.text().await.len(), on_b.text().await.len()], [32 * 1_024; 2]);
    assert_eq!(a.metric("fanfare_cluster_refused_total", &[]).await, 2.0);
    // One of them waits at most.
    let (mut asked, asked_id) = socketcluster(b.http).await;
    let question = json!({ "do": "ask", "session": asked_id, "name": "question", "payload": "?", "timeout_ms": 4_000 });
    let (_, ()) = tokio::join!(a.uses(question), async {
        let question = asked.json().await;
        let refused = a.pushes(json!("everyone"), "refused").await;
        assert_eq!(refused["error"], "overloaded", "{refused}");
        assert!(refused["message"].as_str().unwrap().contains("cluster.maxWaiting"), "{refused}");
        asked.send(&json!({ "rid": question["cid"], "data": "yes" }).to_string()).await;
    });
    assert_eq!(a.pushes(json!("everyone"), "last").await, result(3, &[], &[]));
    assert_eq!([on_a.text().await, on_b.text().await], ["last", "last"], "nothing that was refused");
}

#[tokio::test]
async fn a_node_that_serves_too_many_calls_is_silent() {
    let Some(nats) = Nats::start().await else { return };
    let a = host("a-1", &nats.url()).start().await;
    let b = host("b-1", &nats.url()).config(json!({ "cluster": { "maxServing": 1 } })).start().await;
    meet(&[&a, &b], &["a-1", "b-1"]).await;
    let ((mut asked, asked_id), (mut other, other_id)) = (socketcluster(b.http).await, plain(b.http).await);
    let question = json!({ "do": "ask", "session": asked_id, "name": "question", "payload": "?", "timeout_ms": 4_000 });
    let (answer, ()) = tokio::join!(a.uses(question), async {
        let question = asked.json().await;
        let pushed = a.pushes(json!({ "session": other_id }), "refused").await;
        assert_eq!(pushed, result(0, &[], &["b-1"]));
        assert_eq!(a.uses(send(json!({ "session": other_id }), "sent")).await, 0);
        assert_eq!(other.text().await, "sent", "what nobody waits for takes no place");
        asked.send(&json!({ "rid": question["cid"], "data": "yes" }).to_string()).await;
    });
    assert_eq!(answer, json!({ "answer": "\"yes\"" }));
    assert_eq!(b.metric("fanfare_cluster_serving_refused_total", &[]).await, 1.0);
    eventually("b serves nothing", || async { b.metric("fanfare_cluster_serving ", &[]).await == 0.0 }).await;
    assert_eq!(a.pushes(json!({ "session": other_id }), "again").await, result(1, &[], &[]));
    assert_eq!(other.text().await, "again");
}
