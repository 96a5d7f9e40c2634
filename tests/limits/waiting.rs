//! The limits on how many calls, broadcasts and imports run and wait at once.

use serde_json::{Value, json};

use crate::failures::steps::assert_names;
use crate::harness::{Started, TestHost, eventually};

/// A host with `waits` in one worker. A broadcast releases the calls that wait, because it needs no
/// place among the calls.
fn waits() -> TestHost {
    let release = json!({ "broadcasts": { "release": { "path": "release" } } });
    TestHost::waits_for(&[]).manifest("waits", release).limit("waits", "timeout", "60s").workers(1)
}

async fn release(host: &Started) {
    assert_eq!(host.emit("waits", "release", "").await["accepted"], 1);
}

async fn hold(host: &Started) -> Value {
    host.call("any", "waits", "hold", "").await
}

/// Makes a call that calls `hold` of its own module, and returns the outcome of the nested call.
async fn hold_nested(host: &Started) -> Value {
    host.nested(0, json!({ "route": "/hold", "payload": "kept" })).await
}

/// Asserts that these calls of `hold` were released.
#[track_caller]
fn assert_released(ended: &[Value]) {
    assert!(ended.iter().all(|ended| ended["ok"]["payload"] == "kept"), "{ended:?}");
}

/// Runs `check` while `calls` run, and asserts that they do not end before it.
async fn while_running<T>(calls: impl Future, check: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        checked = check => checked,
        _ = calls => panic!("the calls have ended"),
    }
}

pub async fn concurrency() {
    let host = waits().limit("waits", "concurrency", 2).start().await;
    let check = async {
        host.until_running("waits", 0, 2).await;
        host.until_waiting("waits", 0, 1).await;
        assert_eq!(host.slot("waits", 0).await["inFlight"], 2, "the third call has to wait");
        release(&host).await;
        host.until_waiting("waits", 0, 0).await;
        host.until_running("waits", 0, 1).await;
        release(&host).await;
    };
    let (first, second, third, ()) = tokio::join!(hold(&host), hold(&host), hold(&host), check);
    assert_eq!([&first["status"], &second["status"], &third["status"]], [204; 3]);
}

pub async fn nested() {
    let host = waits().limit("waits", "concurrency", 4).limit("waits", "nested", 2).start().await;
    let check = async {
        host.until_running("waits", 0, 5).await;
        host.until_waiting("waits", 0, 1).await;
        assert_eq!(host.slot("waits", 0).await["inFlight"], 5, "three calls, and the nested calls of two of them");
        release(&host).await;
        host.until_waiting("waits", 0, 0).await;
        host.until_running("waits", 0, 2).await;
        release(&host).await;
    };
    let three = async |host: &Started| tokio::join!(hold_nested(host), hold_nested(host), hold_nested(host));
    let ((first, second, third), ()) = tokio::join!(three(&host), check);
    assert_released(&[first, second, third]);

    let host = waits().limit("waits", "concurrency", 4).limit("waits", "nested", 3).start().await;
    let all = async {
        host.until_running("waits", 0, 6).await;
        release(&host).await;
    };
    let ((first, second, third), ()) = tokio::join!(three(&host), all);
    assert_released(&[first, second, third]);

    // Broadcasts leave one place to the nested calls that they would wait for.
    let host = waits().manifest("waits", json!({ "broadcasts": { "hold": { "path": "hold" } } }));
    let host = host.limit("waits", "concurrency", 2).limit("waits", "nested", 2).start().await;
    let check = async {
        host.until_running("waits", 0, 2).await;
        for _ in 0..2 {
            assert_eq!(host.emit("waits", "hold", "").await["accepted"], 1);
        }
        host.until_running("waits", 0, 3).await;
        let waiting = || async { host.slot("waits", 0).await["waitingBroadcasts"] == 1 };
        eventually("one broadcast waits", waiting).await;
    };
    while_running(async { tokio::join!(hold(&host), hold(&host)) }, check).await;
}

/// Starts a serial module with a value of one limit.
async fn occupied(limit: &str, value: usize) -> Started {
    TestHost::with("serial").limit("serial", limit, value).limit("serial", "timeout", "60s").workers(1).start().await
}

