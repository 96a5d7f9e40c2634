//! Kills of the brokers that run the routes of channels.

use fanfare::api::KillMode;

use super::*;

/// The index of the broker that is the home of a channel.
async fn home(host: &Started, channel: &str) -> u32 {
    let who = host.at_home(channel, "who", Value::Null).await;
    let isolate = who["isolate"].as_str().unwrap_or_else(|| panic!("{who}"));
    isolate.strip_prefix("broker-").unwrap_or_else(|| panic!("{who}")).parse().unwrap()
}

#[tokio::test]
async fn a_broker_with_the_home_of_a_channel_is_killed_and_starts_again() {
    let host = host().await;
    let channel = "channels/kept/room";
    let mut clients = [Client::subscribed(&host, 1, channel).await, Client::subscribed(&host, 2, channel).await];
    let home = home(&host, channel).await;
    let mut sent = Vec::new();
    for round in 0..6 {
        for number in 0..5 {
            let data = json!([round, number]);
            clients[1].publish(channel, data.clone()).await;
            sent.push(data);
        }
        assert!(!host.asked(channel).await.is_empty());
        let mode = if round % 2 == 0 { KillMode::Graceful } else { KillMode::Immediate };
        let id = Some(home).filter(|_| round % 3 > 0);
        let killed = host.running().kill_brokers(id, mode).await.unwrap();
        let killed: Vec<_> = killed.iter().map(|one| (&*one.isolate, &*one.modules[0].module)).collect();
        let expected: Vec<u32> = id.map_or(vec![0, 1], |id| vec![id]);
        let expected: Vec<String> = expected.iter().map(|id| format!("broker-{id}")).collect();
        assert_eq!(killed, expected.iter().map(|isolate| (&**isolate, GUEST)).collect::<Vec<_>>());
        assert!(host.asked(channel).await.is_empty(), "the instance is new");
        assert_eq!(self::home(&host, channel).await, home, "the home stays");
    }
    // No subscription is lost, and each message arrives once and in its order.
    for client in &mut clients {
        assert_eq!(client.data(sent.len()).await, sent);
        assert!(client.has_nothing().await);
    }
    let page = clients[0].ok("#history", json!({ "channel": channel })).await;
    let kept = page["messages"].as_array().unwrap().iter().map(|message| message["data"].clone());
    assert_eq!(kept.collect::<Vec<_>>(), sent);

    let events = host.events_named(&["brokerExit", "brokerStart"]).await;
    let of_home: Vec<_> = events.iter().filter(|event| event["id"] == home).collect();
    assert_eq!(of_home.len(), 1 + 2 * 6, "the start of the host, and a pair for each kill: {events:?}");
    let reasons: Vec<_> = of_home.iter().filter_map(|event| event["reason"].as_str()).collect();
    assert_eq!(reasons[..2], ["killed", "killed at once"]);
    assert!(of_home[1..].iter().skip(1).step_by(2).all(|start| start["respawn"] == true), "{of_home:?}");
}

#[tokio::test]
async fn messages_that_wait_while_a_broker_is_killed_are_published_or_refused_once() {
    let host = host().await;
    let channel = "channels/publish/room";
    let mut reader = Client::subscribed(&host, 2, channel).await;
    let mut publisher = Client::open(&host, 2).await;
    let home = home(&host, channel).await;
    host.at_home(channel, "hold", Value::Null).await;
    let mut sent = vec![publisher.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await];
    for number in 1..=9 {
        sent.push(publisher.send("#publish", json!({ "channel": channel, "data": number })).await);
    }
    crate::harness::eventually("all messages wait", async || host.metric("fanfare_channel_waiting", &[]).await == 10.0)
        .await;
    host.running().kill_brokers(Some(home), KillMode::Immediate).await.unwrap();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for (number, cid) in sent.into_iter().enumerate() {
        match publisher.answer(cid).await["error"].clone() {
            Value::Null => accepted.push(json!(number)),
            error => refused.push(error),
        }
    }
    assert!(!refused.is_empty(), "the call that ran has crashed");
    assert!(refused.iter().all(|error| error["message"].as_str().is_some()), "{refused:?}");
    publisher.publish(channel, json!("after")).await;
    accepted.push(json!("after"));
    assert_eq!(reader.data(accepted.len()).await, accepted);
    assert!(reader.has_nothing().await);
}
