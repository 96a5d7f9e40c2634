//! Live streams across nodes.

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::{Client, Message};
use futures_util::StreamExt;
use serde_json::{Value, json};

use super::cable::Cable;
use crate::harness::{EventStream, Nats, Started, TestHost, eventually};
use crate::redis::GUEST;

/// What the last numbers of a node say if it knows of no loss.
const ROUTINE: &[u8] = br#""routine":true"#;

/// A node with the module `streams`, which may publish to all keys, and nothing else.
pub fn streams(nats: &Nats, id: &str) -> TestHost {
    TestHost::with("streams")
        .manifest("streams", json!({ "capabilities": { "sse": ["*"] } }))
        .grant("streams", json!({ "sse": ["*"] }))
        .config(nats.node(id, "node"))
}

/// Waits until a node is connected to NATS, or is not.
pub async fn until_state(host: &Started, state: &str) {
    eventually(state, || async { host.admin("GET", "/v1/nodes", "").await.json()["state"] == state }).await;
}

async fn node(nats: &Nats, id: &str) -> Started {
    let host = streams(nats, id).start().await;
    until_state(&host, "up").await;
    host
}

/// Calls a route of the module, and returns the number that it replies.
async fn ask(host: &Started, route: &str, body: Value) -> u64 {
    let answer = host.post(&format!("/api/streams/{route}"), body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json().as_u64().unwrap()
}

async fn publish(host: &Started, key: &str, data: &str) -> u64 {
    ask(host, "publish", json!({ "key": key, "data": data })).await
}

fn path(key: &str) -> String {
    format!("/stream?connectKey={key}")
}

async fn open(host: &Started, key: &str) -> EventStream {
    EventStream::open(host.http, &path(key)).await
}

/// The data of the next events of a stream.
async fn take(stream: &mut EventStream, count: usize) -> Vec<String> {
    let mut data = Vec::new();
    for _ in 0..count {
        data.push(stream.data().await);
    }
    data
}

fn numbers(count: usize) -> Vec<String> {
    (0..count).map(|number| number.to_string()).collect()
}

/// What passes NATS about the topics of a kind.
pub async fn tap(client: &Client, kind: &str) -> async_nats::Subscriber {
    let mut tap = client.subscribe(format!("fanfare.{kind}.>")).await.unwrap();
    // The server has the subscription when this arrives.
    assert!(passed(client, &mut tap, kind).await.is_empty());
    tap
}

/// The subjects of what has passed so far.
pub async fn passed(client: &Client, tap: &mut async_nats::Subscriber, kind: &str) -> Vec<String> {
    client.publish(format!("fanfare.{kind}.end"), "end".into()).await.unwrap();
    let mut subjects = Vec::new();
    loop {
        let message = next(tap).await;
        if message.payload == "end" {
            return subjects;
        }
        subjects.push(message.subject.to_string());
    }
}

/// The next message that passes, except for those in which a node repeats its last numbers.
async fn next(tap: &mut async_nats::Subscriber) -> Message {
    loop {
        let message = tap.next().await.unwrap();
        if !message.payload.windows(ROUTINE.len()).any(|part| part == ROUTINE) {
            return message;
        }
    }
}

#[tokio::test]
async fn an_event_crosses_nats_once_and_reaches_every_reader_of_every_node_once_in_order() {
    for nats in Nats::all().await {
        let (a, b, c) = (node(&nats, "a-1").await, node(&nats, "b-1").await, node(&nats, "c-1").await);
        let client = nats.client().await;
        let mut tap = tap(&client, "stream").await;
        let mut readers = vec![open(&a, "streams/x").await];
        for _ in 0..6 {
            readers.push(open(&b, "streams/x").await);
        }
        let burst = json!({ "key": "streams/x", "count": 200 });
        assert_eq!(ask(&a, "burst", burst).await, 1, "the readers of its own node");
        assert_eq!(publish(&b, "streams/x", "last").await, 6);
        for reader in &mut readers {
            let mut got = take(reader, 201).await;
            got.retain(|data| data != "last");
            assert_eq!(got, numbers(200));
        }
        let subjects = passed(&client, &mut tap, "stream").await;
        assert_eq!(subjects.len(), 201, "once each, however many readers there are");
        assert_eq!(subjects.iter().collect::<BTreeSet<_>>().len(), 1, "{subjects:?}");
        assert_eq!(b.metric("fanfare_cluster_topics_received_total", &[]).await, 200.0);
        assert_eq!(a.metric("fanfare_cluster_topics_received_total", &[]).await, 1.0);
        assert_eq!(c.metric("fanfare_cluster_topics_received_total", &[]).await, 0.0, "no readers");
        // Only what has the reach `everywhere` crosses.
        ask(&a, "publish", json!({ "key": "streams/x", "data": "here", "reach": "this-node" })).await;
        publish(&a, "streams/x", "everywhere").await;
        assert_eq!((readers[0].data().await, readers[6].data().await), ("here".into(), "everywhere".into()));
    }
}

#[tokio::test]
async fn however_many_keys_there_are_the_subjects_are_few() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    let client = nats.client().await;
    let mut tap = tap(&client, "stream").await;
    let mut reader = open(&b, "streams/7").await;
    for number in 0..1_000 {
        a.running().publish(&format!("streams/{number}"), number.to_string()).unwrap();
    }
    a.running().publish("streams/7", "end").unwrap();
    assert_eq!(take(&mut reader, 2).await, ["7", "end"]);
    let subjects = passed(&client, &mut tap, "stream").await;
    let different: BTreeSet<&String> = subjects.iter().collect();
    assert_eq!((subjects.len(), different.len()), (1_001, 64));
    let received = b.metric("fanfare_cluster_topics_received_total", &[]).await;
    assert!((1.0..60.0).contains(&received), "only the bucket with the key of the reader: {received}");
}

