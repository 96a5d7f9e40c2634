//! What the operator sees of channels: the status, and metrics.

use super::*;
use crate::harness::eventually;

#[tokio::test]
async fn the_status_and_the_metrics_count_channels_and_subscriptions() {
    let host = host().await;
    assert_eq!(host.status().await["channels"]["open"], 0);
    let mut clients = Vec::new();
    for version in [1, 2, 2] {
        clients.push(Client::subscribed(&host, version, "channels/history/1").await);
    }
    clients[0].ok("#subscribe", json!("any")).await;
    for number in 0..4 {
        clients[0].publish("channels/history/1", json!(number)).await;
    }
    let status = host.status().await["channels"].clone();
    let largest = json!([
        { "name": "channels/history/1", "members": 3, "kept": 4 },
        { "name": "any", "members": 1, "kept": 0 },
    ]);
    assert_eq!(status, json!({ "open": 2, "max": 100_000, "subscriptions": 4, "waiting": 0, "largest": largest }));
    for (name, value) in [
        ("fanfare_channels", 2.0),
        ("fanfare_channels_max", 100_000.0),
        ("fanfare_channel_subscriptions", 4.0),
        ("fanfare_channel_published_total", 4.0),
        ("fanfare_channel_waiting", 0.0),
        ("fanfare_channel_refused_total", 0.0),
    ] {
        assert_eq!(host.metric(name, &[]).await, value, "{name}");
    }
    // A client that leaves ends its subscriptions. The history stays.
    drop(clients);
    eventually("the clients have left", async || host.metric("fanfare_channel_subscriptions", &[]).await == 0.0).await;
    let left = host.status().await["channels"].clone();
    assert_eq!((&left["open"], &left["largest"][0]["kept"]), (&json!(1), &json!(4)));
}

#[tokio::test]
async fn the_status_lists_the_channels_of_each_module() {
    let host = host().await;
    let status = host.status().await;
    let module = status["modules"].as_array().unwrap().iter().find(|one| one["name"] == GUEST).unwrap().clone();
    let declared = |pattern: &str| {
        let all = module["channels"].as_array().unwrap();
        all.iter().find(|one| one["pattern"] == pattern).unwrap().clone()
    };
    let history = json!({ "count": 3, "age": 300_000, "bytes": 1 << 20 });
    assert_eq!(
        declared("channels/history"),
        json!({ "pattern": "channels/history", "history": history, "presence": false })
    );
    assert_eq!(
        declared("channels/members/*"),
        json!({
            "pattern": "channels/members/*", "route": "POST decide", "on": ["subscribe", "join", "leave"],
            "presence": true,
        })
    );
}

#[tokio::test]
async fn what_waits_and_what_a_route_refuses_is_counted() {
    let host = host().await;
    let channel = "channels/publish/1";
    let mut client = Client::subscribed(&host, 2, channel).await;
    let refuse = json!({ "do": "refuse", "name": "rude", "message": "be nice" });
    client.error("#publish", json!({ "channel": channel, "data": refuse })).await;
    assert_eq!(host.metric("fanfare_channel_refused_total", &["action=\"publish\""]).await, 1.0);
    assert_eq!(host.metric("fanfare_channel_refused_total", &[]).await, 1.0, "of no other action");

    let held = client.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await;
    eventually("a message waits", async || host.metric("fanfare_channel_waiting", &[]).await == 1.0).await;
    assert_eq!(host.status().await["channels"]["waiting"], 1);
    eventually("its call runs", async || host.at_home(channel, "holding", Value::Null).await == 1).await;
    host.at_home(channel, "release", Value::Null).await;
    assert_eq!(client.answer(held).await["error"], Value::Null);
    eventually("nothing waits", async || host.metric("fanfare_channel_waiting", &[]).await == 0.0).await;
}
