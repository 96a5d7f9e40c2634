//! Homes that die, freeze or are cut off, and messages that do not arrive.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{GUEST, agree, channel, node, place, publish_at_last, three, with};
use crate::channels::{Client, PATHS};
use crate::cli::project::{Project, Serving};
use crate::cluster::cable::Cable;
use crate::harness::{Nats, Started, eventually, node as settings};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// A node with the module in a process of its own.
pub(super) async fn process(nats: &str, id: &str) -> (Project, Serving) {
    let listeners = json!([{ "path": PATHS[1], "module": GUEST }]);
    let project = Project::with(&[GUEST]).config(settings(id, "node", nats)).config(json!({
        "workers": 1,
        "websocket": { "listeners": listeners },
        "modules": { GUEST: { "grants": { "sessions": true, "channels": ["lobby/*"] } } },
    }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

/// What a client receives until a message: its epoch, its number and its data.
pub(super) async fn received(client: &mut Client, last: &Value) -> Vec<(String, u64, Value)> {
    let mut all = Vec::new();
    loop {
        let message = client.message().await;
        let (epoch, number) = place(&message);
        let is_last = message["data"] == *last;
        all.push((epoch, number, message["data"].clone()));
        if is_last {
            return all;
        }
    }
}

/// Checks that nothing is doubled, and that within an epoch nothing is missing.
fn check(all: &[(String, u64, Value)]) {
    for pair in all.windows(2) {
        let ((epoch, number, _), (next_epoch, next, data)) = (&pair[0], &pair[1]);
        let expected = if epoch == next_epoch { number + 1 } else { 1 };
        assert_eq!(*next, expected, "{data}: {all:?}");
    }
    for (index, (.., data)) in all.iter().enumerate() {
        assert!(all[..index].iter().all(|(.., other)| other != data), "{data} twice: {all:?}");
    }
}

#[tokio::test]
async fn when_the_home_is_killed_or_frozen_the_channel_begins_anew_on_another_node() {
    for signal in [Signal::KILL, Signal::STOP] {
        let Some(nats) = Nats::start().await else { return };
        let (a, c) = (node(&nats, "a-1").await, node(&nats, "c-1").await);
        let (_project, mut b) = process(&nats.url(), "b-1").await;
        agree(&[&a, &c], &ALL).await;
        let channel = channel("history", &[("b-1", &ALL), ("c-1", &["a-1", "c-1"])]);
        let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&c, 2, &channel).await];
        let mut publisher = Client::open(&a, 2).await;
        for number in 0..5 {
            publisher.publish(&channel, json!(number)).await;
        }
        let mut orders = Vec::new();
        for member in &mut members {
            orders.push(received(member, &json!(4)).await);
        }
        if signal == Signal::STOP {
            b.freeze().await;
        } else {
            b.signal(signal);
            b.ended().await;
        }
        // What was sent to the home is not sent again.
        let answer = publisher.ask("#publish", json!({ "channel": channel, "data": "lost" })).await;
        let error = answer["error"].to_string();
        assert!(["unavailable", "crashed", "lost"].iter().any(|code| error.contains(code)), "{answer}");
        agree(&[&a, &c], &["a-1", "c-1"]).await;
        for number in 10..15 {
            publisher.publish(&channel, json!(number)).await;
        }
        publisher.publish(&channel, json!("moved")).await;
        if signal == Signal::STOP {
            b.signal(Signal::CONT);
            agree(&[&a, &c], &ALL).await;
            publish_at_last(&mut publisher, &channel, json!("back")).await;
        }
        let last = if signal == Signal::STOP { json!("back") } else { json!("moved") };
        for (member, all) in members.iter_mut().zip(&mut orders) {
            all.extend(received(member, &last).await);
            check(all);
            assert!(all.iter().all(|(.., data)| data != "lost"), "{all:?}");
        }
        assert_eq!(orders[0], orders[1]);
        assert_eq!(orders[0].len(), if signal == Signal::STOP { 12 } else { 11 });
        let first = format!("{}-{}", orders[0][0].0, orders[0][0].1);
        let page = members[0].ok("#history", json!({ "channel": channel, "after": first })).await;
        assert_eq!(page["complete"], false, "the client learns that messages may be missing");
    }
}

#[tokio::test]
async fn what_a_home_that_was_frozen_acknowledges_reaches_everybody() {
    let Some(nats) = Nats::start().await else { return };
    let (a, c) = (node(&nats, "a-1").await, node(&nats, "c-1").await);
    let (_project, b) = process(&nats.url(), "b-1").await;
    agree(&[&a, &c], &ALL).await;
    let channel = channel("history", &[("b-1", &ALL), ("c-1", &["a-1", "c-1"])]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&c, 2, &channel).await];
    let mut own = Client::at(b.http, 2).await;
    own.publish(&channel, json!("first")).await;
    for member in &mut members {
        assert_eq!(member.data(1).await, [json!("first")]);
    }
    b.freeze().await;
    // What waits in a socket of the home comes before all that other nodes say.
    let request = |data: &Value| json!({ "channel": channel, "data": data });
    let mut sent = Vec::new();
    for number in 0..20 {
        sent.push((own.send("#publish", request(&json!(number))).await, json!(number)));
    }
    agree(&[&a, &c], &["a-1", "c-1"]).await;
    members[0].publish(&channel, json!("moved")).await;
    b.signal(Signal::CONT);
    let mut expected = vec![json!("moved")];
    for number in 100.. {
        sent.push((own.send("#publish", request(&json!(number))).await, json!(number)));
        for (id, data) in sent.drain(..) {
            match own.answer(id).await["error"].to_string() {
                error if error == "null" => expected.push(data),
                error => assert!(error.contains("unavailable"), "{error}"),
            }
        }
        if expected.len() > 20 {
            break;
        }
    }
    for member in &mut members {
        let all = received(member, &expected[expected.len() - 1]).await;
        check(&all);
        assert_eq!(data_of(all), expected);
    }
    assert!(expected.iter().all(|data| data.as_u64().is_none_or(|number| number >= 100)), "{expected:?}");
}