#[tokio::test]
async fn what_is_about_all_keys_has_its_place_among_the_others() {
    let Some(nats) = Nats::start().await else { return };
    // What has arrived during a pause waits in the queues of all subscriptions at once.
    let cable = Cable::to(nats.address(), Duration::ZERO).await;
    let far = json!({ "cluster": { "nats": format!("nats://{}", cable.address), "goneAfter": "5s" } });
    let (a, b) = (node(&nats, "a-1").await, streams(&nats, "b-1").config(far).start().await);
    until_state(&b, "up").await;
    let keys = ["streams/a", "streams/b", "streams/c"];
    let mut readers = Vec::new();
    for key in keys {
        readers.push(open(&b, key).await);
    }
    let mut expected = vec![Vec::new(); keys.len()];
    cable.pull();
    for number in 0..600usize {
        let data = number.to_string();
        // Runs of several, which queues in turn would mix up.
        let place = number / 5 % 4;
        match keys.get(place) {
            Some(key) => {
                a.running().publish(key, data.as_str()).unwrap();
                expected[place].push(data);
            }
            None => {
                a.running().publish_all(data.as_str()).unwrap();
                expected.iter_mut().for_each(|expected| expected.push(data.clone()));
            }
        }
    }
    a.running().publish("streams/c", "bye").unwrap();
    expected[2].push("bye".to_owned());
    // The streams end after everything that was published before.
    assert_eq!(a.running().close_streams(), 0);
    cable.plug_in();
    for (mut reader, expected) in readers.into_iter().zip(expected) {
        assert_eq!(reader.rest().await, expected);
    }
    let mut again = open(&b, "streams/a").await;
    let mut other = open(&b, "streams/b").await;
    assert_eq!(ask(&a, "close", json!({ "key": "streams/a" })).await, 0);
    assert!(again.rest().await.is_empty());
    publish(&a, "streams/b", "on").await;
    assert_eq!(other.data().await, "on", "only the streams of the key end");
}

#[tokio::test]
async fn a_reader_whose_request_is_answered_misses_nothing() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    for number in 0..40 {
        let key = format!("streams/{number}");
        let mut reader = open(&b, &key).await;
        a.running().publish(&key, "first").unwrap();
        assert_eq!(reader.data().await, "first", "{key}");
    }
}

