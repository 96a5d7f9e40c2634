//! The event service across nodes.

use serde_json::{Value, json};

use super::streams::{passed, tap, until_state};
use crate::event_service::{Client, next, value};
use crate::harness::{EventStream, Nats, Started, TestHost, eventually};
use crate::redis::GUEST;

/// A node with an event service and the guest `subscriptions`, which emits and gets events of the
/// types `x/..`.
fn node(nats: &Nats, id: &str, events: &Value) -> TestHost {
    TestHost::with(GUEST)
        .manifest(
            GUEST,
            json!({
                "subscriptions": { "all": { "event": "x/*", "path": "on" } },
                "capabilities": { "events": ["x/*"] },
            }),
        )
        .grant(GUEST, json!({ "events": ["x/*"] }))
        .config(nats.node(id, "node"))
        .config(json!({ "events": events }))
        .workers(1)
}

async fn start(nats: &Nats, id: &str) -> Started {
    let host = node(nats, id, &json!({ "listen": "127.0.0.1:0" })).start().await;
    until_state(&host, "up").await;
    host
}

async fn emit(host: &Started, value: &str) {
    let body = json!({ "type": "x/y", "value": value });
    let answer = host.post(&format!("/api/{GUEST}/emit"), body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

/// Waits until the guest has this number of messages, and returns them.
async fn texts(host: &Started, count: usize) -> Vec<String> {
    eventually("the messages arrive", || async { host.texts(1).await.len() >= count }).await;
    host.texts(1).await
}

/// Waits for the next event or `reset`.
async fn name(stream: &mut EventStream) -> String {
    stream.event().await.expect("an event").name().to_owned()
}

#[tokio::test]
async fn an_event_reaches_the_modules_and_subscribers_of_all_nodes_once() {
    for nats in Nats::all().await {
        let (a, b) = (start(&nats, "a-1").await, start(&nats, "b-1").await);
        let client = nats.client().await;
        let mut tap = tap(&client, "event").await;
        let mut streams = [a.subscribe("type=x/*").await, b.subscribe("type=x/*").await];
        for number in 0..50 {
            emit(&a, &number.to_string()).await;
        }
        let expected: Vec<String> = (0..50).map(|number| format!("\"{number}\"")).collect();
        for (host, stream) in [&a, &b].into_iter().zip(&mut streams) {
            for number in 0..50 {
                assert_eq!(value(stream).await, json!(number.to_string()));
            }
            assert_eq!(texts(host, 50).await, expected);
        }
        // Clients emit, too.
        b.event("x/z", json!({ "by": "client" })).await;
        for (host, stream) in [&a, &b].into_iter().zip(&mut streams) {
            assert_eq!(next(stream).await, json!({ "type": "x/z", "value": { "by": "client" } }));
            assert_eq!(texts(host, 51).await.len(), 51, "once");
        }
        let list = json!([{ "type": "x/l", "value": 1 }, { "type": "x/l", "value": 2 }]);
        assert_eq!(b.send_json(list.to_string()).await.status, 200);
        assert_eq!([value(&mut streams[0]).await, value(&mut streams[0]).await], [json!(1), json!(2)]);
        assert_eq!(passed(&client, &mut tap, "event").await.len(), 53);
    }
}

#[tokio::test]
async fn a_node_without_subscribers_receives_no_events() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let b = TestHost::with("echo").config(nats.node("b-1", "node")).start().await;
    let c = start(&nats, "c-1").await;
    until_state(&b, "up").await;
    let mut stream = c.subscribe("").await;
    emit(&a, "1").await;
    assert_eq!(value(&mut stream).await, json!("1"));
    assert_eq!(b.metric("fanfare_cluster_topics_received_total", &[]).await, 0.0);
    assert_eq!(c.metric("fanfare_cluster_topics_received_total", &[]).await, 1.0);
}

#[tokio::test]
async fn without_nats_events_reach_their_node_and_then_all_learn_of_the_gap() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = (start(&nats, "a-1").await, start(&nats, "b-1").await);
    let mut at_b = b.subscribe("type=x/*").await;
    emit(&a, "before").await;
    assert_eq!(value(&mut at_b).await, json!("before"));
    let last = at_b.last_id().to_owned();
    nats.kill();
    for host in [&a, &b] {
        until_state(host, "down").await;
    }
    emit(&a, "away").await;
    assert_eq!(texts(&a, 2).await[1], "\"away\"");
    emit(&b, "too").await;
    assert_eq!(value(&mut at_b).await, json!("too"));
    assert!(b.events_named(&["subscriptionGap"]).await.is_empty());
    nats.run().await;
    assert_eq!(name(&mut at_b).await, "reset");
    eventually("the subscription has a gap", || async { !b.events_named(&["subscriptionGap"]).await.is_empty() }).await;
    until_state(&a, "up").await;
    emit(&a, "after").await;
    loop {
        match at_b.event().await.unwrap() {
            event if event.name() == "reset" => {}
            event => break assert!(event.text().contains("after"), "{event:?}"),
        }
    }
    // A subscriber that was away meanwhile learns of it at its place.
    let mut back = b.resume("type=x/*", &last).await;
    assert_eq!(value(&mut back).await, json!("too"));
    assert_eq!(name(&mut back).await, "reset");
    assert_eq!(texts(&b, 3).await, ["\"before\"", "\"too\"", "\"after\""]);
    // A position of another node is unknown.
    let mut elsewhere = a.resume("type=x/*", &last).await;
    assert_eq!(name(&mut elsewhere).await, "reset");
}

#[tokio::test]
async fn nodes_that_share_a_service_get_each_event_once() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let connect = json!({ "connect": format!("http://{}", a.events()) });
    let b = node(&nats, "b-1", &connect).start().await;
    let c = start(&nats, "c-1").await;
    until_state(&b, "up").await;
    eventually("b uses the service of a", || async { b.metric("fanfare_events_link_up", &[]).await == 1.0 }).await;
    for (number, host) in [&a, &b, &c].into_iter().enumerate() {
        emit(host, &number.to_string()).await;
        for other in [&a, &b, &c] {
            texts(other, number + 1).await;
        }
    }
    emit(&c, "last").await;
    for host in [&a, &b, &c] {
        assert_eq!(texts(host, 4).await, ["\"0\"", "\"1\"", "\"2\"", "\"last\""]);
    }
}

#[tokio::test]
async fn an_event_that_is_too_large_for_nats_is_refused_whole() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    let large = json!({ "type": "x/y", "value": "x".repeat((1 << 20) - 60) }).to_string();
    let refused = a.send_json(large.as_str()).await;
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert!(refused.text().contains("max_payload of the NATS server allows 1048576"), "{}", refused.text());
    emit(&a, "next").await;
    assert_eq!(texts(&a, 1).await, ["\"next\""], "and nothing before");
}
