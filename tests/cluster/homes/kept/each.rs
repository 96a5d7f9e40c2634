//! Channels whose route also decides for each member (`deliver`).

use std::ops::Range;

use futures_util::future::join_all;
use rustix::process::Signal;

use super::super::routes::in_broker;
use super::*;

/// A message about which the route is told to write the session of each member into it.
fn tag(what: impl Into<Value>) -> Value {
    json!({ "do": "tag", "on": "deliver", "what": what.into() })
}

/// A client that is subscribed, and its session.
async fn member(node: &str, mut client: Client, channel: &str) -> (Client, String) {
    client.ok("#subscribe", json!({ "channel": channel })).await;
    let session = format!("{node}/{}", client.id);
    (client, session)
}

/// What a member receives until a message, as the route has written it for this member.
async fn told((client, session): &mut (Client, String), last: &Value) -> Vec<(String, u64, Value)> {
    let mut all: Vec<(String, u64, Value)> = Vec::new();
    while all.last().is_none_or(|(.., data)| data != last) {
        let message = client.message().await;
        let (epoch, number) = place(&message);
        assert_eq!(message["data"]["for"], **session, "{message}");
        all.push((epoch, number, message["data"]["was"]["what"].clone()));
    }
    all
}

/// Publishes messages at once, each until the channel accepts it. Returns those that it may have
/// accepted, although they failed.
async fn publish_all(hosts: &[&Started], channel: &str, numbers: Range<i64>) -> Vec<i64> {
    let publishes = numbers.map(async |number| {
        let mut client = Client::open(hosts[number as usize % hosts.len()], 2).await;
        loop {
            let error = try_publish(&mut client, channel, tag(number)).await;
            if error.is_null() {
                return None;
            }
            if !error.to_string().contains("unavailable") {
                return Some(number);
            }
            tokio::task::yield_now().await;
        }
    });
    join_all(publishes).await.into_iter().flatten().collect()
}

/// Checks that a member has got these messages once, in one order, with one epoch.
fn check_all(all: &[(String, u64, Value)], numbers: Range<i64>, unknown: &[i64]) {
    check(all, 1);
    let mut got: Vec<i64> = all.iter().filter_map(|(.., data)| data.as_i64()).collect();
    got.sort_unstable();
    let expected = numbers.filter(|number| !unknown.contains(number) || got.contains(number));
    assert_eq!(got, expected.collect::<Vec<_>>(), "{all:?}");
}

#[tokio::test]
async fn the_route_decides_once_for_each_member_and_the_stream_has_each_message_unchanged() {
    for nats in Nats::all().await {
        let hosts = three(&nats).await;
        let channel = channel("told", &[("b-1", &ALL)]);
        let mut members = Vec::new();
        for (host, id) in hosts.iter().zip(ALL) {
            members.push(member(id, Client::open(host, 2).await, &channel).await);
            members.push(member(id, Client::open(host, 2).await, &channel).await);
        }
        let mut publisher = Client::open(&hosts[0], 2).await;
        let change = json!({ "do": "change", "on": "publish", "to": tag("changed") });
        publish(&mut publisher, &channel, change).await;
        let refuse = json!({ "do": "refuse", "on": "deliver", "name": "No", "message": "not for you" });
        publish(&mut publisher, &channel, refuse.clone()).await;
        publish(&mut publisher, &channel, tag("last")).await;
        for member in &mut members {
            let all = told(member, &json!("last")).await;
            assert_eq!(data(&all), ["changed", "last"]);
            assert_eq!((all[0].1, all[1].1), (1, 3), "the number of what is withheld is not given again");
            assert!(member.0.has_nothing().await);
            let error = member.0.error("#history", json!({ "channel": channel })).await;
            assert_eq!(error["code"], "invalid", "{error}");
        }
        for host in &hosts {
            let seen = in_broker(host, "seen").await;
            let asked = seen.as_array().unwrap().iter().filter(|facts| facts["action"] == "deliver");
            assert_eq!(asked.count(), 6, "on the node of the members: {seen}");
            let page = host.running().channel_history(&channel, None, 100).await.unwrap();
            let kept: Vec<String> = page.messages.iter().map(|one| one.payload.to_text().into_owned()).collect();
            assert_eq!(kept, [tag("changed"), refuse.clone(), tag("last")].map(|data| data.to_string()));
        }
        assert_eq!(hosts[1].metric("fanfare_histories_written_total", &[]).await, 3.0);
    }
}

#[tokio::test]
async fn members_get_each_message_once_over_a_home_that_is_killed_or_frozen_and_one_that_joins() {
    for signal in [Signal::KILL, Signal::STOP] {
        let Some(nats) = Nats::start().await else { return };
        let (a, c) = (node(&nats, "a-1").await, node(&nats, "c-1").await);
        let (project, b) = process(&nats.url(), "b-1").await;
        agree(&[&a, &c], &ALL).await;
        let channel = channel("told", &[("b-1", &ALL), ("c-1", &["a-1", "c-1"])]);
        let mut members = [
            member("a-1", Client::open(&a, 2).await, &channel).await,
            member("c-1", Client::open(&c, 2).await, &channel).await,
        ];
        let mut own = member("b-1", Client::at(b.http, 2).await, &channel).await;
        assert!(publish_all(&[&a, &c], &channel, 0..20).await.is_empty());
        // The home is lost while messages are on their way.
        let hosts = [&a, &c];
        let lost = async { b.signal(signal) };
        let (unknown, ()) = tokio::join!(publish_all(&hosts, &channel, 20..40), lost);
        agree(&[&a, &c], &["a-1", "c-1"]).await;
        // The node is back, and the home again.
        let mut again = None;
        match signal {
            Signal::KILL => again = Some(project.serve(&[]).await),
            _ => b.signal(Signal::CONT),
        }
        agree(&[&a, &c], &ALL).await;
        assert!(publish_all(&[&a, &c], &channel, 40..60).await.is_empty());
        publish(&mut Client::open(&a, 2).await, &channel, tag("last")).await;
        for member in &mut members {
            check_all(&told(member, &json!("last")).await, 0..60, &unknown);
            assert!(member.0.has_nothing().await);
        }
        match again {
            Some(b) => {
                // The numbers continue for a client that has just come.
                let mut late = member("b-1", Client::at(b.http, 2).await, &channel).await;
                publish(&mut late.0, &channel, tag("later")).await;
                let (here, there) =
                    (told(&mut late, &json!("later")).await, told(&mut members[0], &json!("later")).await);
                assert_eq!(here, there);
            }
            None => {
                check_all(&told(&mut own, &json!("last")).await, 0..60, &unknown);
                assert!(own.0.has_nothing().await);
            }
        }
    }
}