#[tokio::test]
async fn a_reader_who_returns_gets_what_it_missed_or_is_told() {
    let Some(nats) = Nats::start().await else { return };
    let short = json!({ "sse": { "history": { "age": "4s" } } });
    let (a, b) =
        (streams(&nats, "a-1").config(short.clone()).start().await, streams(&nats, "b-1").config(short).start().await);
    for host in [&a, &b] {
        until_state(host, "up").await;
    }
    let client = nats.client().await;
    let mut reader = open(&b, "streams/x").await;
    let mut first = tap(&client, "stream").await;
    publish(&a, "streams/x", "1").await;
    assert_eq!(reader.data().await, "1");
    let subject = next(&mut first).await.subject;
    drop(first);
    let last = reader.last_id().to_owned();
    drop(reader);
    eventually("it has left", || async { b.running().stream_count(None) == 0 }).await;
    publish(&a, "streams/x", "2").await;
    let mut reader = EventStream::resume(b.http, &path("streams/x"), &last).await;
    assert_eq!(reader.data().await, "2", "the history has what the other node published");
    let last = reader.last_id().to_owned();
    drop(reader);
    // Another node does not know the position.
    let mut elsewhere = EventStream::resume(a.http, &path("streams/x"), &last).await;
    assert_eq!(elsewhere.event().await.unwrap().name(), "reset");
    assert_eq!(take(&mut elsewhere, 2).await, ["1", "2"], "and all that it keeps");
    // After `sse.history.age` nobody is expected any more.
    drop(elsewhere);
    eventually("nobody follows the bucket", || async {
        // A server answers a request whose subject has no subscriber at once.
        let asked = client.request(subject.clone(), "".into());
        let asked = tokio::time::timeout(Duration::from_millis(200), asked).await;
        asked.is_ok_and(|asked| asked.is_err_and(|error| error.kind() == async_nats::RequestErrorKind::NoResponders))
    })
    .await;
    let mut tap = tap(&client, "stream").await;
    publish(&a, "streams/x", "3").await;
    next(&mut tap).await;
    let mut reader = EventStream::resume(b.http, &path("streams/x"), &last).await;
    assert_eq!(reader.event().await.unwrap().name(), "reset", "the history may miss something");
    publish(&a, "streams/x", "4").await;
    assert_eq!(reader.data().await, "4");
}

#[tokio::test]
async fn without_nats_readers_of_the_node_are_served_and_then_told_of_the_gap() {
    let Some(mut nats) = Nats::start().await else { return };
    let (a, b) = (node(&nats, "a-1").await, node(&nats, "b-1").await);
    let (mut at_a, mut at_b) = (open(&a, "streams/x").await, open(&b, "streams/x").await);
    publish(&a, "streams/x", "before").await;
    assert_eq!((at_a.data().await, at_b.data().await), ("before".into(), "before".into()));
    let last = at_b.last_id().to_owned();
    nats.kill();
    for host in [&a, &b] {
        until_state(host, "down").await;
    }
    assert_eq!(publish(&a, "streams/x", "away").await, 1);
    assert_eq!(publish(&b, "streams/x", "too").await, 1);
    assert_eq!((at_a.data().await, at_b.data().await), ("away".into(), "too".into()));
    assert!(a.metric("fanfare_cluster_topics_unsent_total", &[]).await >= 1.0);
    // A reader that comes now is served at once.
    let mut late = open(&a, "streams/y").await;
    publish(&a, "streams/y", "y").await;
    assert_eq!(late.data().await, "y");
    nats.run().await;
    for reader in [&mut at_a, &mut at_b, &mut late] {
        assert_eq!(reader.event().await.unwrap().name(), "reset");
    }
    // Others may tell of the gap, too.
    let until = async |reader: &mut EventStream, wanted: &str| {
        loop {
            let event = reader.event().await.unwrap();
            if event.name() != "reset" {
                return assert_eq!(event.text(), wanted);
            }
        }
    };
    publish(&a, "streams/x", "after").await;
    until(&mut at_b, "after").await;
    publish(&b, "streams/y", "after").await;
    until(&mut late, "after").await;
    // Who was away meanwhile is told as well.
    let mut back = EventStream::resume(b.http, &path("streams/x"), &last).await;
    assert_eq!(back.data().await, "too");
    assert_eq!(back.event().await.unwrap().name(), "reset");
    until(&mut back, "after").await;
}

