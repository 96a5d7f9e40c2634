//! Routes run on the home, also for nodes without the module.

use serde_json::{Value, json};

use super::{GUEST, agree, channel, node, three, used};
use crate::channels::{Client, PATHS};
use crate::harness::{Nats, Started, TestHost, eventually};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// Calls a route in the only broker of a node.
pub(super) async fn in_broker(host: &Started, route: &str) -> Value {
    host.post(&format!("/api/{GUEST}/broker/0/{route}"), "").await.json()
}

pub(super) async fn asked(host: &Started) -> Vec<(String, Value)> {
    let seen = in_broker(host, "seen").await;
    let one = |seen: &Value| (seen["action"].as_str().unwrap().to_owned(), seen["body"].clone());
    seen.as_array().unwrap().iter().map(one).collect()
}

#[tokio::test]
async fn the_route_is_asked_on_the_home_only_and_may_change_or_refuse() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("kept", &[("b-1", &ALL)]);
    let mut member = Client::subscribed(&hosts[2], 2, &channel).await;
    let mut publisher = Client::open(&hosts[0], 2).await;
    publisher.publish(&channel, json!({ "do": "change", "on": "publish", "to": "changed" })).await;
    let refuse = json!({ "do": "refuse", "on": "publish", "name": "no", "message": "not this", "status": 409 });
    let error = publisher.error("#publish", json!({ "channel": channel, "data": refuse })).await;
    assert!(error.to_string().contains("not this"), "{error}");
    let crash = json!({ "do": "panic", "on": "publish" });
    let error = publisher.error("#publish", json!({ "channel": channel, "data": crash })).await;
    assert!(error.to_string().contains("crashed"), "{error}");
    publisher.publish(&channel, json!("last")).await;
    assert_eq!(member.data(2).await, [json!("changed"), json!("last")]);
    // The instance that has seen the first ones has crashed.
    assert_eq!(asked(&hosts[1]).await, [("publish".to_owned(), json!("last"))]);
    for host in [&hosts[0], &hosts[2]] {
        assert_eq!(asked(host).await, []);
    }
    // A refused subscription, and one whose route waits.
    let mut other = Client::open(&hosts[0], 2).await;
    let refuse = json!({ "do": "refuse", "on": "subscribe", "name": "no", "message": "not you" });
    let error = other.error("#subscribe", json!({ "channel": channel, "data": refuse })).await;
    assert!(error.to_string().contains("not you"), "{error}");
    publisher.publish(&channel, json!("for members")).await;
    assert_eq!(member.data(1).await, [json!("for members")]);
    assert!(other.has_nothing().await);
}

#[tokio::test]
async fn a_client_that_subscribes_and_publishes_at_once_receives_its_message() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    for round in 0..20 {
        let channel = format!("{}/{round}", channel("routed", &[("b-1", &ALL)]));
        let mut client = Client::open(&hosts[round % 3], 2).await;
        let subscribed = client.send("#subscribe", json!({ "channel": channel })).await;
        let published = client.send("#publish", json!({ "channel": channel, "data": round })).await;
        assert!(client.answer(subscribed).await["error"].is_null());
        assert!(client.answer(published).await["error"].is_null());
        assert_eq!(client.data(1).await, [json!(round)]);
    }
}

#[tokio::test]
async fn messages_wait_for_the_route_in_their_order_and_beyond_64_they_are_refused() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("publish", &[("b-1", &ALL)]);
    let mut member = Client::subscribed(&hosts[0], 2, &channel).await;
    let (mut first, mut second) = (Client::open(&hosts[0], 2).await, Client::open(&hosts[2], 2).await);
    let hold = json!({ "do": "hold", "on": "publish" });
    let held = first.send("#publish", json!({ "channel": channel, "data": hold })).await;
    eventually("the route runs", || async { in_broker(&hosts[1], "holding").await == 1 }).await;
    let (mut sent, mut refused) = (Vec::new(), 0);
    for number in 0..40 {
        sent.push((first.send("#publish", json!({ "channel": channel, "data": number })).await, number));
    }
    eventually("they wait", || async { hosts[1].metric("fanfare_channel_waiting", &[]).await >= 41.0 }).await;
    let mut others = Vec::new();
    for number in 100..140 {
        others.push((second.send("#publish", json!({ "channel": channel, "data": number })).await, number));
    }
    let mut expected = vec![hold.clone()];
    // Those beyond the limit are refused while the others wait.
    let late = others.split_off(23);
    for (number, _) in &late {
        let answer = second.answer(*number).await;
        assert!(answer["error"].to_string().contains("64 messages"), "{answer}");
        refused += 1;
    }
    assert_eq!(refused, 17);
    in_broker(&hosts[1], "release").await;
    assert!(first.answer(held).await["error"].is_null());
    for (number, data) in sent {
        assert!(first.answer(number).await["error"].is_null());
        expected.push(json!(data));
    }
    for (number, data) in others {
        assert!(second.answer(number).await["error"].is_null());
        expected.push(json!(data));
    }
    assert_eq!(member.data(expected.len()).await, expected);
}

