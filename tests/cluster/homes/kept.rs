//! Channels whose history the cluster keeps: `"history": { "keep": "cluster" }`.

mod each;
mod faults;
pub mod limits;

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::faults::received;
use super::{GUEST, agree, channel, place, with};
use crate::channels::{Client, PATHS};
use crate::cli::project::{Project, Serving};
use crate::cluster::cable::Cable;
use crate::harness::{Nats, Started, TestHost, eventually, node as settings, source_of};

const ALL: [&str; 3] = ["a-1", "b-1", "c-1"];

/// What the module declares in these tests.
fn channels() -> Value {
    let history = |count: u32| json!({ "count": count, "age": "10m", "bytes": "64KiB", "keep": "cluster" });
    json!({
        "channels/lasting/*": { "history": history(100) },
        "channels/few/*": { "history": history(3) },
        "channels/told/*": { "path": "decide", "on": ["publish", "deliver"], "history": history(100) },
        "channels/asked/*": { "path": "decide", "on": ["publish"], "history": history(100) },
    })
}

/// A node with these settings.
pub fn host(config: Value) -> TestHost {
    with(config).manifest(GUEST, json!({ "channels": channels() }))
}

async fn node(nats: &Nats, id: &str) -> Started {
    host(nats.node(id, "node")).start().await
}

async fn three(nats: &Nats) -> [Started; 3] {
    let all = [node(nats, "a-1").await, node(nats, "b-1").await, node(nats, "c-1").await];
    agree(&[&all[0], &all[1], &all[2]], &ALL).await;
    all
}

/// A node in a process of its own.
async fn process(nats: &str, id: &str) -> (Project, Serving) {
    let listeners = json!([{ "path": PATHS[1], "module": GUEST }]);
    let manifest = fs::read_to_string(source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["channels"].as_object_mut().unwrap().extend(channels().as_object().unwrap().clone());
    let project = Project::with(&[GUEST])
        .file(&format!("modules/{GUEST}/module.json"), manifest.to_string())
        .config(settings(id, "node", nats))
        .config(json!({
            "workers": 1,
            "websocket": { "listeners": listeners },
            "modules": { GUEST: { "grants": { "sessions": true, "channels": ["lobby/*"] } } },
        }));
    let serving = project.serve(&[]).await;
    (project, serving)
}

/// Checks that messages have one epoch, and the numbers from `first` on without a gap or a double.
fn check(all: &[(String, u64, Value)], first: u64) {
    let expected: Vec<u64> = (first..).take(all.len()).collect();
    assert_eq!(all.iter().map(|(_, number, _)| *number).collect::<Vec<_>>(), expected, "{all:?}");
    assert!(all.iter().all(|(epoch, ..)| *epoch == all[0].0), "one epoch: {all:?}");
}

fn data(all: &[(String, u64, Value)]) -> Vec<Value> {
    all.iter().map(|(.., data)| data.clone()).collect()
}

fn position((epoch, number, _): &(String, u64, Value)) -> String {
    format!("{epoch}-{number}")
}

/// The messages after a position, and whether they are complete. A channel that moves is asked
/// again.
async fn history(client: &mut Client, channel: &str, after: &str) -> (Vec<Value>, bool) {
    let mut attempts = 0;
    loop {
        let answer = client.ask("#history", json!({ "channel": channel, "after": after })).await;
        if answer["error"].is_null() {
            let page = &answer["data"];
            let messages = page["messages"].as_array().unwrap().iter().map(|one| one["data"].clone()).collect();
            return (messages, page["complete"] == true);
        }
        attempts += 1;
        assert!(attempts < 2_000, "{answer}");
        tokio::task::yield_now().await;
    }
}

/// Publishes until the channel accepts it.
pub async fn publish(client: &mut Client, channel: &str, data: impl Into<Value>) {
    let (data, until) = (data.into(), Instant::now() + Duration::from_secs(20));
    loop {
        let error = try_publish(client, channel, data.clone()).await;
        if error.is_null() {
            return;
        }
        assert!(Instant::now() < until, "{error}");
        tokio::task::yield_now().await;
    }
}

/// Publishes once. Returns the error, or null.
async fn try_publish(client: &mut Client, channel: &str, data: Value) -> Value {
    client.ask("#publish", json!({ "channel": channel, "data": data })).await["error"].clone()
}

#[tokio::test]
async fn a_kept_channel_has_a_position_on_every_node_before_its_first_message() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("lasting", &[("c-1", &ALL)]);
    for host in &hosts {
        let mut client = Client::subscribed(host, 2, &channel).await;
        let page = client.ok("#history", json!({ "channel": channel })).await;
        assert!(page["position"].as_str().is_some_and(|position| position.ends_with("-0")), "{page}");
        assert_eq!(page["complete"], true);
    }
}

