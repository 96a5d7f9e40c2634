//! Channels whose route decides for each member (`deliver`).

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::faults::process;
use super::routes::{asked, in_broker};
use super::{GUEST, agree, channel, node, publish_at_last, three, with};
use crate::channels::{Client, PATHS};
use crate::cluster::cable::Cable;
use crate::harness::{Nats, Started, TestHost, eventually, node as settings};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// What the route is told to do about each member: to write the session into the message.
fn tag(what: &str) -> Value {
    json!({ "do": "tag", "on": "deliver", "what": what })
}

/// A client that is subscribed, and its session.
async fn member(host: &Started, channel: &str) -> (Client, Value) {
    let mut client = Client::open(host, 2).await;
    let session = client.ok("sign-in", json!("ada")).await;
    client.ok("#subscribe", json!({ "channel": channel })).await;
    (client, session)
}

/// The sessions that the route of a node was asked about.
async fn delivered(host: &Started) -> Vec<(Value, Value)> {
    let seen = in_broker(host, "seen").await;
    let seen = seen.as_array().unwrap().iter().filter(|facts| facts["action"] == "deliver");
    // The session is that of the call, so the route reads the user.
    seen.map(|facts| (facts["session"].clone(), facts["uid"].clone())).collect()
}

#[tokio::test]
async fn the_route_decides_once_for_each_member_on_the_node_of_the_member() {
    for nats in Nats::all().await {
        let hosts = three(&nats).await;
        // One channel without a home, and one with a history.
        for prefix in ["deliver", "all"] {
            let channel = channel(prefix, &[("b-1", &ALL)]);
            let mut members = Vec::new();
            for host in [&hosts[0], &hosts[0], &hosts[1], &hosts[2]] {
                members.push(member(host, &channel).await);
            }
            let mut publishers = [Client::open(&hosts[0], 2).await, Client::open(&hosts[2], 2).await];
            let refused = json!({ "do": "refuse", "on": "deliver", "name": "No", "message": "not for you" });
            for publisher in &mut publishers {
                publisher.publish(&channel, tag("first")).await;
                publisher.publish(&channel, refused.clone()).await;
                publisher.publish(&channel, tag("second")).await;
                for (member, session) in &mut members {
                    for what in ["first", "second"] {
                        let data = member.message().await["data"].clone();
                        assert_eq!((&data["for"], &data["was"]["what"]), (&*session, &json!(what)), "{prefix}");
                    }
                }
            }
            for (host, of) in hosts.iter().zip([&members[..2], &members[2..3], &members[3..]]) {
                let mut expected: Vec<Value> = Vec::new();
                of.iter().for_each(|(_, session)| expected.extend(vec![session.clone(); 6]));
                let mut told = delivered(host).await;
                assert!(told.iter().all(|(_, uid)| uid == "ada"), "{told:?}");
                told.sort_by_key(|(session, _)| session.to_string());
                expected.sort_by_key(Value::to_string);
                assert_eq!(told.into_iter().map(|(session, _)| session).collect::<Vec<_>>(), expected, "{prefix}");
                in_broker(host, "forget").await;
            }
            for (member, _) in &mut members {
                assert!(member.has_nothing().await);
                let error = member.error("#history", json!({ "channel": channel })).await;
                assert_eq!(error["code"], "invalid", "{error}");
            }
            if prefix == "all" {
                // The history has the messages as they were published.
                let page = hosts[0].running().channel_history(&channel, None, 100).await.unwrap();
                let text = |index: usize| page.messages[index].payload.to_text().into_owned();
                assert_eq!((page.messages.len(), text(0), text(1)), (6, tag("first").to_string(), refused.to_string()));
            }
        }
    }
}