pub async fn mailbox() {
    let host = occupied("mailbox", 2).await;
    let ok = || host.call("any", "serial", "ok", "");
    let check = async {
        host.until_running("serial", 0, 1).await;
        while_running(async { tokio::join!(ok(), ok()) }, async {
            host.until_waiting("serial", 0, 2).await;
            let over = host.get("/api/serial/ok").await;
            assert_eq!((over.status, over.code()), (503, "overloaded".to_owned()));
            assert_eq!(over.header("retry-after"), Some("1"));
            assert_names(&over.json()["detail"], &["2 calls already wait for serial in worker-0", "limits.mailbox"]);
            assert_eq!(host.emit("serial", "wave", "").await["accepted"], 1, "broadcasts have their own lane");
        })
        .await;
    };
    while_running(host.call("any", "serial", "hold", ""), check).await;
}

pub async fn broadcasts() {
    for (most, wait) in [(2, "2 broadcasts already wait"), (1, "1 broadcast already waits")] {
        let host = occupied("broadcasts", most).await;
        let check = async {
            host.until_running("serial", 0, 1).await;
            for _ in 0..most {
                assert_eq!(host.emit("serial", "wave", "").await["accepted"], 1);
            }
            let over = host.emit("serial", "wave", "").await;
            assert_eq!((&over["code"], &over["status"]), (&json!("overloaded"), &json!(503)));
            assert_names(&over["detail"], &[&format!("{wait} for serial in worker-0"), "limits.broadcasts"]);
        };
        while_running(host.call("any", "serial", "hold", ""), check).await;
    }
}

pub async fn queued() {
    // Two calls cost 1 KiB each besides their payloads.
    let host = TestHost::with("serial").limit("serial", "queued", 3_048).limit("serial", "timeout", "60s").workers(1);
    let host = host.start().await;
    let ok = |bytes: usize| host.call("any", "serial", "ok", "x".repeat(bytes));
    let check = async {
        host.until_running("serial", 0, 1).await;
        while_running(async { tokio::join!(ok(600), ok(400)) }, async {
            host.until_waiting("serial", 0, 2).await;
            let over = ok(1).await;
            assert_eq!(over["code"], "overloaded", "{over}");
            assert_names(&over["detail"], &["3048 bytes already wait for serial in worker-0", "limits.queued"]);
        })
        .await;
        let emit = |bytes: usize| host.emit("serial", "wave", "x".repeat(bytes));
        assert_eq!(emit(5_000).await["accepted"], 1, "an empty lane accepts a broadcast of any size");
        assert_eq!(emit(1).await["code"], "overloaded", "and then no other");
    };
    while_running(host.call("any", "serial", "hold", ""), check).await;
}

/// Makes a call or broadcast that has this number of bytes besides its payload.
async fn besides_the_payload(host: &Started, kind: &str, bytes: usize) -> Value {
    let text = "x".repeat(bytes);
    match kind {
        "subdomain" => host.run(0, "waits", "notify", json!({ "route": "serial/ok", "subdomain": text })).await,
        "query" => host.run(0, "waits", "notify", json!({ "route": format!("serial/ok?{text}") })).await,
        _ => host.run(0, "waits", "emit", json!({ "module": "serial", "name": "wave", "subdomain": text })).await,
    }
}

#[tokio::test]
async fn bytes_besides_the_payload_count_too() {
    for kind in ["subdomain", "query", "emit"] {
        let host =
            TestHost::waits_for(&["serial"]).limit("serial", "queued", 100_000).limit("serial", "timeout", "60s");
        let host = host.workers(1).start().await;
        let check = async {
            host.until_running("serial", 0, 1).await;
            let first = besides_the_payload(&host, kind, 60_000).await;
            assert!(first["ok"].is_number() || first["ok"]["accepted"] == 1, "{kind}: {first}");
            let second = besides_the_payload(&host, kind, 60_000).await;
            assert_eq!(second["error"]["kind"], "overloaded", "{kind}: {second}");
            assert_names(&second["error"]["message"], &["100000 bytes already wait for serial", "limits.queued"]);
        };
        while_running(host.call("any", "serial", "hold", ""), check).await;
    }
}

