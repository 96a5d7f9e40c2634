//! Messages of channels and patterns.

use serde_json::json;

use super::{GUEST, connected};
use crate::harness::{EventStream, Redis, eventually};

#[tokio::test]
async fn a_message_of_a_channel_reaches_the_handler_with_its_topic() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({ "news": { "redis": "news", "path": "on" } })).workers(1).start().await;
    redis.until_subscribed("news", 1).await;
    assert_eq!(redis.publish("news", "hello"), 1);
    redis.publish("other", "not for us");
    eventually("the message arrives", || async { !host.messages(0).await.is_empty() }).await;
    assert_eq!(host.messages(0).await, [("news".to_owned(), "hello".to_owned())]);
    let connection = host.connection("default").await;
    assert_eq!(
        (&connection["state"], &connection["topics"], &connection["received"]),
        (&json!("up"), &json!(1), &json!(1))
    );
    assert_eq!(host.metric("fanfare_redis_received_total", &["connection=\"default\""]).await, 1.0);
    assert_eq!(host.metric("fanfare_redis_up", &["connection=\"default\""]).await, 1.0);
}

#[tokio::test]
async fn a_pattern_receives_the_channels_that_it_matches() {
    let Some(redis) = Redis::start().await else { return };
    let host =
        connected(&redis, json!({ "prices": { "redisPattern": "price:*", "path": "on" } })).workers(1).start().await;
    redis.until_patterns(1).await;
    for (channel, text) in [("price:a", "1"), ("prices", "2"), ("price:b", "3")] {
        redis.publish(channel, text);
    }
    eventually("two messages arrive", || async { host.messages(0).await.len() >= 2 }).await;
    let expected = [("price:a", "1"), ("price:b", "3")].map(|(topic, text)| (topic.to_owned(), text.to_owned()));
    assert_eq!(host.messages(0).await, expected);
}

#[tokio::test]
async fn the_server_sends_a_channel_once_however_many_subscriptions_want_it() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(
        &redis,
        json!({ "a": { "redis": "news", "path": "on" }, "b": { "redis": "news", "path": "other" }, "c": { "redisPattern": "ne*", "path": "on" } }),
    )
    .workers(1)
    .start()
    .await;
    redis.until_subscribed("news", 1).await;
    redis.until_patterns(1).await;
    assert_eq!(redis.publish("news", "hello"), 2, "once for the channel, once for the pattern");
    eventually("each subscription gets it", || async { host.messages(0).await.len() == 3 }).await;

    // When the module no longer wants the channel, the host unsubscribes.
    host.rewrite(GUEST, json!({ "subscriptions": { "c": { "redisPattern": "ne*", "path": "on" } } }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    redis.until_subscribed("news", 0).await;
    redis.until_patterns(1).await;
}

#[tokio::test]
async fn one_worker_or_every_worker_gets_each_message_over_twenty_swaps() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(
        &redis,
        json!({ "one": { "redis": "one", "path": "on" }, "all": { "redis": "all", "path": "on", "deliver": "all" } }),
    )
    .start()
    .await;
    redis.until_subscribed("one", 1).await;
    redis.until_subscribed("all", 1).await;
    for n in 0..20 {
        redis.publish("one", &format!("one {n}"));
        redis.publish("all", &format!("all {n}"));
        host.rewrite(GUEST, json!({ "config": { "version": n } }));
        assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    }
    eventually("all messages arrive", || async { host.texts(2).await.len() >= 60 }).await;
    for worker in 0..2 {
        let got = host.messages(worker).await;
        let all: Vec<_> = got.iter().filter(|(topic, _)| topic == "all").map(|(_, text)| text.clone()).collect();
        assert_eq!(all, (0..20).map(|n| format!("all {n}")).collect::<Vec<_>>(), "worker {worker}");
    }
    let mut one: Vec<_> = host.texts(2).await.into_iter().filter(|text| text.starts_with("one")).collect();
    one.sort();
    let mut expected: Vec<_> = (0..20).map(|n| format!("one {n}")).collect();
    expected.sort();
    assert_eq!(one, expected);
}

#[tokio::test]
async fn a_pattern_feeds_a_stream_key_for_each_channel() {
    let Some(redis) = Redis::start().await else { return };
    let feed = json!({ "prices": { "redisPattern": "price:*", "sse": { "key": "{topic}", "event": "data" } } });
    let host = connected(&redis, feed).start().await;
    redis.until_patterns(1).await;
    let mut a = EventStream::open(host.http, "/stream?connectKey=price:a").await;
    let mut b = EventStream::open(host.http, "/stream?connectKey=price:b").await;
    redis.publish("price:a", "1");
    redis.publish("price:b", "2");
    redis.publish("price:a", "3");
    for expected in ["1", "3"] {
        let event = a.event().await.unwrap();
        assert_eq!((event.name(), event.text()), ("data", expected));
    }
    assert_eq!(b.event().await.unwrap().text(), "2");
}

#[tokio::test]
async fn a_message_that_is_too_large_is_dropped_and_counted_and_the_next_arrives() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({ "news": { "redis": "news", "path": "on" } }))
        .config(json!({ "limits": { "max": { "payload": "64KiB" } } }))
        .workers(1)
        .start()
        .await;
    redis.until_subscribed("news", 1).await;
    // `redis-cli` cannot have arguments of this size.
    redis.cli(&["EVAL", "return redis.call('publish', 'news', string.rep('x', 4 * 1024 * 1024))", "0"]);
    redis.publish("news", "small");
    eventually("the small message arrives", || async { !host.messages(0).await.is_empty() }).await;
    assert_eq!(host.texts(1).await, ["small"]);
    assert_eq!(host.metric("fanfare_redis_oversized_total", &[]).await, 1.0);
    assert_eq!(host.metric("fanfare_redis_downs_total", &[]).await, 0.0, "the connection has stayed");
}

#[tokio::test]
async fn a_subscription_to_a_connection_that_is_not_configured_is_reported() {
    let Some(redis) = Redis::start().await else { return };
    let subscriptions =
        json!({ "a": { "redis": "a", "connection": "cache", "path": "on" }, "b": { "redis": "b", "path": "on" } });
    let host = connected(&redis, subscriptions).workers(1).start().await;
    redis.until_subscribed("b", 1).await;
    eventually("a warning names the connection", || async {
        let warnings = host.events_named(&["warning"]).await;
        warnings.iter().any(|one| one["message"].as_str().unwrap().contains("connection `cache`"))
    })
    .await;
}
