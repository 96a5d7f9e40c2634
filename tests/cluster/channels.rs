//! Channels without a home across nodes.

use serde_json::{Value, json};

use super::streams::{passed, tap, until_state};
use crate::channels::{Client, PATHS};
use crate::harness::{Nats, Started, TestHost, eventually};

const GUEST: &str = "channels";

pub async fn node(nats: &Nats, id: &str) -> Started {
    let listeners = json!([
        { "path": PATHS[0], "protocol": 1, "module": GUEST },
        { "path": PATHS[1], "module": GUEST },
    ]);
    let host = TestHost::with(GUEST)
        .grant(GUEST, json!({ "sessions": true, "channels": ["lobby/*"] }))
        .config(nats.node(id, "node"))
        .config(json!({ "websocket": { "listeners": listeners } }))
        .workers(1)
        .start()
        .await;
    until_state(&host, "up").await;
    host
}

fn numbers(count: u64) -> Vec<Value> {
    (0..count).map(Value::from).collect()
}

async fn used(host: &Started, what: Value) -> Value {
    host.post(&format!("/api/{GUEST}/use"), what.to_string()).await.json()
}

#[tokio::test]
async fn a_message_crosses_nats_once_and_reaches_the_clients_and_guests_of_every_node_once_in_order() {
    for nats in Nats::all().await {
        let (a, b, c) = (node(&nats, "a-1").await, node(&nats, "b-1").await, node(&nats, "c-1").await);
        let client = nats.client().await;
        let mut tap = tap(&client, "channel").await;
        for (channel, count) in [("lobby/open", 100), ("channels/members/x", 20)] {
            let mut members = vec![Client::subscribed(&a, 2, channel).await];
            for version in [1, 2, 2] {
                members.push(Client::subscribed(&b, version, channel).await);
            }
            let mut publisher = Client::open(&a, 2).await;
            for number in numbers(count) {
                publisher.publish(channel, number).await;
            }
            for member in &mut members {
                assert_eq!(member.data(count as usize).await, numbers(count), "{channel}");
            }
            let from_guest = json!({ "do": "publish", "channel": channel, "payload": { "text": "\"guest\"" } });
            used(&b, from_guest).await;
            for member in &mut members {
                assert_eq!(member.data(1).await, [json!("guest")], "{channel}");
            }
        }
        assert_eq!(passed(&client, &mut tap, "channel").await.len(), 122);
        assert_eq!(c.metric("fanfare_cluster_topics_received_total", &[]).await, 0.0, "no subscribers");
    }
}

#[tokio::test]
async fn a_client_whose_subscription_is_answered_misses_nothing() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for number in 0..40 {
        let channel = format!("lobby/{number}");
        let mut member = Client::subscribed(&b, 2, &channel).await;
        a.running().publish_to_channel(&channel, r#""first""#).await.unwrap();
        assert_eq!(member.data(1).await, [json!("first")], "{channel}");
    }
}

#[tokio::test]
async fn without_nats_the_clients_of_a_node_are_served() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    let (mut at_a, mut at_b) = (Client::subscribed(&a, 2, "lobby/x").await, Client::subscribed(&b, 2, "lobby/x").await);
    nats.kill();
    for host in [&a, &b] {
        until_state(host, "down").await;
    }
    at_a.publish("lobby/x", json!("away")).await;
    assert_eq!(at_a.data(1).await, [json!("away")]);
    // A client that comes now is served at once.
    let mut late = Client::subscribed(&b, 2, "lobby/x").await;
    at_b.publish("lobby/x", json!("too")).await;
    for client in [&mut at_b, &mut late] {
        assert_eq!(client.data(1).await, [json!("too")]);
    }
    assert!(a.metric("fanfare_cluster_topics_unsent_total", &[]).await >= 1.0);
    nats.run().await;
    for host in [&a, &b] {
        until_state(host, "up").await;
        eventually("the gap is counted", || async {
            host.metric("fanfare_cluster_topics_gaps_total", &[]).await >= 1.0
        })
        .await;
    }
    at_a.publish("lobby/x", json!("after")).await;
    for client in [&mut at_a, &mut at_b, &mut late] {
        assert_eq!(client.data(1).await, [json!("after")]);
    }
}
