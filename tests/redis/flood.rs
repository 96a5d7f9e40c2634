//! More messages than a handler can take.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::GUEST;
use crate::cli::project::{Project, Serving};
use crate::harness::{Redis, eventually, source_of};

/// The messages of the flood, unless the host needs longer than this time for them.
const MOST: u32 = 1_000_000;
const TIME: Duration = Duration::from_secs(10);

/// The messages of 1,000 bytes that are published at once.
const PART: u32 = 20_000;

impl Serving {
    /// The value of the samples of a metric whose labels contain this text.
    async fn sample(&self, name: &str, label: &str) -> f64 {
        let metrics = self.operator("GET", "/metrics").await;
        let samples = metrics.text().lines().filter(|line| line.starts_with(name) && line.contains(label));
        samples.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

#[tokio::test]
async fn a_flood_into_a_stuck_handler_uses_no_more_memory_and_slows_no_other_subscription() {
    // Redis keeps what the host has not read, instead of cutting the connection.
    let Some(redis) = Redis::with(&["--client-output-buffer-limit", "pubsub 0 0 0"]).await else { return };
    let text = std::fs::read_to_string(source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["subscriptions"] = json!({
        "stuck": { "redis": "flood", "path": "waits", "queue": { "messages": 100 } },
        "quick": { "redis": "news", "path": "on" },
    });
    let modules = json!({ GUEST: { "grants": { "subscribe": ["*"] }, "limits": { "timeout": "60s" } } });
    let mut settings = redis.settings();
    // Redis answers nothing while it publishes a part.
    settings["timeout"] = json!("10s");
    let host = Project::with(&[GUEST])
        .config(json!({ "redis": settings, "modules": modules, "workers": 1 }))
        .file("modules/subscriptions/module.json", manifest.to_string())
        .serve(&[])
        .await;
    redis.until_subscribed("flood", 1).await;
    redis.until_subscribed("news", 1).await;
    let flood = format!("for n = 1, {PART} do redis.call('publish', 'flood', string.rep('x', 1000)) end");
    let (before, begun, mut published) = (host.peak_memory(), Instant::now(), 0);
    let until_received = async |count: u32| {
        eventually("the flood was read", || async {
            let grown = host.peak_memory() - before;
            assert!(grown < 24 << 20, "{grown} bytes more when {count} messages should be read");
            host.sample("fanfare_redis_received_total", "").await >= f64::from(count)
        })
        .await;
    };
    while published < MOST && begun.elapsed() < TIME {
        redis.cli(&["EVAL", &flood, "0"]);
        published += PART;
        // Up to three parts, 60 MB, wait in Redis.
        until_received(published.saturating_sub(2 * PART)).await;
    }
    until_received(published - PART).await;
    until_received(published).await;
    let grown = host.peak_memory() - before;
    println!("{published} messages, {grown} bytes more memory");
    redis.publish("news", "hello");
    eventually("the other subscription receives", || async {
        host.get("/api/subscriptions/got").await.text().contains("hello")
    })
    .await;
    let dropped = host.sample("fanfare_subscription_dropped_total", "subscription=\"stuck\"").await;
    assert!(dropped >= f64::from(published) - 200.0, "{dropped} of {published}");
    assert_eq!(host.sample("fanfare_redis_downs_total", "").await, 0.0, "the connection has stayed");
}
