//! Commands that the server refuses.

use serde_json::{Value, json};

use super::{GUEST, connected};
use crate::harness::{Redis, Started, eventually};

/// The rights of a user that a stream needs, but for `XREADGROUP`.
const RIGHTS: [&str; 9] =
    ["on", ">pass", "resetkeys", "~jobs", "+ping", "+xgroup|create", "+xpending", "+xclaim", "+xack"];

fn jobs() -> Value {
    json!({ "jobs": { "redisStream": "jobs", "group": "fanfare", "path": "on" } })
}

/// A host that connects as the ACL user `limited`.
async fn limited(redis: &Redis, subscriptions: Value, settings: Value) -> Started {
    connected(redis, subscriptions)
        .file("password", "pass")
        .config(json!({ "redis": { "username": "limited", "passwordFile": "password" } }))
        .config(json!({ "redis": settings }))
        .workers(1)
        .start()
        .await
}

impl Started {
    /// The reasons in the status of the connection, as one text.
    async fn reasons(&self) -> String {
        self.connection("default").await["reasons"].to_string()
    }
}

impl Redis {
    /// How often the server has refused a command because a right was missing.
    fn rejected(&self, command: &str) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with(&format!("cmdstat_{command}:")));
        let rejected = line.and_then(|line| line.split("rejected_calls=").nth(1)?.split(',').next()?.parse().ok());
        rejected.unwrap_or_default()
    }
}

#[tokio::test]
pub async fn a_refused_stream_is_reported_once_and_tried_again_more_and_more_slowly() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&[&["ACL", "SETUSER", "limited"][..], &RIGHTS].concat());
    redis.cli(&["XADD", "jobs", "*", "text", "hello"]);
    let host = limited(&redis, jobs(), json!({ "reconnect": "10ms", "reconnectMax": "1h" })).await;
    eventually("it was refused five times", || async { redis.rejected("xreadgroup") >= 5 }).await;
    let reasons = host.reasons().await;
    assert!(reasons.contains("stream jobs of subscriptions:jobs: ") && reasons.contains("xreadgroup"), "{reasons}");
    assert_eq!(host.connection("default").await["state"], "up");
    assert_eq!(host.events_named(&["redisDown"]).await, Vec::<Value>::new(), "the connection was never down");
    let log = host.log.lines(&["Redis refuses a command", "xreadgroup"]);
    assert_eq!(log.len(), 1, "{log:?}");
    // Without the growing pauses, the host would try a hundred times in this second. The pauses of
    // twelve attempts have twenty seconds.
    redis.cli(&["BLPOP", "nothing", "1"]);
    let rejected = redis.rejected("xreadgroup");
    assert!(rejected <= 12, "{rejected}");
    redis.cli(&["ACL", "SETUSER", "limited", "+xreadgroup"]);
    eventually("the entry arrives", || async { !host.messages(0).await.is_empty() }).await;
    host.until_no_reasons().await;
    eventually("it is acknowledged", || async { redis.pending("jobs", "fanfare") == 0 }).await;
}

#[tokio::test]
pub async fn a_key_that_is_no_stream_is_reported_until_it_is_one() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&["SET", "jobs", "text"]);
    let host = connected(&redis, jobs()).workers(1).start().await;
    eventually("the host reports it", || async { host.reasons().await.contains("WRONGTYPE") }).await;
    host.until_connection_is("up").await;
    redis.cli(&["DEL", "jobs"]);
    redis.cli(&["XADD", "jobs", "*", "text", "hello"]);
    eventually("the entry arrives", || async { host.texts(1).await == [r#"{"text":"hello"}"#] }).await;
    host.until_no_reasons().await;
    // A group that is removed is created again.
    redis.cli(&["DEL", "jobs"]);
    redis.cli(&["XADD", "jobs", "*", "text", "again"]);
    eventually("the entry arrives", || async { host.texts(1).await.len() == 2 }).await;
}

#[tokio::test]
pub async fn refused_messages_to_any_number_of_channels_are_one_reason() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&["ACL", "SETUSER", "limited", "on", ">pass", "resetchannels", "&open", "+ping", "+publish"]);
    let host = limited(&redis, json!({}), json!({})).await;
    host.until_connection_is("up").await;
    for n in 0..50 {
        assert_eq!(host.publish_message("redis", &format!("closed {n}"), "x").await["status"], 200);
    }
    eventually("all were refused", || async { host.metric("fanfare_redis_lost_total", &[]).await == 50.0 }).await;
    let connection = host.connection("default").await;
    let reasons = connection["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    assert!(reasons[0].as_str().unwrap().starts_with("publish: closed 49: "), "{reasons:?}");
    // Another channel says nothing about this one.
    host.publish_message("redis", "open", "x").await;
    eventually("a message is published", || async { host.metric("fanfare_redis_published_total", &[]).await == 1.0 })
        .await;
    assert!(host.reasons().await.contains("closed 49"));
    redis.cli(&["ACL", "SETUSER", "limited", "&closed*"]);
    host.publish_message("redis", "closed 49", "x").await;
    host.until_no_reasons().await;
    assert_eq!(host.call("worker-0", GUEST, "got", "").await["status"], 200);
}