#[tokio::test]
async fn a_member_gets_messages_in_order_while_the_route_of_another_node_takes_long() {
    let Some(nats) = Nats::start().await else { return };
    let mut hosts = Vec::new();
    for id in ALL {
        hosts.push(with(nats.node(id, "node")).limit(GUEST, "timeout", "1m").start().await);
    }
    agree(&hosts.iter().collect::<Vec<_>>(), &ALL).await;
    let channel = channel("all", &[("b-1", &ALL)]);
    let (mut slow, _) = member(&hosts[0], &channel).await;
    let (mut quick, _) = member(&hosts[2], &channel).await;
    let mut publisher = Client::open(&hosts[1], 2).await;
    publisher.publish(&channel, json!({ "do": "hold", "on": "deliver" })).await;
    for host in [&hosts[0], &hosts[2]] {
        eventually("the route runs", || async { in_broker(host, "holding").await == 1 }).await;
    }
    let mut sent = Vec::new();
    for number in 0..60 {
        sent.push(publisher.send("#publish", json!({ "channel": channel, "data": number })).await);
    }
    for number in sent {
        assert!(publisher.answer(number).await["error"].is_null());
    }
    assert!(slow.has_nothing().await);
    assert!(quick.has_nothing().await);
    in_broker(&hosts[2], "release").await;
    let all: Vec<Value> = (0..60).map(|number| json!(number)).collect();
    assert_eq!(quick.data(61).await[1..], all);
    assert!(slow.has_nothing().await);
    in_broker(&hosts[0], "release").await;
    assert_eq!(slow.data(61).await[1..], all);
}

#[tokio::test]
async fn a_node_without_the_module_asks_the_home_for_each_member() {
    let Some(nats) = Nats::start().await else { return };
    let listeners = json!([{ "path": PATHS[1], "module": "echo" }]);
    let front = TestHost::with("echo")
        .config(nats.node("f-1", "front"))
        .config(json!({ "websocket": { "listeners": listeners } }))
        .workers(1)
        .start()
        .await;
    let a = node(&nats, "a-1").await;
    let (_project, mut b) = process(&nats.url(), "b-1").await;
    agree(&[&front, &a], &["a-1", "b-1", "f-1"]).await;
    for prefix in ["deliver", "all"] {
        let channel = channel(prefix, &[("a-1", &["a-1", "b-1"])]);
        let mut members = Vec::new();
        for _ in 0..2 {
            members.push(Client::subscribed(&front, 2, &channel).await);
        }
        members[0].publish(&channel, tag("here")).await;
        a.running().publish_to_channel(&channel, tag("there").to_string()).await.unwrap();
        for member in &mut members {
            for what in ["here", "there"] {
                let data = member.message().await["data"].clone();
                let session = format!("f-1/{}", member.id);
                assert_eq!((&data["for"], &data["was"]["what"]), (&json!(session), &json!(what)), "{prefix}");
            }
        }
        let told: Vec<_> = asked(&a).await.into_iter().filter(|(action, _)| action == "deliver").collect();
        assert_eq!(told.len(), 4, "{prefix}: {told:?}");
        in_broker(&a, "forget").await;
    }
    // The home is killed: the other node is asked.
    let channel = channel("all", &[("b-1", &["a-1", "b-1"])]);
    let mut member = Client::subscribed(&front, 2, &channel).await;
    member.publish(&channel, tag("on b")).await;
    assert_eq!(member.message().await["data"]["was"]["what"], "on b");
    b.signal(Signal::KILL);
    b.ended().await;
    publish_at_last(&mut member, &channel, tag("on a")).await;
    assert_eq!(member.message().await["data"]["was"]["what"], "on a");
    // A member whose route cannot be asked does not get the message.
    a.stop().await;
    agree(&[&front], &["f-1"]).await;
    let error = member.error("#publish", json!({ "channel": channel, "data": tag("nowhere") })).await;
    assert!(error.to_string().contains("unavailable"), "{error}");
    assert!(member.has_nothing().await);
}