#[tokio::test]
async fn what_the_queue_has_no_room_for_is_told_to_the_readers_of_other_nodes() {
    let Some(nats) = Nats::start().await else { return };
    let small = json!({ "cluster": { "queue": { "bytes": "64KiB" } } });
    let a = streams(&nats, "a-1").config(small).start().await;
    let b = node(&nats, "b-1").await;
    until_state(&a, "up").await;
    let (mut at_a, mut at_b) = (open(&a, "streams/x").await, open(&b, "streams/x").await);
    publish(&a, "streams/x", "fits").await;
    assert_eq!(publish(&a, "streams/x", &"x".repeat(64 << 10)).await, 1);
    assert_eq!(take(&mut at_a, 2).await[0], "fits");
    assert_eq!(at_b.data().await, "fits");
    assert_eq!(at_b.event().await.unwrap().name(), "reset");
    publish(&a, "streams/x", "next").await;
    assert_eq!(at_b.data().await, "next");
    assert_eq!(a.metric("fanfare_cluster_topics_unsent_total", &[]).await, 1.0);
    assert_eq!(b.metric("fanfare_cluster_topics_missed_total", &[]).await, 1.0);
    assert_eq!(b.metric("fanfare_cluster_topics_gaps_total", &[]).await, 1.0);
}

#[tokio::test]
async fn an_event_that_is_too_large_for_nats_is_refused_whole() {
    let Some(nats) = Nats::start().await else { return };
    let a = node(&nats, "a-1").await;
    let mut reader = open(&a, "streams/x").await;
    let large = "x".repeat(1 << 20);
    let error = a.running().publish("streams/x", large.as_str()).unwrap_err().to_string();
    assert!(error.contains("max_payload of the NATS server allows 1048576"), "{error}");
    let refused = a.post("/api/streams/publish", json!({ "key": "streams/x", "data": large }).to_string()).await;
    assert!(refused.text().contains("max_payload"), "{}", refused.text());
    let local = json!({ "key": "streams/x", "data": large, "reach": "this-node" });
    assert_eq!(ask(&a, "publish", local).await, 1);
    assert_eq!(reader.data().await.len(), large.len(), "and nothing before");
}

#[tokio::test]
async fn a_subscription_feeds_each_reader_once() {
    let Some(nats) = Nats::start().await else { return };
    let subscriptions = json!({
        "each": { "nats": "each.>", "sse": { "key": "shop/each" } },
        "one": { "nats": "one.>", "group": "shop", "sse": { "key": "shop/one" } },
    });
    let receiving = async |id: &str| {
        let host = TestHost::with(GUEST)
            .manifest(GUEST, json!({ "subscriptions": subscriptions, "capabilities": { "sse": ["*"] } }))
            .grant(GUEST, json!({ "subscribe": ["*"], "sse": ["*"] }))
            .config(nats.node(id, "node"));
        let host = host.start().await;
        until_state(&host, "up").await;
        host
    };
    let (a, b) = (receiving("a-1").await, receiving("b-1").await);
    let client = nats.client().await;
    for (subject, key) in [("each.x", "shop/each"), ("one.x", "shop/one")] {
        let (mut at_a, mut at_b) = (open(&a, key).await, open(&b, key).await);
        for number in numbers(20) {
            client.publish(subject, number.into()).await.unwrap();
        }
        for reader in [&mut at_a, &mut at_b] {
            let mut got = take(reader, 20).await;
            got.sort_by_key(|number| number.parse::<u32>().unwrap());
            assert_eq!(got, numbers(20), "{key}");
        }
        // Whatever a node feeds to the readers of the other one arrives before this.
        for host in [&a, &b] {
            host.running().publish(key, "end").unwrap();
        }
        for reader in [&mut at_a, &mut at_b] {
            assert_eq!(take(reader, 2).await, ["end", "end"], "{key}");
        }
    }
}
