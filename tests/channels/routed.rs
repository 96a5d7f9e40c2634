//! Channels whose route decides, in the brokers.

use super::*;
use crate::harness::eventually;
use crate::middlewares::behind;

#[tokio::test]
async fn the_route_hears_of_each_action_in_the_home_of_the_channel() {
    let host = host().await;
    for version in [1, 2] {
        let channel = format!("channels/routed/{version}");
        let mut client = Client::open(&host, version).await;
        let session = client.ok("sign-in", json!("ada")).await;
        client.ok("#subscribe", json!({ "channel": channel, "data": { "color": "red" } })).await;
        client.publish(&channel, json!({ "text": "hi" })).await;
        assert_eq!(client.data(1).await, [json!({ "text": "hi" })]);
        client.ok("#unsubscribe", json!(channel)).await;
        let seen = host.at_home(&channel, "seen", Value::Null).await;
        let seen: Vec<_> = seen.as_array().unwrap().iter().filter(|facts| facts["channel"] == channel).collect();
        let about = |index: usize| (&seen[index]["action"], &seen[index]["body"]);
        assert_eq!(about(0), (&json!("subscribe"), &json!({ "color": "red" })));
        assert_eq!(about(1), (&json!("publish"), &json!({ "text": "hi" })));
        assert_eq!((about(2), seen.len()), ((&json!("unsubscribe"), &Value::Null), 3));
        for facts in &seen {
            assert_eq!((&facts["session"], &facts["own"], &facts["uid"]), (&session, &session, &json!("ada")));
            assert!(facts["origin"].as_str().unwrap().contains(&client.id), "{facts}");
            assert!(facts["isolate"].as_str().unwrap().starts_with("broker"), "{facts}");
        }
    }
    // A guest has no session.
    let publish = json!({ "do": "publishAndWait", "channel": "channels/routed/g", "payload": { "json": 1 } });
    assert_eq!(host.channels(publish).await, Value::Null);
    let seen = host.at_home("channels/routed/g", "seen", Value::Null).await;
    let last = seen.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["session"], &last["own"]), (&Value::Null, &Value::Null));
    assert!(last["origin"].as_str().unwrap().contains("channels"), "{last}");
}

#[tokio::test]
async fn an_action_passes_the_middlewares_of_the_route() {
    let channel = "channels/publish/1";
    let host = behind(with(json!({})), GUEST, "decide", "fail").start().await;
    let mut client = Client::subscribed(&host, 2, channel).await;
    let error = client.error("#publish", json!({ "channel": channel, "data": "hi" })).await;
    assert_eq!((&error["name"], &error["message"]), (&json!("no-ticket"), &json!("show a ticket")), "{error}");
    assert_eq!(host.asked(channel).await, [""; 0]);
    drop(host);
    let host = behind(with(json!({})), GUEST, "decide", "pass").start().await;
    let mut client = Client::subscribed(&host, 2, channel).await;
    client.publish(channel, json!("hi")).await;
    assert_eq!(client.data(1).await, [json!("hi")]);
    assert_eq!(host.asked(channel).await, ["publish"]);
}

#[tokio::test]
async fn the_route_changes_and_refuses_messages() {
    let host = host().await;
    let channel = "channels/publish/1";
    let mut client = Client::subscribed(&host, 2, channel).await;
    client.publish(channel, json!({ "do": "change", "to": { "clean": true } })).await;
    assert_eq!(client.data(1).await, [json!({ "clean": true })]);
    let refuse = json!({ "do": "refuse", "name": "RudeError", "message": "mind your words", "status": 403 });
    let error = client.error("#publish", json!({ "channel": channel, "data": refuse })).await;
    assert_eq!((&error["name"], &error["message"]), (&json!("RudeError"), &json!("mind your words")), "{error}");
    let reply = json!({ "do": "reply", "status": 403 });
    let error = client.error("#publish", json!({ "channel": channel, "data": reply })).await;
    assert_eq!(error["name"], "refused", "{error}");
    // The route is not asked about subscriptions here, and a reply below 300 allows.
    let reply = json!({ "do": "reply", "status": 200 });
    client.publish(channel, reply.clone()).await;
    assert_eq!(client.data(1).await, [reply]);
    let publish = |order: Value| json!({ "do": "publishAndWait", "channel": channel, "payload": { "json": order } });
    let refused = host.channels(publish(json!({ "do": "refuse", "name": "No", "message": "no", "status": 400 }))).await;
    assert_eq!((&refused["error"], &refused["failure"]["name"]), (&json!("failure"), &json!("No")), "{refused}");
    let refused = host.channels(publish(json!({ "do": "reply", "status": 302 }))).await;
    assert_eq!((&refused["error"], &refused["failure"]["name"]), (&json!("failure"), &json!("refused")), "{refused}");
    assert!(client.has_nothing().await);
    let refused = host.metric("fanfare_channel_refused_total", &[]).await;
    assert_eq!(refused, 4.0);
}

