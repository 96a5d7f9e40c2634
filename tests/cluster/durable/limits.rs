//! The limits of the queue and of the streams.

use std::time::Duration;

use super::*;

/// A node that has lost NATS, with a queue of this size.
async fn alone(queue: Value) -> Option<(Nats, Started)> {
    let mut nats = Nats::start().await?;
    let a = host(&nats.url(), "a-1").config(json!({ "cluster": { "durable": { "queue": queue } } })).start().await;
    reads(&a).await;
    nats.kill();
    is_away(&a).await;
    Some((nats, a))
}

#[tokio::test]
pub async fn the_queue_has_room_for_a_number_of_durable_broadcasts() {
    let Some((mut nats, a)) = alone(json!({ "broadcasts": 2 })).await else { return };
    for text in ["0", "1"] {
        assert_eq!(emit(&a, text).await["accepted"], 2);
    }
    let refused = emit(&a, "2").await;
    assert_eq!(refused["error"], "overloaded", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("cluster.durable.queue.broadcasts"), "{refused}");
    assert_eq!(a.metric("fanfare_durable_refused_total", &[]).await, 1.0);
    nats.run().await;
    all_hear(&a, &numbers(0..2)).await;
    assert_eq!(emit(&a, "2").await["accepted"], 2);
    all_hear(&a, &numbers(0..3)).await;
}

#[tokio::test]
pub async fn the_queue_has_room_for_bytes_of_durable_broadcasts() {
    let Some((_nats, a)) = alone(json!({ "bytes": "4KiB" })).await else { return };
    assert_eq!(emit(&a, &"x".repeat(3_000)).await["accepted"], 2);
    let refused = emit(&a, &"x".repeat(3_000)).await;
    assert_eq!(refused["error"], "overloaded", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains("cluster.durable.queue.bytes"), "{refused}");
}

/// The age and the bytes of the streams, and the age of the consumers.
async fn limits(nats: &Nats) -> [(Duration, i64); 2] {
    let context = jetstream(nats).await;
    let mut found = Vec::new();
    for name in ["fanfare_broadcasts", "fanfare_parked"] {
        let stream = context.get_stream(name).await.unwrap();
        let config = &stream.cached_info().config;
        assert_eq!(config.duplicate_window, Duration::from_secs(600).min(config.max_age));
        found.push((config.max_age, config.max_bytes));
    }
    found.try_into().unwrap()
}

async fn forgotten_after(nats: &Nats) -> Duration {
    use async_nats::jetstream::consumer::pull::Config;
    let context = jetstream(nats).await;
    let consumer = context.get_consumer_from_stream::<Config, _, _>("a-1_durable", "fanfare_broadcasts").await.unwrap();
    consumer.cached_info().config.inactive_threshold
}

#[tokio::test]
pub async fn the_streams_have_the_age_and_the_bytes_of_the_settings() {
    for nats in Nats::all().await {
        let a = start(&nats, "a-1").await;
        let (day, mib) = (Duration::from_secs(86_400), 1_048_576);
        assert_eq!(limits(&nats).await, [(day, 256 * mib), (day * 30, 64 * mib)]);
        // A node that is away for longer has nothing left to read, so nothing is kept about it.
        assert_eq!(forgotten_after(&nats).await, day);
        let dir = a.leave().await;
        let durable = json!({ "maxAge": "2m", "maxBytes": "64KiB", "parkedAge": "1h", "parkedBytes": "128KiB" });
        let a = host(&nats.url(), "a-1").again(dir).config(json!({ "cluster": { "durable": durable } }));
        let a = a.start().await;
        reads(&a).await;
        let minute = Duration::from_secs(60);
        assert_eq!(limits(&nats).await, [(minute * 2, 65_536), (minute * 60, 131_072)]);
        assert_eq!(forgotten_after(&nats).await, minute * 2);
        // Beyond its bytes, the stream drops the oldest.
        for number in 0..10 {
            keep(&a, &format!("{number}{}", "x".repeat(10_000))).await;
        }
        let stream = jetstream(&nats).await.get_stream("fanfare_broadcasts").await.unwrap();
        let state = &stream.cached_info().state;
        assert!(state.bytes <= 65_536 && state.messages < 10 && state.last_sequence == 10, "{state:?}");
    }
}