#[tokio::test]
async fn members_of_other_nodes_get_each_message_once_when_a_node_that_delivers_is_killed_or_frozen() {
    for signal in [Signal::KILL, Signal::STOP] {
        let Some(nats) = Nats::start().await else { return };
        let a = node(&nats, "a-1").await;
        let (_project, b) = process(&nats.url(), "b-1").await;
        agree(&[&a], &["a-1", "b-1"]).await;
        for prefix in ["deliver", "all"] {
            let channel = channel(prefix, &[("b-1", &["a-1", "b-1"])]);
            let (mut here, _) = member(&a, &channel).await;
            let mut there = Client::at(b.http, 2).await;
            there.ok("#subscribe", json!({ "channel": channel })).await;
            for number in 0..20 {
                there.publish(&channel, json!(number)).await;
            }
            let all: Vec<Value> = (0..20).map(|number| json!(number)).collect();
            assert_eq!(here.data(20).await, all, "{prefix}");
            assert_eq!(there.data(20).await, all, "{prefix}");
            if prefix == "all" {
                b.signal(signal);
                // What is sent to a frozen home may be published when it continues.
                agree(&[&a], &["a-1"]).await;
                publish_at_last(&mut here, &channel, json!("moved")).await;
                assert_eq!(here.data(1).await, [json!("moved")]);
                if signal == Signal::STOP {
                    b.signal(Signal::CONT);
                    agree(&[&a], &["a-1", "b-1"]).await;
                    publish_at_last(&mut here, &channel, json!("back")).await;
                    assert_eq!(here.data(1).await, [json!("back")]);
                    assert_eq!(there.data(1).await, [json!("back")]);
                }
                assert!(here.has_nothing().await);
            }
        }
    }
}

#[tokio::test]
async fn what_a_node_misses_while_it_is_cut_off_is_delivered_to_each_member_afterwards() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let far = settings("a-1", "node", &format!("nats://{}", cable.address));
    let (a, b) = (with(far).start().await, node(&nats, "b-1").await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("all", &[("b-1", &["a-1", "b-1"])]);
    let (mut member, session) = member(&a, &channel).await;
    let mut publisher = Client::open(&b, 2).await;
    publisher.publish(&channel, tag("before")).await;
    cable.pull();
    agree(&[&b], &["b-1"]).await;
    for number in 0..30 {
        publisher.publish(&channel, tag(&number.to_string())).await;
    }
    cable.plug_in();
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publisher.publish(&channel, tag("after")).await;
    let mut got = Vec::new();
    for _ in 0..32 {
        let data = member.message().await["data"].clone();
        assert_eq!(data["for"], session);
        got.push(data["was"]["what"].as_str().unwrap().to_owned());
    }
    let numbers = (0..30).map(|number| number.to_string());
    let all: Vec<String> = std::iter::once("before".to_owned()).chain(numbers).chain(["after".to_owned()]).collect();
    assert_eq!(got, all);
    assert_eq!(delivered(&a).await.len(), 32, "the route is asked once about each");
}

#[tokio::test]
async fn without_nats_each_node_delivers_to_its_own_members() {
    let Some(mut nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    for prefix in ["deliver", "all"] {
        let channel = channel(prefix, &[("b-1", &ALL)]);
        let mut members = Vec::new();
        for host in &hosts {
            members.push(member(host, &channel).await);
        }
        members[0].0.publish(&channel, tag("first")).await;
        for (member, session) in &mut members {
            let data = member.message().await["data"].clone();
            assert_eq!((&data["for"], &data["was"]["what"]), (&*session, &json!("first")), "{prefix}");
        }
        nats.kill();
        for (host, id) in hosts.iter().zip(ALL) {
            eventually("the node is alone", || async {
                let status = host.admin("GET", "/v1/nodes", "").await.json();
                status["state"] == "down" && status["nodes"].as_array().unwrap().len() == 1
            })
            .await;
            publish_at_last(&mut Client::open(host, 2).await, &channel, tag(id)).await;
        }
        nats.run().await;
        agree(&[&hosts[0], &hosts[1], &hosts[2]], &ALL).await;
        for (index, (member, session)) in members.iter_mut().enumerate() {
            let data = member.message().await["data"].clone();
            assert_eq!((&data["for"], &data["was"]["what"]), (&*session, &json!(ALL[index])), "{prefix}");
        }
        publish_at_last(&mut members[2].0, &channel, tag("last")).await;
        for (member, session) in &mut members {
            // A node that meets another one before the home follows that one for a moment.
            loop {
                let data = member.message().await["data"].clone();
                assert_eq!(&data["for"], &*session, "{prefix}");
                if data["was"]["what"] == "last" {
                    break;
                }
                assert!(ALL.iter().any(|id| data["was"]["what"] == *id), "{data}");
            }
        }
    }
}