#[tokio::test]
async fn the_head_of_a_request_counts_too() {
    let host = TestHost::with("serial").limit("serial", "queued", 50_000).limit("serial", "timeout", "60s").workers(1);
    let host = host.start().await;
    let padding = "x".repeat(30_000);
    let get = async || host.request("GET", "/api/serial/ok", &[("x-padding", padding.as_str())], "").await;
    let check = async {
        host.until_running("serial", 0, 1).await;
        while_running(get(), async {
            host.until_waiting("serial", 0, 1).await;
            let over = get().await;
            assert_eq!((over.status, over.code()), (503, "overloaded".to_owned()), "{}", over.text());
            assert_names(&over.json()["detail"], &["limits.queued"]);
        })
        .await;
    };
    while_running(host.call("any", "serial", "hold", ""), check).await;
}

#[tokio::test]
async fn waiting_calls_past_their_deadline_make_room() {
    let host = TestHost::waits_for(&["serial"]).limit("serial", "mailbox", 1).limit("serial", "timeout", "60s");
    let host = host.workers(1).start().await;
    let check = async {
        host.until_running("serial", 0, 1).await;
        for _ in 0..3 {
            let late = host.nested(0, json!({ "route": "serial/ok", "timeoutMs": 20 })).await;
            assert_eq!(late["error"]["kind"], "timeout", "the previous call has left the queue: {late}");
        }
        assert_eq!(host.ended("serial", 0, "rpc", "timeout").await, 3.0, "each call is counted once");
    };
    while_running(host.call("any", "serial", "hold", ""), check).await;
}

pub async fn background() {
    let host = waits().limit("waits", "background", 2).start().await;
    let check = async {
        host.until_running("waits", 0, 4).await;
        let over = hold_nested(&host).await;
        assert_eq!(over["error"]["kind"], "overloaded", "{over}");
        assert_names(&over["error"]["message"], &["2 imports already wait for waits", "limits.background"]);
        release(&host).await;
    };
    let (first, second, ()) = tokio::join!(hold_nested(&host), hold_nested(&host), check);
    assert_released(&[first, second]);
    let (again, ()) = tokio::join!(hold_nested(&host), async {
        host.until_running("waits", 0, 2).await;
        release(&host).await;
    });
    assert_released(&[again]);
}

pub async fn subscriptions() {
    let host = TestHost::with("subscriptions").limit("subscriptions", "subscriptions", 2).workers(1).start().await;
    let subscribe = |pattern: &str| {
        let body = json!({ "pattern": format!("subscriptions/{pattern}"), "route": "on" }).to_string();
        host.calling(0, "subscriptions", "subscribe", body)
    };
    for pattern in ["a", "b", "a"] {
        let made = subscribe(pattern).await.unwrap();
        assert_eq!(made["status"], 200, "{made}");
    }
    let refused = subscribe("c").await.unwrap();
    assert_eq!(refused["code"], "overloaded", "{refused}");
    assert!(refused["detail"].as_str().unwrap().contains("limits.subscriptions allows 2"), "{refused}");
}

pub async fn subscription_queues() {
    let declared = |bytes: u64| {
        let one = |bytes: u64| json!({ "event": "subscriptions/a", "path": "on", "queue": { "bytes": bytes } });
        let all = json!({ "a": one(1_024), "b": one(bytes) });
        TestHost::with("echo").and("subscriptions").manifest("subscriptions", json!({ "subscriptions": all }))
    };
    let started = async |bytes: u64| declared(bytes).limit("subscriptions", "subscriptionQueues", 3_072).start().await;
    let fits = started(2_048).await;
    assert_eq!(fits.module("subscriptions").await["state"], "ready");
    let max = fits.metric("fanfare_subscription_queued_bytes_max", &["module=\"subscriptions\""]).await;
    assert_eq!((max, fits.metric("fanfare_subscription_queued_bytes", &[]).await), (3_072.0, 0.0));
    let over = started(2_049).await;
    let why = over.module("subscriptions").await["reason"].clone();
    assert_names(&why, &["module.json:", "subscriptions: have queues of", "limits.subscriptionQueues is 3KiB"]);
    assert_eq!(over.post("/api/echo/echo", "hello").await.text(), "hello", "the other modules are served");
}
