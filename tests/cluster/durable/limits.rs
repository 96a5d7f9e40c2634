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
