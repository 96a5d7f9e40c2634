//! One order on all nodes, and the history of the home.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{GUEST, agree, channel, home, node, place, three, used};
use crate::channels::Client;
use crate::harness::{Nats, eventually};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// Publishes numbers with the name of their publisher, and waits for the answers only at the end.
async fn burst(mut client: Client, channel: String, name: &'static str, count: u64) {
    let mut sent = Vec::new();
    for number in 0..count {
        sent.push(client.send("#publish", json!({ "channel": channel, "data": { "by": name, "n": number } })).await);
    }
    for number in sent {
        let answer = client.answer(number).await;
        assert!(answer["error"].is_null(), "{answer}");
    }
}

#[tokio::test]
async fn the_messages_of_all_nodes_have_one_order_and_those_of_a_publisher_keep_theirs() {
    for nats in Nats::all().await {
        let hosts = three(&nats).await;
        for prefix in ["history", "publish", "kept"] {
            let channel = channel(prefix, &[("b-1", &ALL)]);
            let mut members = Vec::new();
            for host in &hosts {
                members.push(Client::subscribed(host, 2, &channel).await);
                members.push(Client::subscribed(host, 1, &channel).await);
            }
            let mut bursts = Vec::new();
            for (host, name) in hosts.iter().zip(ALL) {
                bursts.push(tokio::spawn(burst(Client::open(host, 2).await, channel.clone(), name, 20)));
            }
            for burst in bursts {
                burst.await.unwrap();
            }
            let mut orders = Vec::new();
            for member in &mut members {
                let mut order = Vec::new();
                for _ in 0..60 {
                    order.push(member.message().await);
                }
                assert!(member.has_nothing().await, "each message once");
                orders.push(order);
            }
            assert!(orders.iter().all(|order| *order == orders[0]), "{prefix}");
            let mut last: BTreeMap<&str, i64> = BTreeMap::new();
            for message in &orders[0] {
                let number = message["data"]["n"].as_i64().unwrap();
                let before = last.insert(message["data"]["by"].as_str().unwrap(), number).unwrap_or(-1);
                assert_eq!(number, before + 1, "{prefix}");
            }
            if prefix == "publish" {
                continue;
            }
            let numbers: Vec<u64> = orders[0].iter().map(|message| place(message).1).collect();
            assert_eq!(numbers, (1..=60).collect::<Vec<_>>());
            assert!(orders[0].iter().all(|message| place(message).0 == place(&orders[0][0]).0), "one epoch");
        }
    }
}

#[tokio::test]
async fn a_channel_has_a_position_on_every_node_before_its_first_message() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("history", &[("c-1", &ALL)]);
    let asked = json!({ "do": "history", "channel": channel, "after": null, "most": 3 });
    let of_guest = used(&hosts[0], asked).await;
    assert_eq!((&of_guest["latest"], &of_guest["complete"]), (&json!(0), &json!(true)), "{of_guest}");
    let first = json!(format!("{}-0", of_guest["epoch"].as_str().unwrap()));
    for host in &hosts {
        let mut client = Client::subscribed(host, 2, &channel).await;
        let page = client.ok("#history", json!({ "channel": channel })).await;
        assert_eq!((&page["position"], &page["complete"]), (&first, &json!(true)));
        let same = client.ok("#history", json!({ "channel": channel, "after": first })).await;
        assert_eq!((&same["position"], &same["complete"]), (&first, &json!(true)));
        let other = client.ok("#history", json!({ "channel": channel, "after": "1-7" })).await;
        assert_eq!((&other["position"], &other["complete"]), (&first, &json!(false)));
    }
    let mut client = Client::subscribed(&hosts[0], 2, &channel).await;
    client.publish(&channel, json!("first")).await;
    let message = client.message().await;
    assert_eq!(message["position"], first.as_str().unwrap().replace("-0", "-1"));
    let page = client.ok("#history", json!({ "channel": channel, "after": first })).await;
    assert_eq!((&page["complete"], page["messages"].as_array().unwrap().len()), (&json!(true), 1));
}

