//! The released clients of both versions, side by side: `socketcluster-client` 14.3.2 and the
//! current release, which speaks both protocols.

use super::*;
use crate::harness::{Proxy, eventually};
use crate::socketcluster::driver::{Client as Released, clients};

const CHANNEL: &str = "channels/presence/room";

#[tokio::test]
async fn released_clients_subscribe_publish_unsubscribe_and_are_kicked_out() {
    let host = host().await;
    let Some(mut clients) = clients(host.http).await else { return };
    let channel = "lobby/released";
    for client in &mut clients {
        client.subscribe(channel, json!({ "batch": true })).await;
    }
    for index in 0..clients.len() {
        let data = json!({ "from": clients[index].name });
        assert_eq!(clients[index].publish(channel, data.clone()).await["error"], Value::Null);
        for client in &mut clients {
            assert_eq!(client.message(channel).await, data, "{}", client.name);
        }
    }
    let [leaving, kicked, ..] = &mut clients[..] else { panic!("there are three clients") };
    leaving.command(json!({ "do": "unsubscribe", "channel": channel })).await;
    leaving.wait("unsubscribe").await;
    // The package collects what it sends about a channel with `batch`.
    eventually("the host knows", || async { host.running().channel_count(channel) == 2 }).await;
    let session = kicked.data("sign-in", json!("mallory")).await;
    host.running().kick_out(channel, session.as_str().unwrap(), "be nice").unwrap();
    let told = kicked.wait("kickOut").await;
    assert_eq!((&told["channel"], &told["message"]), (&json!(channel), &json!("be nice")));
    kicked.wait("unsubscribe").await;
    assert_eq!(host.running().channel_count(channel), 1);
    for client in &mut clients {
        client
            .command(json!({ "do": "subscribe", "channel": "channels/routed/no", "options": {
            "data": { "do": "refuse", "on": "subscribe", "name": "NoEntry", "message": "no entry" } } }))
            .await;
        let failed = client.wait("subscribeFail").await;
        assert_eq!((&failed["error"]["name"], &failed["error"]["message"]), (&json!("NoEntry"), &json!("no entry")));
        let refuse = json!({ "do": "refuse", "name": "RudeError", "message": "mind your words" });
        let refused = client.publish("channels/publish/no", refuse).await;
        assert_eq!(refused["error"]["name"], "RudeError", "{}", client.name);
    }
}

#[tokio::test]
async fn released_clients_see_who_joins_and_leaves() {
    let host = host().await;
    let Some(mut clients) = clients(host.http).await else { return };
    let presence = format!("presence/{CHANNEL}");
    let mut watcher = clients.remove(0);
    watcher.subscribe(&presence, json!({})).await;
    for (index, client) in clients.iter_mut().enumerate() {
        client.subscribe(CHANNEL, json!({ "data": { "name": client.name } })).await;
        let joined = watcher.message(&presence).await;
        assert_eq!((&joined["action"], &joined["count"]), (&json!("join"), &json!(index + 1)));
        assert_eq!(joined["member"]["info"]["name"], client.name.as_str());
    }
    let members = clients[0].data("#members", json!({ "channel": CHANNEL })).await;
    assert_eq!(members.as_array().unwrap().len(), 2, "{members}");
    // The end of a process.
    drop(clients.remove(0));
    let left = watcher.message(&presence).await;
    assert_eq!((&left["action"], &left["count"]), (&json!("leave"), &json!(1)));
}

#[tokio::test]
async fn released_clients_that_are_cut_subscribe_again_and_recover_from_the_history() {
    let host = host().await;
    let proxy = Proxy::to(host.http).await;
    let Some(mut clients) = clients(proxy.address).await else { return };
    let channel = "channels/history/released";
    for client in &mut clients {
        client.subscribe(channel, json!({})).await;
    }
    let publish = async |number: u32| {
        host.running().publish_to_channel(channel, number.to_string()).await.unwrap();
    };
    publish(1).await;
    let mut last = Vec::new();
    for client in &mut clients {
        assert_eq!(client.message(channel).await, 1, "{}", client.name);
        last.push(client.wait("position").await["position"].clone());
    }
    proxy.cut();
    for number in 2..=4 {
        publish(number).await;
    }
    for (client, last) in clients.iter_mut().zip(last) {
        recover(client, channel, last).await;
    }
}

/// Waits until the client is back by itself, and recovers what it has missed.
async fn recover(client: &mut Released, channel: &str, last: Value) {
    client.wait("close").await;
    client.wait("connect").await;
    client.line("the subscription", |line| line["type"] == "subscribe" && line["channel"] == channel).await;
    let page = client.data("#history", json!({ "channel": channel, "after": last })).await;
    let missed: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|message| &message["data"]).collect();
    assert_eq!((&page["complete"], missed), (&json!(true), vec![&json!(2), &json!(3), &json!(4)]), "{}", client.name);
}
