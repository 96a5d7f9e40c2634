//! The replacement of an instance whose memory is almost full goes unnoticed: of StarlingMonkey,
//! which loses memory with every call, and of a module with streams and channels.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinSet;

use super::STARLINGMONKEY;
use super::sdk::{calls_of, rust};
use crate::channels::Client;
use crate::harness::{Connection, EventStream, Started, TestHost, WebSocket};

/// The calls that are in flight at once.
const AT_ONCE: usize = 64;

/// Calls a route with an empty body until `stop`. The number of answers is the result of each
/// client.
fn clients(host: &Started, path: &str, status: u16, stop: &Arc<AtomicBool>) -> JoinSet<u64> {
    let mut clients = JoinSet::new();
    for _ in 0..AT_ONCE {
        let (http, path, stop) = (host.http, path.to_owned(), stop.clone());
        clients.spawn(async move {
            let (mut client, mut answered) = (Connection::open(http).await, 0);
            while !stop.load(Ordering::Acquire) {
                let answer = client.send("POST", &path, &[], "").await;
                assert_eq!(answer.status, status, "{}", answer.text());
                answered += 1;
            }
            answered
        });
    }
    clients
}

async fn replaced(host: &Started, module: &str) -> u64 {
    let labels = [&*format!("module=\"{module}\""), "isolate=\"worker-0\"", "reason=\"memory\""];
    host.metric("fanfare_replacements_total", &labels).await as u64
}

/// It has no SDK and no `snapshot`.
#[tokio::test]
async fn an_instance_of_starlingmonkey_is_replaced_before_its_memory_is_full() {
    let change = |host: TestHost| host.limit(STARLINGMONKEY.name, "memory", "16MiB");
    let Some(host) = STARLINGMONKEY.start_with(change).await else { return };
    let stop = Arc::default();
    let mut clients = clients(&host, &STARLINGMONKEY.path("echo"), 204, &stop);
    while replaced(&host, STARLINGMONKEY.name).await == 0 {
        assert!(clients.try_join_next().is_none(), "a client ends only when a call fails");
        assert_eq!(host.post(&STARLINGMONKEY.path("echo"), "grüße").await.text(), "grüße");
    }
    stop.store(true, Ordering::Release);
    let answered: u64 = clients.join_all().await.into_iter().sum();
    assert!(answered > 0);
    let slot = host.slot(STARLINGMONKEY.name, 0).await;
    assert_eq!((&slot["restarts"], &slot["replaced"]), (&json!(0), &json!(1)), "{slot}");
    assert!(host.log.contains(&["replacing an instance", "its state is lost", "module=starlingmonkey"]));
}

const KEY: &str = "conformance";
const ROOM: &str = "conformance/room";

/// How often the instance is replaced, by bodies of which each is this much larger than the one
/// before.
const TIMES: u64 = 2;
const STEP: usize = 32 << 10;

/// The last event of the stream, and the last message of the channel.
const LAST: &str = "end";

/// Lets the module publish an event, which reaches the reader.
async fn publish(caller: &mut Connection, data: &str) {
    let event = json!({ "key": KEY, "data": data }).to_string();
    let answer = caller.send("POST", "/api/conformance/publish", &[], event).await;
    assert_eq!((answer.status, &answer.json()["reached"]), (200, &json!(1)), "{}", answer.text());
}

/// A module publishes to a stream, a client publishes to a channel whose route the module runs, and
/// another client has a session.
#[tokio::test]
async fn streams_and_channels_lose_nothing_when_the_instance_of_their_module_is_replaced() {
    let listeners = json!([{ "path": "/socketcluster/", "module": "conformance" }]);
    let change = |host: TestHost| {
        host.manifest_text("conformance", |text| {
            // Clients of SocketCluster have no `?as=` that it asks for.
            let without = text.replace(", \"upgrade\": { \"path\": \"inner/upgrade\" }", "");
            assert_ne!(without, text);
            without
        })
        .config(json!({ "http": { "maxBody": "4MiB" }, "websocket": { "listeners": listeners } }))
        .limit("conformance", "memory", "4MiB")
        .limit("conformance", "payload", "4MiB")
    };
    let Some(host) = rust::SDK.start(change).await else { return };
    let mut stream = EventStream::open(host.http, &format!("/stream?connectKey={KEY}")).await;
    let reader = tokio::spawn(async move {
        let mut events = Vec::new();
        while events.last().is_none_or(|last| last != LAST) {
            events.push(stream.data().await);
        }
        events
    });
    let mut client = WebSocket::open(host.http, "/api/conformance/room/7?as=ada").await;
    assert_eq!(client.ask(json!({ "do": "values" })).await, json!({ "note": "first" }));
    client.json().await;
    let mut member = Client::subscribed(&host, 2, ROOM).await;

    let stop = Arc::new(AtomicBool::new(false));
    let publisher = tokio::spawn({
        let (http, stop) = (host.http, stop.clone());
        async move {
            let (mut caller, mut count) = (Connection::open(http).await, 0_u64);
            while !stop.load(Ordering::Acquire) {
                publish(&mut caller, &count.to_string()).await;
                count += 1;
            }
            count
        }
    });
    let speaker = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut count = 0_u64;
            while !stop.load(Ordering::Acquire) {
                member.publish(ROOM, json!(format!("message {count}"))).await;
                count += 1;
            }
            (member, count)
        }
    });
    let mut caller = Connection::open(host.http).await;
    for time in 0..TIMES {
        // The first calls of an instance may fill its memory.
        let served = || async { host.ended("conformance", 0, "http", "ok").await };
        let enough = served().await + 300.0;
        while served().await < enough {
            calls_of(&host).await;
        }
        let mut size = 0;
        while replaced(&host, "conformance").await == time {
            size += STEP;
            let answer = caller.send("POST", "/api/conformance/echo", &[], vec![b'x'; size]).await;
            assert!(answer.status < 300 && answer.body.len() == size, "{size} bytes: {}", answer.text());
        }
    }
    stop.store(true, Ordering::Release);
    let published = publisher.await.unwrap();
    let (mut member, said) = speaker.await.unwrap();
    assert!(published > 0 && said > 0, "{published} events, {said} messages");
    publish(&mut caller, LAST).await;
    let expected: Vec<String> = (0..published).map(|number| number.to_string()).chain([LAST.to_owned()]).collect();
    assert_eq!(reader.await.unwrap(), expected);
    member.publish(ROOM, json!(LAST)).await;
    let last = json!(LAST.to_uppercase());
    let mut messages = Vec::new();
    while messages.last() != Some(&last) {
        messages.extend(member.data(1).await);
    }
    let expected = (0..said).map(|number| json!(format!("MESSAGE {number}"))).chain([last]);
    assert_eq!(messages, expected.collect::<Vec<_>>());
    assert_eq!(client.ask(json!({ "do": "group" })).await["bound"], 1, "the session is kept");
    let slot = host.slot("conformance", 0).await;
    assert_eq!((&slot["restarts"], &slot["replaced"]), (&json!(0), &json!(TIMES)), "{slot}");
}
