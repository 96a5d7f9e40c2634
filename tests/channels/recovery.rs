//! The history of a channel, and clients that recover what they have missed.

use super::*;
use crate::harness::{Proxy, eventually};

const CHANNEL: &str = "channels/history/1";

fn offsets(page: &Value) -> Vec<u64> {
    let messages = page["messages"].as_array().unwrap_or_else(|| panic!("no page: {page}"));
    let offset = |message: &Value| message["position"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap();
    messages.iter().map(offset).collect()
}

async fn history(client: &mut Client, channel: &str, after: Value) -> Value {
    client.ok("#history", json!({ "channel": channel, "after": after })).await
}

#[tokio::test]
async fn a_client_recovers_exactly_what_it_has_missed() {
    let host = host().await;
    for version in [1, 2] {
        let channel = format!("{CHANNEL}/{version}");
        let mut publisher = Client::open(&host, version).await;
        let mut reader = Client::subscribed(&host, version, &channel).await;
        publisher.publish(&channel, json!(1)).await;
        publisher.publish(&channel, json!(2)).await;
        reader.message().await;
        let last = reader.message().await["position"].clone();
        drop(reader);
        for number in 3..=7 {
            publisher.publish(&channel, json!({ "number": number })).await;
        }
        let mut reader = Client::subscribed(&host, version, &channel).await;
        publisher.publish(&channel, json!("live")).await;
        let page = history(&mut reader, &channel, last).await;
        assert_eq!((&page["complete"], offsets(&page)), (&json!(true), vec![3, 4, 5, 6, 7, 8]), "{page}");
        let first = &page["messages"][0];
        assert_eq!((&first["data"], first["session"].as_str()), (&json!({ "number": 3 }), Some(&*publisher.id)));
        assert!(first["at"].as_u64().unwrap() > 1_700_000_000_000, "{first}");
        // The live message has the position that the page has for it.
        let live = reader.message().await;
        assert_eq!((&live["data"], &live["position"]), (&json!("live"), &page["messages"][5]["position"]));
        assert_eq!(page["position"], live["position"]);
        let none = history(&mut reader, &channel, live["position"].clone()).await;
        assert_eq!((&none["complete"], offsets(&none)), (&json!(true), vec![]));
        let newest = reader.ok("#history", json!({ "channel": channel, "limit": 2 })).await;
        assert_eq!(offsets(&newest), [7, 8]);
        let next = json!({ "channel": channel, "after": page["messages"][0]["position"], "limit": 2 });
        let next = reader.ok("#history", next).await;
        assert_eq!((&next["complete"], offsets(&next)), (&json!(true), vec![4, 5]));
    }
}

#[tokio::test]
async fn a_recovery_that_is_not_complete_says_so() {
    let host = host().await;
    // It keeps three messages.
    let channel = "channels/history";
    let mut client = Client::subscribed(&host, 2, channel).await;
    for number in 1..=5 {
        client.publish(channel, json!(number)).await;
    }
    let mut messages = Vec::new();
    for _ in 0..5 {
        messages.push(client.message().await);
    }
    let after = |index: usize| messages[index]["position"].clone();
    let page = history(&mut client, channel, after(0)).await;
    assert_eq!((&page["complete"], offsets(&page)), (&json!(false), vec![3, 4, 5]), "the second message is lost");
    let page = history(&mut client, channel, after(1)).await;
    assert_eq!((&page["complete"], offsets(&page)), (&json!(true), vec![3, 4, 5]));
    let page = history(&mut client, channel, json!("abc-4")).await;
    assert_eq!((&page["complete"], offsets(&page)), (&json!(false), vec![3, 4, 5]), "of another epoch");
    for bad in [json!(4), json!("4"), json!("x-4"), json!({})] {
        let error = client.error("#history", json!({ "channel": channel, "after": bad })).await;
        assert_eq!(error["code"], "invalid", "{error}");
    }
}

#[tokio::test]
async fn only_members_read_a_history_and_only_kept_channels_have_one() {
    let host = host().await;
    let mut client = Client::open(&host, 2).await;
    let error = client.error("#history", json!({ "channel": CHANNEL })).await;
    assert_eq!(error["name"], "BrokerError", "{error}");
    client.ok("#subscribe", json!("channels/any")).await;
    client.publish("channels/any", json!(1)).await;
    assert_eq!(client.message().await.get("position"), None);
    let page = client.ok("#history", json!({ "channel": "channels/any" })).await;
    assert_eq!(page, json!({ "position": null, "complete": false, "messages": [] }));
}

#[tokio::test]
async fn a_history_outlives_its_members_and_a_channel_without_one_begins_again() {
    let host = host().await;
    let mut client = Client::subscribed(&host, 2, CHANNEL).await;
    client.publish(CHANNEL, json!(1)).await;
    let first = client.message().await["position"].clone();
    client.ok("#unsubscribe", json!(CHANNEL)).await;
    client.publish(CHANNEL, json!(2)).await;
    client.ok("#subscribe", json!(CHANNEL)).await;
    let page = history(&mut client, CHANNEL, first).await;
    assert_eq!((&page["complete"], offsets(&page)), (&json!(true), vec![2]), "{page}");
    // The history keeps the message as it was published, after the route.
    let kept = "channels/kept/1";
    client.ok("#subscribe", json!(kept)).await;
    client.publish(kept, json!({ "do": "change", "to": "changed" })).await;
    let page = history(&mut client, kept, Value::Null).await;
    assert_eq!(page["messages"][0]["data"], "changed");
}

/// Clients that return after a cut get everything once: from the history what they have missed, and
/// live what follows.
#[tokio::test]
async fn clients_that_are_cut_while_messages_arrive_miss_none() {
    let host = with(json!({})).manifest(GUEST, json!({ "limits": {} })).start().await;
    let proxy = Proxy::to(host.http).await;
    let mut publisher = Client::open(&host, 2).await;
    let mut readers = Vec::new();
    for _ in 0..5 {
        let mut reader = Client::at(proxy.address, 2).await;
        reader.ok("#subscribe", json!(CHANNEL)).await;
        readers.push((reader, Vec::<u64>::new(), Value::Null));
    }
    let mut number = 0;
    for round in 0..4 {
        for _ in 0..20 {
            number += 1;
            publisher.publish(CHANNEL, json!(number)).await;
        }
        // The first ten of a round arrive, then the connections are cut.
        for (reader, got, last) in &mut readers {
            for _ in 0..10 {
                let message = reader.message().await;
                got.push(message["data"].as_u64().unwrap());
                *last = message["position"].clone();
            }
        }
        proxy.cut();
        for (reader, got, last) in &mut readers {
            *reader = Client::at(proxy.address, 2).await;
            reader.ok("#subscribe", json!(CHANNEL)).await;
            let page = history(reader, CHANNEL, last.clone()).await;
            assert_eq!(page["complete"], true, "round {round}");
            for message in page["messages"].as_array().unwrap() {
                got.push(message["data"].as_u64().unwrap());
                *last = message["position"].clone();
            }
        }
    }
    eventually("the old sessions have left", || async { host.running().channel_count(CHANNEL) == 5 }).await;
    for (_, got, _) in &readers {
        assert_eq!(*got, (1..=number).collect::<Vec<u64>>());
    }
}
