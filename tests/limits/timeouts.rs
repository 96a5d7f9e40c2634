//! The limits of time: of calls, of startups, and of calls past their deadline.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, eventually};

pub async fn timeout() {
    let host = TestHost::waits_for(&["echo"]).workers(1).limit("waits", "timeout", "60s");
    let host = host.limit("echo", "timeout", "30s").start().await;
    let left = host.get("/api/echo/context").await.json()["deadlineMs"].as_u64().unwrap();
    assert!((20_000..=30_000).contains(&left), "{left}");
    let release = async {
        host.until_running("waits", 0, 1).await;
        host.call("any", "waits", "release", "").await
    };
    let (under, _) = tokio::join!(host.post("/api/waits/hold", "kept"), release);
    assert_eq!(under.text(), "kept");

    let host = TestHost::waits_for(&[]).limit("waits", "timeout", "50ms").start().await;
    let over = host.post("/api/waits/hold", "").await;
    assert_eq!((over.status, over.code()), (504, "timeout".to_owned()));
}

pub async fn startup() {
    let starting = |config: Value, limit: &str| {
        let host = TestHost::with("startup").manifest("startup", json!({ "config": config })).workers(1);
        host.limit("startup", "startup", limit).max_restarts(0).start()
    };
    let under = starting(json!({ "mode": "slow", "ms": 100 }), "20s").await;
    assert_eq!(under.slot("startup", 0).await["state"], "ready");
    let over = starting(json!({ "mode": "slow", "ms": 30_000 }), "100ms").await;
    over.until("startup", 0, "state", "failed").await;
    assert_names(&over.slot("startup", 0).await["reason"], &["limits.startup, 100ms"]);
}

/// Starts a guest whose calls time out, and count as leaked after `grace`.
async fn never(grace: &str) -> Started {
    let host = TestHost::with("never").workers(1).limit("never", "timeout", "500ms");
    host.limit("never", "abandonAfter", grace).limit("never", "maxLeaked", 2).start().await
}

async fn leak(host: &Started) {
    assert_eq!(host.post("/api/never/never", "").await.code(), "timeout");
}

pub async fn abandon_after() {
    let under = never("60s").await;
    for _ in 0..3 {
        leak(&under).await;
    }
    let slot = under.slot("never", 0).await;
    assert_eq!((&slot["leaked"], &slot["inFlight"]), (&json!(0), &json!(3)));

    let over = never("50ms").await;
    leak(&over).await;
    over.until("never", 0, "leaked", 1).await;
}

pub async fn max_leaked() {
    let host = never("50ms").await;
    leak(&host).await;
    leak(&host).await;
    host.until("never", 0, "leaked", 2).await;
    // Long enough for the host to notice if there were too many.
    let calls = AtomicU64::new(0);
    eventually("it has had many calls", || async {
        let times = calls.fetch_add(1, Ordering::Relaxed) + 1;
        assert_eq!(host.count("any", "never").await, times, "the instance is the same");
        times == 25
    })
    .await;
    assert_eq!(host.slot("never", 0).await["restarts"], 0);
    leak(&host).await;
    host.until_restarted("never", 0, 1).await;
}