#[tokio::test]
async fn a_channel_has_one_order_on_all_nodes_and_the_stream_has_its_messages() {
    for nats in Nats::all().await {
        let hosts = three(&nats).await;
        for prefix in ["lasting", "asked"] {
            let channel = channel(prefix, &[("b-1", &ALL)]);
            let mut members = Vec::new();
            for host in &hosts {
                members.push(Client::subscribed(host, 2, &channel).await);
                members.push(Client::subscribed(host, 1, &channel).await);
            }
            let mut bursts = Vec::new();
            for (host, name) in hosts.iter().zip(ALL) {
                let (mut client, channel) = (Client::open(host, 2).await, channel.clone());
                bursts.push(tokio::spawn(async move {
                    let mut sent = Vec::new();
                    for number in 0..20 {
                        let data = json!({ "by": name, "n": number });
                        sent.push(client.send("#publish", json!({ "channel": channel, "data": data })).await);
                    }
                    for number in sent {
                        let answer = client.answer(number).await;
                        assert!(answer["error"].is_null(), "{answer}");
                    }
                }));
            }
            for burst in bursts {
                burst.await.unwrap();
            }
            let mut orders = Vec::new();
            for member in &mut members {
                let mut order = Vec::new();
                for _ in 0..60 {
                    let message = member.message().await;
                    let (epoch, number) = place(&message);
                    order.push((epoch, number, message["data"].clone()));
                }
                assert!(member.has_nothing().await, "each message once");
                check(&order, 1);
                orders.push(order);
            }
            assert!(orders.iter().all(|order| *order == orders[0]), "{prefix}");
            for name in ALL {
                let of = orders[0].iter().filter(|(.., data)| data["by"] == name);
                let numbers: Vec<i64> = of.map(|(.., data)| data["n"].as_i64().unwrap()).collect();
                assert_eq!(numbers, (0..20).collect::<Vec<_>>(), "the order of the publisher");
            }
            for host in &hosts {
                let mut client = Client::subscribed(host, 2, &channel).await;
                let page = history(&mut client, &channel, &position(&orders[0][9])).await;
                assert_eq!(page, (data(&orders[0][10..]), true));
            }
        }
        assert_eq!(hosts[1].metric("fanfare_histories_written_total", &[]).await, 120.0);
        assert_eq!(hosts[0].metric("fanfare_histories_written_total", &[]).await, 0.0, "only the home writes");
        assert_eq!(hosts[1].metric("fanfare_histories_overtaken_total", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn positions_survive_nodes_that_join_stop_and_restart_and_a_stop_of_all() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let channel = channel("lasting", &[("b-1", &["a-1", "b-1"]), ("c-1", &ALL)]);
    let mut members = [Client::subscribed(&a, 2, &channel).await, Client::subscribed(&b, 2, &channel).await];
    let mut publisher = Client::open(&a, 2).await;
    publish(&mut publisher, &channel, 1).await;
    // A node joins, and becomes the home.
    let c = node(&nats, "c-1").await;
    agree(&[&a, &b, &c], &ALL).await;
    publish(&mut publisher, &channel, 2).await;
    assert_eq!(c.metric("fanfare_histories_written_total", &[]).await, 1.0, "it is the home");
    // It stops in order.
    let dir = c.leave().await;
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    publish(&mut publisher, &channel, 3).await;
    let mut all = Vec::new();
    for member in &mut members {
        all = received(member, &json!(3)).await;
        check(&all, 1);
        assert_eq!(data(&all), [1, 2, 3]);
        assert_eq!(history(member, &channel, &position(&all[0])).await, (vec![json!(2), json!(3)], true));
    }
    drop((members, publisher));
    // One node after another restarts.
    let c = host(nats.node("c-1", "node")).again(dir).start().await;
    agree(&[&a, &b, &c], &ALL).await;
    let mut dirs = Vec::new();
    let mut hosts = vec![a, b, c];
    for (number, id) in (4..).zip(ALL) {
        let dir = hosts.remove(0).leave().await;
        hosts.push(host(nats.node(id, "node")).again(dir).start().await);
        agree(&hosts.iter().collect::<Vec<_>>(), &ALL).await;
        let mut client = Client::subscribed(&hosts[0], 2, &channel).await;
        publish(&mut client, &channel, number).await;
        let message = client.message().await;
        assert_eq!(place(&message), (all[0].0.clone(), number), "{message}");
    }
    // All nodes stop, and only then start again.
    for host in hosts {
        dirs.push(host.leave().await);
    }
    let mut hosts = Vec::new();
    for (dir, id) in dirs.into_iter().zip(ALL) {
        hosts.push(host(nats.node(id, "node")).again(dir).start().await);
    }
    agree(&hosts.iter().collect::<Vec<_>>(), &ALL).await;
    for host in &hosts {
        let mut client = Client::subscribed(host, 2, &channel).await;
        let page = history(&mut client, &channel, &position(&all[0])).await;
        assert_eq!(page, ((2..7).map(Value::from).collect(), true));
    }
    let mut client = Client::subscribed(&hosts[0], 2, &channel).await;
    publish(&mut client, &channel, 7).await;
    assert_eq!(place(&client.message().await), (all[0].0.clone(), 7));
}

#[tokio::test]
async fn a_client_that_has_missed_more_than_the_history_has_is_told() {
    let Some(nats) = Nats::start().await else { return };
    let hosts = three(&nats).await;
    let channel = channel("few", &[("b-1", &ALL), ("c-1", &["a-1", "c-1"])]);
    let mut client = Client::subscribed(&hosts[0], 2, &channel).await;
    for number in 1..=5 {
        publish(&mut client, &channel, number).await;
    }
    let all = received(&mut client, &json!(5)).await;
    let [a, b, c] = hosts;
    b.stop().await;
    agree(&[&a, &c], &["a-1", "c-1"]).await;
    let kept = vec![json!(3), json!(4), json!(5)];
    assert_eq!(history(&mut client, &channel, &position(&all[1])).await, (kept.clone(), true));
    assert_eq!(history(&mut client, &channel, &position(&all[0])).await, (kept.clone(), false));
    // A position that nobody has given yet, and one of another epoch, change nothing.
    let later = format!("{}-{}", all[0].0, 1_000);
    assert_eq!(history(&mut client, &channel, &later).await, (kept.clone(), false));
    assert_eq!(history(&mut client, &channel, "ffffffffffff-3").await, (kept, false));
    publish(&mut client, &channel, 6).await;
    check(&[all, received(&mut client, &json!(6)).await].concat(), 1);
}

#[tokio::test]
async fn a_new_home_reads_many_records_at_once() {
    let Some(nats) = Nats::start().await else { return };
    // A round trip takes 100 ms, and `cluster.timeout` is a second.
    let cable = Cable::to(nats.address(), Duration::from_millis(50)).await;
    let far = settings("b-1", "node", &format!("nats://{}", cable.address));
    let a = node(&nats, "a-1").await;
    let channel = channel("lasting", &[("b-1", &["a-1", "b-1"])]);
    let mut client = Client::subscribed(&a, 2, &channel).await;
    for number in 1..=110 {
        publish(&mut client, &channel, number).await;
    }
    let first = position(&received(&mut client, &json!(110)).await[9]);
    let b = host(far).start().await;
    agree(&[&a, &b], &["a-1", "b-1"]).await;
    let mut client = Client::open(&b, 2).await;
    let begun = Instant::now();
    let subscribed = client.ok("#subscribe", json!({ "channel": channel })).await;
    assert!(subscribed.is_null(), "{subscribed}");
    assert_eq!(history(&mut client, &channel, &first).await, ((11..=110).map(Value::from).collect(), true));
    assert!(begun.elapsed() < Duration::from_secs(4), "16 records at a time: {:?}", begun.elapsed());
}