#[tokio::test]
async fn the_route_refuses_subscriptions_and_their_ends() {
    let host = host().await;
    let channel = "channels/routed/1";
    let mut client = Client::open(&host, 1).await;
    let refuse = |on: &str| json!({ "do": "refuse", "on": on, "name": "NoEntry", "message": "no entry" });
    let error = client.error("#subscribe", json!({ "channel": channel, "data": refuse("subscribe") })).await;
    assert_eq!((&error["name"], &error["message"]), (&json!("NoEntry"), &json!("no entry")), "{error}");
    let mut other = Client::open(&host, 2).await;
    other.publish(channel, json!(1)).await;
    assert!(client.has_nothing().await);
    assert_eq!(host.running().channel_count(channel), 0);
    // Who may not subscribe may not watch the members either.
    let presence = json!({ "channel": "presence/channels/members/1", "data": refuse("subscribe") });
    assert_eq!(client.error("#subscribe", presence).await["name"], "NoEntry");
    let seen = host.at_home("channels/members/1", "seen", Value::Null).await;
    assert_eq!(seen.as_array().unwrap().last().unwrap()["channel"], "channels/members/1");
}

#[tokio::test]
async fn messages_are_released_in_order_whatever_their_calls_take() {
    let host = host().await;
    let channel = "channels/publish/order";
    let mut client = Client::subscribed(&host, 2, channel).await;
    let held = client.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await;
    eventually("the call runs", || async { host.at_home(channel, "holding", Value::Null).await == 1 }).await;
    let mut quick = Vec::new();
    for number in 0..10 {
        quick.push(client.send("#publish", json!({ "channel": channel, "data": number })).await);
    }
    eventually("the calls have ended", || async { host.asked(channel).await.len() == 11 }).await;
    // Another channel is not held up, also with the same home.
    assert!(client.has_nothing().await);
    for number in 0..10 {
        let channel = format!("channels/publish/beside/{number}");
        client.publish(&channel, json!(1)).await;
    }
    assert_eq!(host.at_home(channel, "release", Value::Null).await, 1);
    client.answer(held).await;
    assert_eq!(client.data(11).await[1..], (0..10).map(|number| json!(number)).collect::<Vec<_>>());
    for number in quick {
        assert_eq!(client.answer(number).await["error"], Value::Null);
    }
}

/// Without its session the call would look like one of a guest or of the operator, who may do more.
#[tokio::test]
async fn a_call_about_a_client_that_has_left_meanwhile_still_belongs_to_its_session() {
    let host = host().await;
    let channel = "channels/publish/left";
    let mut client = Client::open(&host, 2).await;
    let session = client.ok("sign-in", json!("ada")).await;
    client.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await;
    eventually("the call runs", || async { host.at_home(channel, "holding", Value::Null).await == 1 }).await;
    drop(client);
    eventually("the client has left", || async { host.metric("fanfare_websocket_connections", &[]).await == 0.0 })
        .await;
    host.at_home(channel, "release", Value::Null).await;
    let released = async || {
        let seen = host.at_home(channel, "seen", Value::Null).await;
        seen.as_array().unwrap().iter().find(|facts| facts.get("released").is_some()).cloned()
    };
    eventually("the call continues", || async { released().await.is_some() }).await;
    assert_eq!(released().await.unwrap(), json!({ "released": session, "own": session }));
}

#[tokio::test]
async fn at_most_64_requests_of_a_channel_wait_for_its_route() {
    let host = with(json!({ "inFlight": 100 })).start().await;
    let channel = "channels/publish/full";
    let mut client = Client::subscribed(&host, 2, channel).await;
    let mut sent = vec![client.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await];
    for number in 1..64 {
        sent.push(client.send("#publish", json!({ "channel": channel, "data": number })).await);
    }
    let error = client.error("#publish", json!({ "channel": channel, "data": "over" })).await;
    assert_eq!((&error["name"], &error["code"]), (&json!("OverloadedError"), &json!("overloaded")), "{error}");
    let publish = json!({ "do": "publish", "channel": channel, "payload": { "json": "over" } });
    assert_eq!(host.channels(publish).await["error"], "overloaded");
    client.publish("channels/publish/other", json!(1)).await;
    eventually("the first call runs", || async { host.at_home(channel, "holding", Value::Null).await == 1 }).await;
    host.at_home(channel, "release", Value::Null).await;
    for number in sent {
        assert_eq!(client.answer(number).await["error"], Value::Null);
    }
    let data = client.data(64).await;
    assert_eq!(data[1..], (1..64).map(|number| json!(number)).collect::<Vec<_>>());
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"channel-waiting\""]).await >= 2.0);
    assert_eq!(host.metric("fanfare_channel_waiting", &[]).await, 0.0);
}

