//! Presence: who is subscribed, and who is told.

use std::time::Duration;

use super::*;
use crate::harness::{Proxy, eventually};

const CHANNEL: &str = "channels/presence/1";
const PRESENCE: &str = "presence/channels/presence/1";

/// A client with a user that is subscribed to a channel and says something about itself.
async fn member(host: &Started, version: usize, channel: &str, user: &str) -> Client {
    let mut client = Client::open(host, version).await;
    client.ok("sign-in", json!(user)).await;
    client.ok("#subscribe", json!({ "channel": channel, "data": { "name": user } })).await;
    client
}

fn change(action: &str, client: &Client, user: &str, count: u32) -> Value {
    let member = json!({ "id": client.id, "uid": user, "info": { "name": user } });
    json!({ "action": action, "member": member, "count": count })
}

#[tokio::test]
async fn members_are_listed_and_announced_when_they_join_and_leave() {
    let host = host().await;
    for version in [1, 2] {
        let mut watcher = Client::subscribed(&host, version, PRESENCE).await;
        let mut ada = member(&host, version, CHANNEL, "ada").await;
        let bob = member(&host, version, CHANNEL, "bob").await;
        assert_eq!(watcher.data(2).await, [change("join", &ada, "ada", 1), change("join", &bob, "bob", 2)]);
        let expected = json!([
            { "id": ada.id, "uid": "ada", "info": { "name": "ada" } },
            { "id": bob.id, "uid": "bob", "info": { "name": "bob" } },
        ]);
        assert_eq!(ada.ok("#members", json!({ "channel": CHANNEL })).await, expected);
        // Who subscribes again has not joined again.
        ada.ok("#subscribe", json!({ "channel": CHANNEL, "data": { "name": "ada" } })).await;
        ada.ok("#unsubscribe", json!(CHANNEL)).await;
        assert_eq!(watcher.data(1).await, [change("leave", &ada, "ada", 1)]);
        // The end of a process, without a word.
        let gone = change("leave", &bob, "bob", 0);
        drop(bob);
        assert_eq!(watcher.data(1).await, [gone]);
        assert_eq!(host.running().channel_members(CHANNEL).await.unwrap(), []);
    }
}

#[tokio::test]
async fn a_member_whose_cable_is_cut_leaves_when_it_answers_no_pings() {
    let host = with(json!({ "pingInterval": "300ms", "pingTimeout": "3s" })).start().await;
    let proxy = Proxy::to(host.http).await;
    let mut watcher = Client::subscribed(&host, 2, PRESENCE).await;
    // This one keeps its connection, but reads and answers nothing.
    let mut silent = Client::at(proxy.address, 2).await;
    silent.ok("#subscribe", json!({ "channel": CHANNEL, "data": 1 })).await;
    let joined = watcher.message().await;
    assert_eq!((&joined["data"]["action"], &joined["data"]["member"]["uid"]), (&json!("join"), &Value::Null));
    let left = watcher.message().await["data"].clone();
    assert_eq!(
        (&left["action"], &left["member"]["id"], &left["count"]),
        (&json!("leave"), &json!(silent.id), &json!(0))
    );
    drop(silent);
}

#[tokio::test]
async fn members_stay_over_a_swap_and_kills_of_workers_and_brokers() {
    let host = host().await;
    let channel = "channels/members/1";
    let mut watcher = Client::subscribed(&host, 2, "presence/channels/members/1").await;
    let mut ada = member(&host, 2, channel, "ada").await;
    assert_eq!(watcher.data(1).await, [change("join", &ada, "ada", 1)]);
    for version in 1..=3 {
        host.rewrite(GUEST, json!({ "config": { "version": version } }));
        assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
        host.running().kill_brokers(None, fanfare::api::KillMode::Immediate).await.unwrap();
        host.running().kill_workers(None, fanfare::api::KillMode::Graceful).await.unwrap();
    }
    let members = ada.ok("#members", json!({ "channel": channel })).await;
    assert_eq!(members.as_array().unwrap().len(), 1, "{members}");
    let bob = member(&host, 1, channel, "bob").await;
    assert_eq!(watcher.data(1).await, [change("join", &bob, "bob", 2)], "nobody has left or joined meanwhile");
}

