//! Servers that restart, are killed, or stop to answer.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{GUEST, connected};
use crate::harness::{Redis, Started, eventually};

/// A host that receives the channel `news`, once that is subscribed.
async fn receiving(redis: &Redis) -> Started {
    let host = connected(redis, json!({ "news": { "redis": "news", "path": "on" } })).workers(1).start().await;
    redis.until_subscribed("news", 1).await;
    host
}

impl Started {
    /// Publishes until a message arrives.
    async fn until_receives(&self, redis: &Redis, text: &str) {
        redis.until_subscribed("news", 1).await;
        redis.publish("news", text);
        eventually("a message arrives", || async { self.texts(1).await.iter().any(|one| one == text) }).await;
    }

    /// The names of the events about the connection.
    async fn redis_events(&self) -> Vec<String> {
        let events = self.events_named(&["redisUp", "redisDown"]).await;
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// The module serves requests.
    async fn serves(&self) {
        let begun = Instant::now();
        assert_eq!(self.get("/api/subscriptions/got").await.status, 200);
        assert!(begun.elapsed() < Duration::from_secs(5));
    }
}

#[tokio::test]
pub async fn a_host_starts_without_its_redis_and_receives_once_it_is_there() {
    let Some(mut redis) = Redis::start().await else { return };
    redis.kill();
    let host = connected(&redis, json!({ "news": { "redis": "news", "path": "on" } })).workers(1).start().await;
    host.until_connection_is("down").await;
    host.serves().await;
    assert_eq!(host.redis_events().await, ["redisDown"]);
    redis.run().await;
    host.until_receives(&redis, "hello").await;
    host.until_connection_is("up").await;
    assert_eq!(host.redis_events().await, ["redisDown", "redisUp"]);
    assert_eq!(host.events_named(&["subscriptionGap"]).await, Vec::<serde_json::Value>::new(), "nothing was missed");
}

#[tokio::test]
pub async fn after_a_restart_the_host_receives_again_and_reports_the_gap() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = receiving(&redis).await;
    host.until_connection_is("up").await;
    redis.restart().await;
    host.until_receives(&redis, "hello").await;
    host.until_connection_is("up").await;
    assert_eq!(host.redis_events().await, ["redisUp", "redisDown", "redisUp"]);
    let gaps = host.events_named(&["subscriptionGap"]).await;
    assert_eq!(gaps.len(), 1, "{gaps:?}");
    assert_eq!((&gaps[0]["subscription"], &gaps[0]["missed"]), (&json!("news"), &json!(null)));
    assert!(host.metric("fanfare_redis_downs_total", &[]).await >= 1.0);
    assert_eq!(host.metric("fanfare_subscription_gaps_total", &["subscription=\"news\""]).await, 1.0);
}

#[tokio::test]
pub async fn while_a_killed_redis_is_away_nothing_else_notices() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = receiving(&redis).await;
    host.until_connection_is("up").await;
    redis.kill();
    host.until_connection_is("down").await;
    eventually("both parts have a reason", || async {
        let reasons = host.connection("default").await["reasons"].to_string();
        reasons.contains("commands: ") && reasons.contains("channels: ")
    })
    .await;
    host.serves().await;
    assert_eq!(host.get("/api/subscriptions/got").await.status, 200);
    assert_eq!(host.metric("fanfare_redis_up", &[]).await, 0.0);
    redis.run().await;
    host.until_receives(&redis, "hello").await;
}

#[tokio::test]
pub async fn a_server_that_is_frozen_is_noticed_and_used_again_when_it_thaws() {
    let Some(redis) = Redis::start().await else { return };
    let host = receiving(&redis).await;
    host.until_connection_is("up").await;
    redis.freeze();
    // The operating system still accepts connections and data for it.
    host.until_connection_is("down").await;
    let reasons = host.connection("default").await["reasons"].to_string();
    assert!(reasons.contains("time"), "{reasons}");
    host.serves().await;
    redis.thaw();
    host.until_receives(&redis, "hello").await;
    host.until_connection_is("up").await;
    assert_eq!(host.redis_events().await, ["redisUp", "redisDown", "redisUp"]);
}

/// The times are those by default, because these decide when a freeze is noticed.
#[tokio::test]
pub async fn while_redis_is_frozen_for_ten_seconds_everything_else_answers() {
    let Some(redis) = Redis::start().await else { return };
    let subscriptions = json!({
        "news": { "redis": "news", "path": "on" },
        "jobs": { "redisStream": "jobs", "path": "on" },
        "beats": { "event": "subscriptions/beat", "path": "on" },
    });
    let times = json!({ "redis": { "timeout": "5s", "reconnect": "100ms", "reconnectMax": "10s" } });
    let host = connected(&redis, subscriptions).config(times).workers(1).start().await;
    redis.until_subscribed("news", 1).await;
    host.until_connection_is("up").await;
    redis.freeze();
    let (begun, mut beats) = (Instant::now(), 0);
    while begun.elapsed() < Duration::from_secs(10) {
        host.serves().await;
        let spec = json!({ "type": "subscriptions/beat", "value": beats });
        assert_eq!(host.call("worker-0", GUEST, "emit", spec.to_string()).await["status"], 200);
        beats += 1;
        eventually("the event arrives", || async { host.messages(0).await.len() == beats }).await;
        // The queue holds the messages of less time than this.
        if beats < 100 {
            assert_eq!(host.publish_message("redis", "waiting", "x").await["status"], 200);
        }
    }
    eventually("all parts have noticed", || async {
        let reasons = host.connection("default").await["reasons"].to_string();
        ["channels: ", "commands: ", "stream jobs"].iter().all(|part| reasons.contains(part))
    })
    .await;
    redis.thaw();
    redis.cli(&["XADD", "jobs", "*", "text", "an entry"]);
    host.until_receives(&redis, "hello").await;
    eventually("the entry arrives", || async { host.texts(1).await.iter().any(|text| text.contains("an entry")) })
        .await;
    host.until_connection_is("up").await;
    assert_eq!(host.redis_events().await, ["redisUp", "redisDown", "redisUp"]);
    assert_eq!(host.events_named(&["subscriptionGap"]).await.len(), 1);
}