#[tokio::test]
async fn a_node_without_the_module_asks_the_home_and_is_closed_while_there_is_none() {
    let Some(nats) = Nats::start().await else { return };
    let listeners = json!([{ "path": PATHS[1], "module": "echo" }]);
    let front = TestHost::with("echo")
        .config(nats.node("f-1", "front"))
        .config(json!({ "websocket": { "listeners": listeners } }))
        .workers(1)
        .start()
        .await;
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    agree(&[&front, &a, &b], &["a-1", "b-1", "f-1"]).await;
    let channel = channel("kept", &[("b-1", &["a-1", "b-1"])]);
    let mut client = Client::open(&front, 2).await;
    let refuse = json!({ "do": "refuse", "on": "subscribe", "name": "no", "message": "not you" });
    let error = client.error("#subscribe", json!({ "channel": channel, "data": refuse })).await;
    assert!(error.to_string().contains("not you"), "{error}");
    client.ok("#subscribe", json!({ "channel": channel })).await;
    client.publish(&channel, json!({ "do": "change", "on": "publish", "to": 1 })).await;
    a.running().publish_to_channel(&channel, "2").await.unwrap();
    assert_eq!(client.data(2).await, [json!(1), json!(2)]);
    let page = client.ok("#history", json!({ "channel": channel })).await;
    assert_eq!((&page["complete"], page["messages"].as_array().unwrap().len()), (&json!(true), 2));
    assert_eq!(asked(&a).await, [], "only the home is asked");
    a.stop().await;
    b.stop().await;
    agree(&[&front], &["f-1"]).await;
    for event in ["#publish", "#subscribe"] {
        let mut other = Client::open(&front, 2).await;
        let error = other.error(event, json!({ "channel": channel, "data": 1 })).await;
        assert!(error.to_string().contains("unavailable"), "{event}: {error}");
    }
}

#[tokio::test]
async fn a_message_that_is_too_large_for_nats_is_refused_and_has_no_number() {
    let Some(nats) = Nats::configured("max_payload: 20000").await else { return };
    let hosts = three(&nats).await;
    let channel = channel("history", &[("b-1", &ALL)]);
    let mut member = Client::subscribed(&hosts[0], 2, &channel).await;
    let large = "x".repeat(20_000);
    for host in &hosts {
        let refused = host.running().publish_to_channel(&channel, large.as_str()).await.unwrap_err();
        assert!(refused.to_string().contains("max_payload"), "{refused}");
        host.running().publish_to_channel(&channel, "1").await.unwrap();
    }
    for number in 1..=3 {
        assert_eq!(super::place(&member.message().await).1, number);
    }
    // A history that is larger than a message is read in pages.
    for _ in 0..3 {
        used(&hosts[0], json!({ "do": "publish", "channel": channel, "payload": { "text": "y".repeat(9_000) } })).await;
    }
    eventually("all are kept", || async {
        hosts[1].running().channel_history(&channel, None, 0).await.unwrap().latest == 6
    })
    .await;
    let mut after =
        member.ok("#history", json!({ "channel": channel, "after": null, "limit": 1 })).await["position"].clone();
    assert!(after.as_str().unwrap().ends_with("-6"));
    after = json!(format!("{}-0", after.as_str().unwrap().split_once('-').unwrap().0));
    let mut count = 0;
    while count < 6 {
        let page = member.ok("#history", json!({ "channel": channel, "after": after })).await;
        assert_eq!(page["complete"], true);
        let messages = page["messages"].as_array().unwrap();
        assert!(!messages.is_empty());
        count += messages.len();
        after = messages.last().unwrap()["position"].clone();
    }
    assert_eq!(count, 6);
}