#[tokio::test]
async fn the_route_is_told_who_joins_and_leaves() {
    let host = host().await;
    let channel = "channels/members/told";
    let mut ada = member(&host, 2, channel, "ada").await;
    ada.ok("#unsubscribe", json!(channel)).await;
    eventually("both are told", || async { host.asked(channel).await == ["subscribe", "join", "leave"] }).await;
    let bob = member(&host, 2, channel, "bob").await;
    drop(bob);
    let all = ["subscribe", "join", "leave", "subscribe", "join", "leave"];
    eventually("the end of a session is told", || async { host.asked(channel).await == all }).await;
    let seen = host.at_home(channel, "seen", Value::Null).await;
    let last = seen.as_array().unwrap().last().unwrap().clone();
    assert_eq!((&last["action"], last["session"].is_string()), (&json!("leave"), true), "{last}");
}

#[tokio::test]
async fn only_members_get_the_list_and_only_channels_with_presence_have_one() {
    let host = host().await;
    let mut client = Client::open(&host, 2).await;
    let error = client.error("#members", json!({ "channel": CHANNEL })).await;
    assert_eq!(error["name"], "BrokerError", "{error}");
    client.ok("#subscribe", json!("channels/any")).await;
    let error = client.error("#members", json!({ "channel": "channels/any" })).await;
    assert_eq!(error["code"], "invalid", "{error}");
    let publish = json!({ "channel": PRESENCE, "data": { "action": "join" } });
    assert_eq!(client.error("#publish", publish).await["name"], "InvalidActionError");
    let members = host.channels(json!({ "do": "members", "channel": "channels/any" })).await;
    assert_eq!(members["error"], "invalid", "{members}");
}

#[tokio::test]
async fn what_a_member_says_about_itself_is_bounded_and_may_be_replaced_by_the_route() {
    let host = host().await;
    let mut client = Client::open(&host, 2).await;
    let data = |size: usize| json!({ "channel": CHANNEL, "data": "x".repeat(size - 2) });
    client.ok("#subscribe", data(4_096)).await;
    let error = client.error("#subscribe", data(4_097)).await;
    assert_eq!(error["code"], "invalid", "{error}");
    assert!(host.metric("fanfare_bound_reached_total", &["bound=\"channel-info\""]).await >= 1.0);
    let channel = "channels/members/info";
    let info = json!({ "do": "change", "on": "subscribe", "to": { "role": "guest" } });
    client.ok("#subscribe", json!({ "channel": channel, "data": info })).await;
    let members = client.ok("#members", json!(channel)).await;
    assert_eq!(members[0]["info"], json!({ "role": "guest" }));
}

/// Members with 4 KiB each, until a list would have more than 1 MiB.
#[tokio::test]
async fn a_list_of_members_with_too_many_bytes_is_refused_with_their_number() {
    let host = host().await;
    let reached = async || host.metric("fanfare_bound_reached_total", &["bound=\"channel-members\""]).await;
    let list = json!({ "do": "members", "channel": CHANNEL });
    let mut members = Vec::new();
    for _ in 0..250 {
        let mut member = Client::open(&host, 2).await;
        member.ok("#subscribe", json!({ "channel": CHANNEL, "data": "x".repeat(4_060) })).await;
        members.push(member);
    }
    let listed = members[0].ok("#members", json!(CHANNEL)).await;
    assert_eq!((listed.as_array().unwrap().len(), reached().await), (250, 0.0));
    assert_eq!(host.channels(list.clone()).await.as_array().unwrap().len(), 250);
    for _ in 0..15 {
        let mut member = Client::open(&host, 2).await;
        member.ok("#subscribe", json!({ "channel": CHANNEL, "data": "x".repeat(4_090) })).await;
        members.push(member);
    }
    let refused = members[0].error("#members", json!(CHANNEL)).await;
    assert_eq!(refused["code"], "overloaded", "{refused}");
    let message = refused["message"].as_str().unwrap();
    assert!(message.contains("has 265 members of") && message.contains("of 1048576 bytes"), "{message}");
    assert_eq!((host.channels(list).await["error"].clone(), reached().await), (json!("overloaded"), 2.0));
}

/// From 1,000 members on, only their number is announced.
#[tokio::test]
async fn a_crowd_is_announced_by_its_number_only() {
    let host = host().await;
    let mut watcher = Client::subscribed(&host, 2, PRESENCE).await;
    let mut members = Vec::new();
    for number in 1..=1_000 {
        members.push(Client::subscribed(&host, 2, CHANNEL).await);
        if number < 1_000 {
            let joined = watcher.message().await["data"].clone();
            assert_eq!((&joined["action"], &joined["count"]), (&json!("join"), &json!(number)));
        }
    }
    let crowd = watcher.message().await["data"].clone();
    assert_eq!(crowd.get("action"), None, "{crowd}");
    let begun = std::time::Instant::now();
    drop(members.split_off(995));
    loop {
        let next = watcher.message().await["data"].clone();
        if next["count"] == 995 {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "the last number is never announced: {next}");
    }
}
