//! Messages that guests publish.

use fanfare::Stopped;
use serde_json::json;

use super::{GUEST, connected};
use crate::harness::{Redis, Started, TestHost, eventually};

impl Started {
    /// Waits until the host has noticed that it cannot publish.
    async fn until_commands_are_down(&self) {
        eventually("the host has lost the connection that publishes", || async {
            self.connection("default").await["reasons"].to_string().contains("commands: ")
        })
        .await;
    }
}

#[tokio::test]
pub async fn a_message_of_a_guest_arrives_in_order() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({ "news": { "redis": "news", "path": "on" } })).workers(1).start().await;
    redis.until_subscribed("news", 1).await;
    host.until_connection_is("up").await;
    for n in 0..100 {
        let answer = host.publish_message("redis", "news", &n.to_string()).await;
        assert_eq!(answer["status"], 200, "{answer}");
    }
    eventually("all arrive", || async { host.texts(1).await.len() == 100 }).await;
    assert_eq!(host.texts(1).await, (0..100).map(|n| n.to_string()).collect::<Vec<_>>());
    assert_eq!(host.metric("fanfare_redis_published_total", &[]).await, 100.0);
}

#[tokio::test]
pub async fn publishing_is_refused_without_a_grant_a_connection_or_a_topic() {
    let Some(redis) = Redis::start().await else { return };
    let host = TestHost::with(GUEST)
        .manifest(GUEST, json!({ "capabilities": { "publish": ["redis:news*", "redis.none:*"] } }))
        .grant(GUEST, json!({ "publish": ["redis:news*", "redis.none:*"] }))
        .config(json!({ "redis": redis.settings() }))
        .start()
        .await;
    host.until_connection_is("up").await;
    let long = format!("news{}", "x".repeat(509));
    for (connection, topic, code) in [
        ("redis", "secret", "forbidden"),
        ("redis.none", "a", "not-found"),
        ("redis", "news\n", "invalid"),
        ("redis", &long, "invalid"),
    ] {
        let answer = host.publish_message(connection, topic, "x").await;
        assert_eq!(answer["code"], code, "{connection} {topic}: {answer}");
    }
    assert_eq!(host.publish_message("redis", "news:eu", "x").await["status"], 200);
}

#[tokio::test]
pub async fn while_redis_is_away_messages_wait_in_a_bounded_queue() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({ "news": { "redis": "news", "path": "on" } }))
        .config(json!({ "redis": { "queue": { "messages": 3 } } }))
        .workers(1)
        .start()
        .await;
    host.until_connection_is("up").await;
    redis.kill();
    host.until_commands_are_down().await;
    for n in 0..3 {
        assert_eq!(host.publish_message("redis", "waiting", &n.to_string()).await["status"], 200);
    }
    let answer = host.publish_message("redis", "waiting", "3").await;
    assert_eq!(answer["code"], "unavailable", "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("queue"), "{answer}");
    assert_eq!(host.metric("fanfare_redis_queued_messages", &[]).await, 3.0);
    assert_eq!(host.metric("fanfare_redis_refused_total", &[]).await, 1.0);
    redis.run().await;
    eventually("the messages are published", || async { host.connection("default").await["published"] == 3 }).await;
    assert_eq!(host.metric("fanfare_redis_queued_messages", &[]).await, 0.0);
}

#[tokio::test]
pub async fn the_bytes_of_the_queue_are_bounded() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({})).config(json!({ "redis": { "queue": { "bytes": "1KiB" } } })).start().await;
    host.until_connection_is("up").await;
    redis.kill();
    host.until_commands_are_down().await;
    let half = "x".repeat(600);
    assert_eq!(host.publish_message("redis", "a", &half).await["status"], 200);
    assert_eq!(host.publish_message("redis", "a", &half).await["code"], "unavailable");
}

#[tokio::test]
pub async fn a_message_waits_no_longer_than_the_age_of_the_queue() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = connected(&redis, json!({})).config(json!({ "redis": { "queue": { "age": "50ms" } } })).start().await;
    host.until_connection_is("up").await;
    redis.kill();
    host.until_commands_are_down().await;
    eventually("publishing fails", || async { host.publish_message("redis", "a", "x").await["code"] == "unavailable" })
        .await;
    eventually("what waited is lost", || async {
        host.publish_message("redis", "a", "x").await;
        host.metric("fanfare_redis_queued_messages", &[]).await == 0.0
    })
    .await;
}

#[tokio::test]
pub async fn a_server_that_is_slow_makes_publishing_overloaded() {
    let Some(redis) = Redis::start().await else { return };
    let slow = json!({ "redis": { "timeout": "1m", "queue": { "messages": 2 } } });
    let host = connected(&redis, json!({})).config(slow).start().await;
    host.until_connection_is("up").await;
    redis.freeze();
    let mut answer = json!(null);
    // 32 messages are on their way, and two wait.
    for _ in 0..40 {
        answer = host.publish_message("redis", "a", "x").await;
        if answer["code"] == "overloaded" {
            break;
        }
    }
    redis.thaw();
    assert_eq!(answer["code"], "overloaded", "{answer}");
}

#[tokio::test]
pub async fn a_stop_waits_for_messages_only_while_redis_is_there() {
    let Some(redis) = Redis::start().await else { return };
    let drain = json!({ "shutdown": { "drain": "8s", "linger": "0ms" } });
    let host = connected(&redis, json!({})).config(drain).workers(1).start().await;
    host.until_connection_is("up").await;
    redis.freeze();
    // 32 messages are on their way, and the others wait.
    for _ in 0..40 {
        assert_eq!(host.publish_message("redis", "a", "x").await["status"], 200);
    }
    // Redis goes away only now: the host notices it after `timeout`.
    assert_eq!(host.stop().await, Stopped::Clean);
}
