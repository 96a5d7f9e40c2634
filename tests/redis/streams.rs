//! Streams of Redis: at least once, over failures, crashes and restarts.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{GUEST, connected};
use crate::cli::project::Project;
use crate::harness::{Redis, TestHost, eventually, json_of};

fn jobs(handler: &str) -> Value {
    json!({ "jobs": { "redisStream": "jobs", "group": "fanfare", "path": handler } })
}

impl Redis {
    /// How often hosts have looked which entries are pending.
    fn looks(&self) -> u64 {
        let stats = self.cli(&["INFO", "commandstats"]);
        let line = stats.lines().find(|line| line.starts_with("cmdstat_xpending:")).unwrap_or_default();
        line.split(['=', ',']).nth(1).and_then(|calls| calls.parse().ok()).unwrap_or_default()
    }
}

fn add(redis: &Redis, text: &str) {
    redis.cli(&["XADD", "jobs", "*", "text", text]);
}

#[tokio::test]
pub async fn an_entry_is_acknowledged_after_its_handler_has_succeeded() {
    let Some(redis) = Redis::start().await else { return };
    // Entries from before the group are delivered, too.
    add(&redis, "first");
    let host = connected(&redis, jobs("waits")).limit(GUEST, "timeout", "20s").workers(1).start().await;
    eventually("the handler runs", || async { !host.messages(0).await.is_empty() }).await;
    assert_eq!(host.messages(0).await, [("jobs".to_owned(), r#"{"text":"first"}"#.to_owned())]);
    assert_eq!(redis.pending("jobs", "fanfare"), 1, "it is not acknowledged while the handler runs");
    host.call("worker-0", GUEST, "release", "").await;
    eventually("it is acknowledged", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    assert_eq!(host.metric("fanfare_redis_acknowledged_total", &[]).await, 1.0);
}

#[tokio::test]
pub async fn an_entry_that_fails_is_tried_again_and_then_stays_pending_and_is_reported() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, jobs("fails")).config(json!({ "redis": { "tries": 2 } })).workers(1).start().await;
    add(&redis, "bad");
    eventually("it is given up", || async { !host.events_named(&["redisMessageFailed"]).await.is_empty() }).await;
    let events = host.events_named(&["redisMessageFailed"]).await;
    assert_eq!((&events[0]["stream"], &events[0]["tries"]), (&json!("jobs"), &json!(2)), "{events:?}");
    assert!(events[0]["reason"].as_str().unwrap().contains("fails on request"), "{events:?}");
    assert_eq!(host.texts(1).await.len(), 2);
    assert_eq!(redis.pending("jobs", "fanfare"), 1, "it stays pending");
    // An entry that fails holds up no other.
    add(&redis, "another");
    eventually("the next one runs", || async { host.texts(1).await.iter().any(|text| text.contains("another")) }).await;
}

#[tokio::test]
pub async fn an_entry_whose_handler_crashes_is_delivered_again() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, jobs("traps")).config(json!({ "redis": { "tries": 100 } })).workers(1).start().await;
    add(&redis, "crash");
    eventually("it was tried twice", || async { host.metric("fanfare_redis_claimed_total", &[]).await >= 1.0 }).await;
    assert_eq!(redis.pending("jobs", "fanfare"), 1);
    // A generation that can handle it gets it.
    host.rewrite(GUEST, json!({ "subscriptions": jobs("on") }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    eventually("it is handled", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    assert_eq!(host.texts(1).await, [r#"{"text":"crash"}"#]);
}

#[tokio::test]
pub async fn over_kills_of_redis_every_entry_is_delivered() {
    let Some(mut redis) = Redis::start().await else { return };
    let host = connected(&redis, jobs("on")).start().await;
    host.until_connection_is("up").await;
    for n in 0..5 {
        add(&redis, &format!("before {n}"));
        redis.kill();
        redis.run().await;
        add(&redis, &format!("after {n}"));
    }
    eventually("everything is acknowledged", || async {
        let mut texts = host.texts(2).await;
        texts.sort();
        texts.dedup();
        texts.len() == 10 && redis.pending("jobs", "fanfare") == 0
    })
    .await;
}

#[tokio::test]
pub async fn after_a_kill_of_the_host_its_entries_are_delivered_again() {
    let Some(redis) = Redis::start().await else { return };
    let manifest = |handler: &str| {
        let text = std::fs::read_to_string(crate::harness::source_of(GUEST).join("module.json")).unwrap();
        let mut manifest: Value = serde_json::from_str(&text).unwrap();
        manifest["subscriptions"] = jobs(handler);
        manifest.to_string()
    };
    let modules = json!({ GUEST: { "grants": { "subscribe": ["*"] }, "limits": { "timeout": "20s" } } });
    let project = Project::with(&[GUEST])
        .config(json!({ "redis": redis.settings(), "modules": modules, "workers": 1 }))
        .file("modules/subscriptions/module.json", manifest("waits"));
    let mut host = project.serve(&[]).await;
    (0..5).for_each(|n| add(&redis, &n.to_string()));
    eventually("the entries are delivered", || async {
        redis.cli(&["EXISTS", "jobs"]) == "1"
            && redis.cli(&["XINFO", "GROUPS", "jobs"]).contains("fanfare")
            && redis.pending("jobs", "fanfare") == 5
    })
    .await;
    host.signal(Signal::KILL);
    host.ended().await;
    let project = project.file("modules/subscriptions/module.json", manifest("on"));
    let host = project.serve(&[]).await;
    eventually("they are delivered again and acknowledged", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    let got = host.get("/api/subscriptions/got").await.json();
    assert_eq!(got.as_array().unwrap().len(), 5, "{got}");
}

#[tokio::test]
pub async fn entries_of_a_host_that_is_gone_go_to_another_host() {
    let Some(redis) = Redis::start().await else { return };
    let gone = connected(&redis, jobs("waits"))
        .limit(GUEST, "timeout", "60s")
        .config(json!({ "node": { "id": "gone" }, "shutdown": { "drain": "0ms", "linger": "0ms" } }))
        .workers(1)
        .start()
        .await;
    add(&redis, "left");
    eventually("the handler runs", || async { !gone.messages(0).await.is_empty() }).await;
    gone.running().destroy().await;
    assert_eq!(redis.pending("jobs", "fanfare"), 1);
    let host = connected(&redis, jobs("on"))
        .config(json!({ "node": { "id": "heir" }, "redis": { "claimAfter": "200ms" } }))
        .workers(1)
        .start()
        .await;
    eventually("the other host handles it", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    assert_eq!(host.texts(1).await, [r#"{"text":"left"}"#]);
}

#[tokio::test]
pub async fn an_entry_that_is_handled_for_long_is_not_claimed_by_another_host() {
    let Some(redis) = Redis::start().await else { return };
    let start = |id: &str, handler: &str| {
        connected(&redis, jobs(handler))
            .limit(GUEST, "timeout", "60s")
            .config(json!({ "node": { "id": id }, "redis": { "claimAfter": "300ms" } }))
            .workers(1)
            .start()
    };
    let slow = start("slow", "waits").await;
    add(&redis, "long");
    eventually("the handler runs", || async { !slow.messages(0).await.is_empty() }).await;
    let other = start("other", "on").await;
    other.until_connection_is("up").await;
    // Both hosts look often at what is pending, for longer than `claimAfter`.
    let enough = redis.looks() + 20;
    eventually("the hosts have looked", || async { redis.looks() >= enough }).await;
    assert_eq!(redis.pending("jobs", "fanfare"), 1);
    assert_eq!(other.texts(1).await, [""; 0]);
    assert_eq!(other.metric("fanfare_redis_claimed_total", &[]).await, 0.0);
    slow.call("worker-0", GUEST, "release", "").await;
    eventually("it is acknowledged", || async { redis.pending("jobs", "fanfare") == 0 }).await;
}

#[tokio::test]
pub async fn the_host_reads_no_more_than_it_can_handle() {
    let Some(redis) = Redis::start().await else { return };
    let host: TestHost = connected(&redis, jobs("waits")).limit(GUEST, "timeout", "60s").workers(1);
    redis.cli(&["EVAL", "for n = 1, 1000 do redis.call('xadd', 'jobs', '*', 'n', n) end", "0"]);
    let host = host.start().await;
    eventually("it has read 64", || async { redis.pending("jobs", "fanfare") == 64 }).await;
    host.call("worker-0", GUEST, "release", "").await;
    eventually("one is acknowledged, and the next was read", || async {
        host.metric("fanfare_redis_acknowledged_total", &[]).await == 1.0 && redis.pending("jobs", "fanfare") == 64
    })
    .await;
}

#[tokio::test]
pub async fn the_host_reads_no_entries_beyond_16_mib() {
    let Some(redis) = Redis::start().await else { return };
    let slow = json!({ "redis": { "timeout": "20s" } });
    let host = connected(&redis, jobs("waits")).limit(GUEST, "timeout", "60s").config(slow).workers(1);
    let add = "for n = 1, 40 do redis.call('xadd', 'jobs', '*', 'text', string.rep('x', 800000)) end";
    redis.cli(&["EVAL", add, "0"]);
    let host = host.start().await;
    // It reads 8 at a time, and 16 of them are less than 16 MiB.
    eventually("it has read 24", || async { redis.pending("jobs", "fanfare") == 24 }).await;
    host.call("worker-0", GUEST, "release", "").await;
    eventually("one is acknowledged, and no other was read", || async {
        host.metric("fanfare_redis_acknowledged_total", &[]).await == 1.0 && redis.pending("jobs", "fanfare") == 23
    })
    .await;
}

#[tokio::test]
pub async fn subscriptions_with_one_group_are_different_consumers() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&["XGROUP", "CREATE", "jobs", "fanfare", "0", "MKSTREAM"]);
    // The previous process of the host has left an entry of each subscription.
    for name in ["one", "two"] {
        add(&redis, name);
        let consumer = format!("host/subscriptions/{name}");
        redis.cli(&["XREADGROUP", "GROUP", "fanfare", &consumer, "COUNT", "1", "STREAMS", "jobs", ">"]);
    }
    let stream = |path: &str| json!({ "redisStream": "jobs", "group": "fanfare", "path": path });
    let host = connected(&redis, json!({ "one": stream("on"), "two": stream("other") }))
        .config(json!({ "node": { "id": "host" }, "redis": { "claimAfter": "1h" } }))
        .workers(1)
        .start()
        .await;
    eventually("both are handled", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    let got = json_of(&host.call("worker-0", GUEST, "got", "").await);
    let mut got: Vec<(&str, &str)> = got
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), one["text"].as_str().unwrap()))
        .collect();
    got.sort_unstable();
    assert_eq!(got, [("one", r#"{"text":"one"}"#), ("two", r#"{"text":"two"}"#)]);
}

#[tokio::test]
pub async fn an_entry_of_a_consumer_with_another_name_is_claimed() {
    let Some(redis) = Redis::start().await else { return };
    redis.cli(&["XGROUP", "CREATE", "jobs", "fanfare", "0", "MKSTREAM"]);
    add(&redis, "left");
    redis.cli(&["XREADGROUP", "GROUP", "fanfare", "host", "STREAMS", "jobs", ">"]);
    let host = connected(&redis, jobs("on"))
        .config(json!({ "node": { "id": "host" }, "redis": { "claimAfter": "200ms" } }))
        .workers(1)
        .start()
        .await;
    eventually("it is handled", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    assert_eq!(host.texts(1).await, [r#"{"text":"left"}"#]);
}

#[tokio::test]
pub async fn an_entry_that_is_too_large_is_read_once_and_stays_pending() {
    let Some(redis) = Redis::start().await else { return };
    let host = |most: &str| {
        connected(&redis, jobs("on"))
            .config(json!({ "limits": { "max": { "payload": most } }, "redis": { "claimAfter": "100ms" } }))
            .workers(1)
            .start()
    };
    // One value is too large, and two that fit alone.
    redis.cli(&["EVAL", "redis.call('xadd', 'jobs', '1-1', 'a', string.rep('x', 70000))", "0"]);
    redis.cli(&["EVAL", "local x = string.rep('x', 40000); redis.call('xadd', 'jobs', '1-2', 'a', x, 'b', x)", "0"]);
    redis.cli(&["XADD", "jobs", "1-3", "text", "small"]);
    let first = host("64KiB").await;
    eventually("the small one is handled", || async { first.texts(1).await.iter().any(|one| one.contains("small")) })
        .await;
    let pending = || redis.cli(&["XPENDING", "jobs", "fanfare", "-", "+", "10"]);
    eventually("the large ones are not delivered again", || async {
        let lines: Vec<String> = pending().lines().map(str::to_owned).collect();
        // Each has four lines: its id, its consumer, its idle time, and how often it was delivered.
        lines.len() == 8 && lines[0] == "1-1" && lines[4] == "1-2" && lines[3] == "5" && lines[7] == "5"
    })
    .await;
    assert_eq!(first.metric("fanfare_redis_oversized_total", &[]).await, 2.0);
    let events = first.events_named(&["redisMessageFailed"]).await;
    assert!(events[0]["reason"].as_str().unwrap().contains("limits.max.payload"), "{events:?}");
    let enough = redis.looks() + 10;
    eventually("the host has looked", || async { redis.looks() >= enough }).await;
    assert_eq!(first.metric("fanfare_redis_oversized_total", &[]).await, 2.0, "they are not read again");
    first.stop().await;
    // With a larger limit, the operator has it delivered again.
    redis.cli(&["XCLAIM", "jobs", "fanfare", "again", "0", "1-1", "1-2", "RETRYCOUNT", "0", "JUSTID"]);
    let second = host("1MiB").await;
    eventually("they are handled", || async { redis.pending("jobs", "fanfare") == 0 }).await;
    assert_eq!(second.texts(1).await.len(), 2);
}

#[tokio::test]
pub async fn many_entries_that_fail_raise_few_events() {
    let Some(redis) = Redis::start().await else { return };
    let host = connected(&redis, jobs("fails")).config(json!({ "redis": { "tries": 1 } })).workers(1).start().await;
    redis.cli(&["EVAL", "for n = 1, 200 do redis.call('xadd', 'jobs', '*', 'n', n) end", "0"]);
    eventually("all are given up", || async { host.metric("fanfare_redis_given_up_total", &[]).await == 200.0 }).await;
    let events = host.events_named(&["redisMessageFailed"]).await;
    // One at once, and one for each second of at most ten.
    assert!(events.len() <= 11, "{}", events.len());
    assert_eq!(events[0]["failed"], 1);
}

#[tokio::test]
pub async fn every_worker_gets_the_entries_in_order() {
    let Some(redis) = Redis::start().await else { return };
    let all = json!({ "jobs": { "redisStream": "jobs", "group": "fanfare", "path": "on", "deliver": "all" } });
    // With smaller messages, the host reads 16 entries at once: 192 messages for the workers.
    let smaller = json!({ "limits": { "max": { "payload": "1MiB" } } });
    let host: TestHost = connected(&redis, all).config(smaller).workers(12);
    redis.cli(&["EVAL", "for n = 1, 100 do redis.call('xadd', 'jobs', '1-' .. n, 'n', n) end", "0"]);
    let host = host.start().await;
    eventually("all are handled", || async {
        host.metric("fanfare_redis_acknowledged_total", &[]).await == 100.0 && redis.pending("jobs", "fanfare") == 0
    })
    .await;
    let expected: Vec<String> = (1..=100).map(|n| format!(r#"{{"n":"{n}"}}"#)).collect();
    for worker in 0..12 {
        let got: Vec<String> = host.messages(worker).await.into_iter().map(|(_, text)| text).collect();
        assert_eq!(got, expected, "worker {worker}");
    }
}