#[tokio::test]
async fn the_host_reads_no_further_events_of_a_client_while_too_many_wait_for_a_route() {
    let host = with(json!({ "inFlight": 2 })).start().await;
    let channel = "channels/publish/reading";
    let mut client = Client::open(&host, 2).await;
    let mut sent = Vec::new();
    for _ in 0..2 {
        sent.push(client.send("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await);
    }
    sent.push(client.send("#publish", json!({ "channel": channel, "data": "third" })).await);
    eventually("reading has stopped", || async { host.metric("fanfare_websocket_paused_total", &[]).await >= 1.0 })
        .await;
    eventually("two calls run", || async { host.at_home(channel, "holding", Value::Null).await == 2 }).await;
    assert_eq!(host.asked(channel).await.len(), 2);
    host.at_home(channel, "release", Value::Null).await;
    for number in sent {
        assert_eq!(client.answer(number).await["error"], Value::Null);
    }
}

#[tokio::test]
async fn a_client_waits_no_longer_than_ack_timeout_and_its_message_is_not_published() {
    // No ping arrives meanwhile, so that the client does not wait for the timeout of the module.
    let settings = json!({ "ackTimeout": "1s", "pingInterval": "1m", "pingTimeout": "10m" });
    let host = with(settings).limit(GUEST, "timeout", "60s").start().await;
    let channel = "channels/publish/late";
    let mut client = Client::subscribed(&host, 2, channel).await;
    let error = client.error("#publish", json!({ "channel": channel, "data": { "do": "hold" } })).await;
    assert_eq!(error["name"], "TimeoutError", "{error}");
    client.publish(channel, json!("next")).await;
    assert_eq!(client.data(1).await, [json!("next")]);
}

#[tokio::test]
async fn a_call_about_a_channel_publishes_to_another_one_but_must_not_wait_for_its_own() {
    let host = host().await;
    let channel = "channels/publish/nested";
    let mut client = Client::subscribed(&host, 2, channel).await;
    let order = |to: &str| json!({ "do": "publish", "channel": to, "payload": { "from": "nested" } });
    client.ok("#subscribe", json!("channels/history/nested")).await;
    client.publish(channel, order("channels/history/nested")).await;
    assert_eq!(client.message().await["data"], json!({ "from": "nested" }));
    let published = client.message().await["data"]["published"].clone();
    assert!(published.as_str().unwrap().ends_with("-1"), "{published}");
    client.publish(channel, order(channel)).await;
    let error = client.message().await["data"].clone();
    assert_eq!(error["error"], "would-deadlock", "{error}");
}

#[tokio::test]
async fn the_route_decides_for_each_member_who_gets_what() {
    let host = host().await;
    let channel = "channels/deliver/1";
    let mut publisher = Client::open(&host, 2).await;
    let mut members = Vec::new();
    for version in [1, 2, 2] {
        let mut client = Client::open(&host, version).await;
        let session = client.ok("sign-in", json!("ada")).await;
        client.ok("#subscribe", json!(channel)).await;
        members.push((client, session));
    }
    publisher.publish(channel, json!({ "do": "tag" })).await;
    publisher.publish(channel, json!("same")).await;
    publisher.publish(channel, json!({ "do": "refuse", "name": "No", "message": "not for you" })).await;
    publisher.publish(channel, json!("last")).await;
    for (member, session) in &mut members {
        let tagged = member.message().await["data"].clone();
        assert_eq!((&tagged["for"], &tagged["was"]), (&*session, &json!({ "do": "tag" })));
        assert_eq!(member.data(2).await, [json!("same"), json!("last")]);
    }
    let error = members[0].0.error("#history", json!({ "channel": channel })).await;
    assert_eq!(error["code"], "invalid", "{error}");
}

#[tokio::test]
async fn a_module_finds_the_broker_of_a_channel() {
    let host = host().await;
    let mut homes = std::collections::BTreeSet::new();
    for number in 0..16 {
        let channel = format!("channels/routed/{number}");
        let publish = json!({ "do": "publishAndWait", "channel": channel, "payload": { "json": number } });
        assert_eq!(host.channels(publish).await, Value::Null);
        // The call to the home of the channel reaches the isolate in which its route has run.
        let seen = host.at_home(&channel, "seen", Value::Null).await;
        let seen: Vec<_> = seen.as_array().unwrap().iter().filter(|facts| facts["channel"] == channel).collect();
        assert_eq!(seen.len(), 1, "{channel}");
        homes.insert(seen[0]["isolate"].as_str().unwrap().to_owned());
    }
    assert_eq!(homes.len(), 2, "channels are spread over the brokers: {homes:?}");
    let answer = host.post(&format!("/api/{GUEST}/home/seen?channel="), "").await;
    assert_eq!(answer.code(), "invalid", "{}", answer.text());
}

#[tokio::test]
async fn a_module_that_is_gone_leaves_its_channels_to_no_one_until_it_is_back() {
    let host = host().await;
    let channel = "channels/routed/gone";
    let mut client = Client::subscribed(&host, 2, channel).await;
    host.rewrite(GUEST, json!({ "component": "missing.wasm" }));
    let refused = host.reload(GUEST).await;
    assert!(refused["outcome"] != "swapped", "{refused}");
    // The previous generation keeps deciding.
    client.publish(channel, json!(1)).await;
    assert_eq!(client.data(1).await, [json!(1)]);
}