/// The places that a node says the stream has dropped: the last one that it has run, and the first
/// one that is there.
async fn dropped(host: &Started) -> Vec<(u64, u64)> {
    let events = host.events_named(&["broadcastsDropped"]).await;
    events.iter().map(|event| (event["after"].as_u64().unwrap(), event["before"].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn what_the_stream_drops_before_a_node_has_run_it_is_told() {
    let Some(nats) = Nats::start().await else { return };
    let small = json!({ "cluster": { "durable": { "maxBytes": "64KiB" } } });
    let told = json!({ "path": "hear", "delivery": "durable", "attempts": 100, "backoff": "100ms" });
    let patient = json!({ "broadcasts": { "told": told } });
    let node = |id: &str| host(&nats.url(), id).config(small.clone()).manifest(GUEST, patient.clone());
    let (a, b) = (node("a-1").start().await, node("b-1").start().await);
    for host in [&a, &b] {
        reads(host).await;
        sees(host, &[("a-1", GUEST), ("b-1", GUEST)]).await;
    }
    let text = |number: u32| format!("{number} {}", "x".repeat(10_000));
    // A node that is behind.
    keep(&a, "gate").await;
    for host in [&a, &b] {
        eventually("it waits", || async { durable(host).await["modules"][0]["running"] == 1 }).await;
    }
    for number in 2..=20 {
        keep(&a, &text(number)).await;
    }
    let open = async |host: &Started| {
        for worker in ["worker-0", "worker-1"] {
            host.call(worker, GUEST, "open", "").await;
        }
    };
    for host in [&a, &b] {
        open(host).await;
        eventually("it runs the last one", || async { durable(host).await["modules"][0]["position"] == 20 }).await;
        let first = texts(host, 0).await[1].split(' ').next().unwrap().parse::<u64>().unwrap();
        assert!(first > 2, "the stream has dropped some");
        assert_eq!(dropped(host).await, [(1, first)]);
        assert_eq!(host.metric("fanfare_durable_dropped_total", &[]).await, 1.0);
        assert!(host.log.contains(&["the stream has dropped durable broadcasts", "after=1"]));
    }
    // A node that is away.
    let dir = b.leave().await;
    for number in 21..=40 {
        keep(&a, &text(number)).await;
    }
    let b = node("b-1").again(dir).start().await;
    reads(&b).await;
    eventually("it runs the last one", || async { durable(&b).await["modules"][0]["position"] == 40 }).await;
    let first = texts(&b, 0).await[0].split(' ').next().unwrap().parse::<u64>().unwrap();
    assert!(first > 21);
    assert_eq!(dropped(&b).await, [(20, first)]);
    assert_eq!(dropped(&a).await.len(), 1, "a has run them all");
    // Nothing is told when a node is away and nothing is dropped.
    let dir = b.leave().await;
    keep(&a, "last").await;
    let b = node("b-1").again(dir).start().await;
    eventually("it runs the last one", || async { durable(&b).await["modules"][0]["position"] == 41 }).await;
    assert_eq!(dropped(&b).await, []);
}

#[tokio::test]
pub async fn the_largest_durable_broadcast_can_be_parked_and_replayed() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    // The reason has the text, too.
    let text = |bytes: usize| format!("gate {}{}", "\"".repeat(5_000), "x".repeat(bytes - 5_005));
    let refused = keep(&a, &text(1_100_000)).await["message"].as_str().unwrap().to_owned();
    let numbers = refused.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse::<usize>().ok());
    let [bytes, allowed] = numbers.take(2).collect::<Vec<_>>().try_into().unwrap_or_else(|_| panic!("{refused}"));
    let largest = 1_100_000 - (bytes - allowed);
    assert_eq!(keep(&a, &text(largest + 1)).await["error"], "invalid");
    assert!(keep(&a, &text(largest)).await["seq"].is_u64());
    eventually("it is parked", || async { parked::parked(&a, GUEST).await.len() == 1 }).await;
    for worker in ["worker-0", "worker-1"] {
        a.call(worker, GUEST, "open", "").await;
    }
    let replayed = parked::replay(&a, "id=1").await;
    assert_eq!(replayed["replayed"], json!([{ "id": 1, "position": 2 }]), "{replayed}");
    all_hear(&a, &[text(largest)]).await;
}