#[tokio::test]
async fn what_a_node_misses_while_it_is_cut_off_it_gets_from_the_home() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let far = settings("a-1", "node", &format!("nats://{}", cable.address));
    let (a, b) = (with(far).start().await, node(&nats, "b-1").await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("history", &[("b-1", &["a-1", "b-1"])]);
    let mut member = Client::subscribed(&a, 2, &channel).await;
    let mut publisher = Client::open(&b, 2).await;
    publisher.publish(&channel, json!(0)).await;
    for round in 1..=2 {
        cable.pull();
        agree(&[&b], &["b-1"]).await;
        // More than one page.
        for number in 0..30 {
            publisher.publish(&channel, json!(round * 100 + number)).await;
        }
        cable.plug_in();
        agree(&[&a, &b], &["a-1", "b-1"]).await;
        let all = received(&mut member, &json!(round * 100 + 29)).await;
        check(&all);
        assert_eq!(all.len(), if round == 1 { 31 } else { 30 }, "{all:?}");
        publisher.publish(&channel, json!(round * 1_000)).await;
        assert_eq!(member.data(1).await, [json!(round * 1_000)]);
    }
    assert_eq!(a.metric("fanfare_channel_gaps_total", &[]).await, 0.0);
}

#[tokio::test]
async fn a_node_that_was_cut_off_serves_its_own_clients_and_all_agree_again_afterwards() {
    let Some(nats) = Nats::start().await else { return };
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let far = settings("b-1", "node", &format!("nats://{}", cable.address));
    let (a, b) = (node(&nats, "a-1").await, with(far).start().await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("history", &[("b-1", &["a-1", "b-1"])]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
    let mut publishers = [Client::open(&a, 2).await, Client::open(&b, 2).await];
    publishers[0].publish(&channel, json!("both")).await;
    cable.pull();
    agree(&[&a], &["a-1"]).await;
    publish_at_last(&mut publishers[0], &channel, json!("a alone")).await;
    publish_at_last(&mut publishers[1], &channel, json!("b alone")).await;
    cable.plug_in();
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publish_at_last(&mut publishers[0], &channel, json!("again")).await;
    publish_at_last(&mut publishers[1], &channel, json!("last")).await;
    let data = |all: &[(String, u64, Value)]| -> Vec<Value> { all.iter().map(|(.., data)| data.clone()).collect() };
    let (on_a, on_b) =
        (received(&mut members[0], &json!("last")).await, received(&mut members[1], &json!("last")).await);
    check(&on_a);
    check(&on_b);
    assert_eq!(data(&on_a), [json!("both"), json!("a alone"), json!("again"), json!("last")]);
    assert_eq!(data(&on_b), [json!("both"), json!("b alone"), json!("again"), json!("last")]);
    assert_eq!(on_a[2..], on_b[2..], "one epoch, the same numbers");
    assert_ne!(on_b[1].0, on_b[2].0, "the home has been away: its channels begin anew");
}

/// Its questions to other nodes get no answer.
#[tokio::test]
async fn a_node_that_has_just_started_is_no_home_before_it_has_met_the_others() {
    let Some(nats) = Nats::start().await else { return };
    let a = node(&nats, "a-1").await;
    let channel = channel("history", &[("a-1", &["a-1", "b-1"])]);
    let (mut member, mut publisher) = (Client::subscribed(&a, 2, &channel).await, Client::open(&a, 2).await);
    publish_at_last(&mut publisher, &channel, json!("first")).await;
    let cable = Cable::losing(nats.address(), "fanfare.info.").await;
    let mut far = settings("b-1", "node", &format!("nats://{}", cable.address));
    far["cluster"]["timeout"] = json!("5s");
    let b = with(far).start().await;
    let mut own = Client::open(&b, 2).await;
    eventually("it is connected", || async { b.metric("fanfare_cluster_sure", &[]).await == 0.0 }).await;
    let answer = own.ask("#publish", json!({ "channel": channel, "data": "early" })).await;
    assert!(answer["error"].to_string().contains("unavailable"), "{answer}");
    publish_at_last(&mut publisher, &channel, json!("second")).await;
    let all = received(&mut member, &json!("second")).await;
    assert_eq!((&all[0].0, all[0].1 + 1), (&all[1].0, all[1].1), "the channel has not moved");
    assert_eq!(data_of(all), [json!("first"), json!("second")]);
}

/// Each question to `b-1` takes longer than the time in which a node counts as gone.
#[tokio::test]
async fn a_home_that_was_cut_off_accepts_messages_again_although_others_answer_late() {
    let Some(nats) = Nats::start().await else { return };
    let (near, far) = (Duration::ZERO, Duration::from_millis(350));
    let mut cables = Vec::new();
    let mut hosts = Vec::new();
    for (id, delay) in [("a-1", near), ("b-1", far)] {
        let cable = Cable::to(nats.address(), delay).await;
        let mut config = settings(id, "node", &format!("nats://{}", cable.address));
        config["cluster"]["timeout"] = json!("5s");
        hosts.push(with(config).start().await);
        cables.push(cable);
    }
    let ids = ["a-1", "b-1"];
    agree(&[&hosts[0], &hosts[1]], &ids).await;
    let channel = channel("history", &[("a-1", &ids)]);
    let mut member = Client::subscribed(&hosts[1], 2, &channel).await;
    let mut publisher = Client::open(&hosts[0], 2).await;
    publish_at_last(&mut publisher, &channel, json!("before")).await;
    cables[0].pull();
    agree(&[&hosts[1]], &["b-1"]).await;
    is_alone(&hosts[0]).await;
    cables[0].plug_in();
    agree(&[&hosts[0], &hosts[1]], &ids).await;
    publish_at_last(&mut publisher, &channel, json!("again")).await;
    assert_eq!(data_of(received(&mut member, &json!("again")).await), [json!("before"), json!("again")]);
}

#[tokio::test]
async fn without_nats_each_node_serves_its_clients_and_the_channel_has_one_order_afterwards() {
    let Some(mut nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    // Whichever nodes meet first, their home has not begun its epoch last.
    let channel = channel("history", &[("b-1", &ALL), ("a-1", &["a-1", "c-1"])]);
    let mut members = Vec::new();
    for host in &hosts {
        members.push(Client::subscribed(host, 2, &channel).await);
    }
    members[0].publish(&channel, json!("first")).await;
    for member in &mut members {
        assert_eq!(member.data(1).await, [json!("first")]);
    }
    nats.kill();
    for (host, id) in hosts.iter().zip(ALL) {
        is_alone(host).await;
        let mut publisher = Client::open(host, 2).await;
        publish_at_last(&mut publisher, &channel, json!(id)).await;
    }
    nats.run().await;
    agree(&[&hosts[0], &hosts[1], &hosts[2]], &ALL).await;
    publish_at_last(&mut members[2], &channel, json!("last")).await;
    for (member, id) in members.iter_mut().zip(ALL) {
        let all = received(member, &json!("last")).await;
        check(&all);
        assert_eq!(data_of(all), [json!(id), json!("last")]);
    }
}

/// Waits until a node has noticed that it is alone.
async fn is_alone(host: &Started) {
    eventually("the node is alone", || async {
        let status = host.admin("GET", "/v1/nodes", "").await.json();
        status["state"] == "down" && status["nodes"].as_array().unwrap().len() == 1
    })
    .await;
}

fn data_of(all: Vec<(String, u64, Value)>) -> Vec<Value> {
    all.into_iter().map(|(.., data)| data).collect()
}

/// `c-1` begins its epoch last, and `b-1` returns last.
#[tokio::test]
async fn what_one_side_has_published_reaches_others_if_its_home_has_the_latest_epoch() {
    for (home, seen) in [("c-1", "c-1 "), ("a-1", "")] {
        let Some(nats) = Nats::start().await else { return };
        let (mut hosts, mut cables) = (Vec::new(), Vec::new());
        for id in ALL {
            let cable = Cable::to(nats.address(), Duration::ZERO).await;
            hosts.push(with(settings(id, "node", &format!("nats://{}", cable.address))).start().await);
            cables.push(cable);
        }
        agree(&[&hosts[0], &hosts[1], &hosts[2]], &ALL).await;
        let channel = channel("history", &[("b-1", &ALL), (home, &["a-1", "c-1"])]);
        let mut members = Vec::new();
        for host in &hosts {
            members.push(Client::subscribed(host, 2, &channel).await);
        }
        members[0].publish(&channel, json!("first")).await;
        cables.iter().for_each(Cable::pull);
        for (host, id) in hosts.iter().zip(ALL) {
            is_alone(host).await;
            let mut publisher = Client::open(host, 2).await;
            publish_at_last(&mut publisher, &channel, json!(id)).await;
        }
        for index in [0, 2] {
            cables[index].plug_in();
        }
        agree(&[&hosts[0], &hosts[2]], &["a-1", "c-1"]).await;
        publish_at_last(&mut members[0], &channel, json!("two")).await;
        cables[1].plug_in();
        agree(&[&hosts[0], &hosts[1], &hosts[2]], &ALL).await;
        publish_at_last(&mut members[1], &channel, json!("last")).await;
        let expected = [format!("first a-1 {seen}two last"), "first b-1 last".into(), "first c-1 two last".into()];
        for (member, expected) in members.iter_mut().zip(expected) {
            let all = received(member, &json!("last")).await;
            check(&all);
            let expected: Vec<Value> = expected.split(' ').map(Value::from).collect();
            assert_eq!(data_of(all), expected, "the home of a-1 and c-1 is {home}");
        }
    }
}