#[tokio::test]
async fn a_client_resumes_on_any_node_and_guests_and_programs_read_the_same_history() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("history", &[("c-1", &ALL)]);
    let mut publisher = Client::open(&hosts[0], 2).await;
    let mut reader = Client::subscribed(&hosts[0], 2, &channel).await;
    for number in 1..=10 {
        publisher.publish(&channel, json!(number)).await;
    }
    let mut fourth = Value::Null;
    for _ in 0..4 {
        fourth = reader.message().await["position"].clone();
    }
    for host in &hosts {
        let mut client = Client::subscribed(host, 2, &channel).await;
        let page = client.ok("#history", json!({ "channel": channel, "after": fourth })).await;
        let data: Vec<&Value> = page["messages"].as_array().unwrap().iter().map(|one| &one["data"]).collect();
        assert_eq!(data, [&json!(5), &json!(6), &json!(7), &json!(8), &json!(9), &json!(10)]);
        assert_eq!(page["complete"], true);
        let of_guest = used(host, json!({ "do": "history", "channel": channel, "after": null, "most": 3 })).await;
        assert_eq!((&of_guest["latest"], of_guest["messages"].as_array().unwrap().len()), (&json!(10), 3));
        let of_program = host.running().channel_history(&channel, None, 100).await.unwrap();
        assert_eq!((of_program.latest, of_program.messages.len(), of_program.complete), (10, 10, true));
        let placed = used(
            host,
            json!({ "do": "publishAndWait", "channel": format!("{channel}/g"), "payload": { "text": "1" } }),
        );
        assert!(placed.await.as_str().is_some_and(|position| position.contains('-')), "a guest gets the position");
    }
    // Messages during a subscription are either in the history or arrive.
    let tasks: Vec<_> = (0..3).map(|index| Client::open(&hosts[index], 2)).collect();
    let mut number = 10;
    for opening in tasks {
        let mut client = opening.await;
        let subscribing = client.send("#subscribe", json!({ "channel": channel })).await;
        for _ in 0..5 {
            number += 1;
            publisher.publish(&channel, json!(number)).await;
        }
        client.answer(subscribing).await;
        let page = client.ok("#history", json!({ "channel": channel, "after": fourth })).await;
        let mut seen: Vec<u64> =
            page["messages"].as_array().unwrap().iter().map(|one| one["data"].as_u64().unwrap()).collect();
        number += 1;
        publisher.publish(&channel, json!(number)).await;
        while seen.last() != Some(&number) {
            let next = client.message().await["data"].as_u64().unwrap();
            if next > *seen.last().unwrap() {
                seen.push(next);
            }
        }
        assert_eq!(seen, (5..=number).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn subscriptions_of_modules_and_programs_get_the_messages_of_the_home() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("history", &[("b-1", &ALL)]);
    let mut messages = hosts[0].running().subscribe_channel(&channel).unwrap();
    // A subscription of a program is not answered.
    let mut member = Client::subscribed(&hosts[0], 2, &channel).await;
    for host in &hosts {
        host.running().publish_to_channel(&channel, "1").await.unwrap();
    }
    for number in 1..=3 {
        let fanfare::ChannelItem::Message(message) = messages.next().await else { panic!("a gap") };
        assert_eq!(message.offset, number);
    }
    assert_eq!(member.data(3).await, [json!(1), json!(1), json!(1)]);
    assert_eq!(hosts[2].metric("fanfare_cluster_topics_received_total", &[]).await, 0.0, "no subscribers");
}

#[tokio::test]
async fn a_node_that_joins_takes_its_channels_over_and_clients_learn_it_from_the_epoch() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("history", &[("b-1", &["a-1", "b-1"]), ("c-1", &ALL)]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
    let mut publisher = Client::open(&a, 2).await;
    publisher.publish(&channel, json!("before")).await;
    let c = node(&nats, "c-1").await;
    agree(&[&a, &b, &c], &ALL).await;
    assert_eq!(home(&channel, &ALL), "c-1");
    publisher.publish(&channel, json!("after")).await;
    for member in &mut members {
        let (before, after) = (member.message().await, member.message().await);
        assert_eq!((&before["data"], &after["data"]), (&json!("before"), &json!("after")));
        assert_ne!(place(&before).0, place(&after).0);
        assert_eq!(place(&after).1, 1);
        let page = member.ok("#history", json!({ "channel": channel, "after": before["position"] })).await;
        assert_eq!((&page["complete"], page["messages"].as_array().unwrap().len()), (&json!(false), 1));
    }
    // It stops in order: the channel moves again.
    c.stop().await;
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publisher.publish(&channel, json!("again")).await;
    for member in &mut members {
        assert_eq!(member.data(1).await, [json!("again")]);
    }
}

#[tokio::test]
async fn a_channel_whose_history_is_empty_keeps_its_numbers_for_the_other_nodes() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("publish", &[("b-1", &ALL)]);
    let mut member = hosts[0].running().subscribe_channel(&channel).unwrap();
    let mut client = Client::subscribed(&hosts[0], 2, &channel).await;
    for number in 1..=3 {
        // Nobody is subscribed on the home.
        hosts[2].running().publish_to_channel(&channel, "1").await.unwrap();
        let fanfare::ChannelItem::Message(message) = member.next().await else { panic!("a gap") };
        assert_eq!(message.offset, number);
    }
    assert_eq!(client.data(3).await.len(), 3);
    eventually("nothing was lost", || async { hosts[0].metric("fanfare_channel_gaps_total", &[]).await == 0.0 }).await;
    assert_eq!(GUEST, "channels");
}
