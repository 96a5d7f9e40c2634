//! Everything at once in one host, while modules are swapped, isolates are killed and guests crash
//! every 200 ms. Each part has a model of what the host promises, and checks every message.

mod calls;
mod clients;
mod events;
mod record;
mod trouble;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::{RwLock, watch};

use crate::channels::PATHS;
use crate::harness::{Random, Started, TestHost, test_duration};
use crate::streams::chaos::Traffic;
use record::Record;
use trouble::{MODULES, Trouble};

/// The time between two swaps, kills or crashes.
const PAUSE: Duration = Duration::from_millis(200);

/// Locked for writing while there is trouble. A client that has it for reading loses no answer.
type Calm = Arc<RwLock<()>>;

/// The time between two messages of most clients. The rate is moderate, because the promises are
/// about each message.
const PACE: Duration = Duration::from_millis(20);

/// The paths at which clients of SocketCluster reach the guest `sessions`, by their version.
const SESSIONS: [&str; 2] = ["/sessions/1/", "/sessions/2/"];

fn host() -> TestHost {
    let listeners = [("channels", PATHS), ("sessions", SESSIONS)].into_iter().flat_map(|(module, paths)| {
        let one = move |index: usize| json!({ "path": paths[index], "protocol": index + 1, "module": module });
        [one(0), one(1)]
    });
    let listeners: Vec<Value> = listeners.collect();
    let kept = json!({ "count": 100_000, "age": "1h", "bytes": "64MiB" });
    let subscription = |path: &str, deliver: &str| {
        let queue = json!({ "messages": 20_000, "bytes": "32MiB" });
        json!({ "event": "chaos/*", "path": path, "deliver": deliver, "queue": queue })
    };
    let tick = |kind: &str| json!({ "path": "tick", "interval": record::INTERVAL, "type": kind, "overlap": "allow" });
    let all = json!({ "events": ["*"] });
    let mut host = TestHost::waits_for(&["echo"])
        .and("streams")
        .and("sessions")
        .grant("sessions", json!({ "sessions": true }))
        .and("channels")
        .grant("channels", json!({ "sessions": true, "channels": ["lobby/*"] }))
        .manifest("channels", json!({ "channels": { "channels/kept/*": { "history": kept } } }))
        .and("subscriptions")
        .grant("subscriptions", all.clone())
        .manifest(
            "subscriptions",
            json!({
                "capabilities": all,
                "subscriptions": { "one": subscription("on", "one"), "all": subscription("other", "all") },
            }),
        )
        .and("schedules")
        .manifest(
            "schedules",
            json!({ "schedules": {
                "worker": tick("worker"), "all": tick("all"), "crash": { "path": "other", "interval": "1h" },
            } }),
        )
        .and("counts")
        .config(json!({
            "brokers": 2,
            "sse": Traffic::settings(),
            "events": { "listen": "127.0.0.1:0", "history": { "count": 1_000_000 } },
            "websocket": { "listeners": listeners, "sessionSize": "1MiB", "pingInterval": "1s" },
            "isolate": { "maxRestarts": 10_000, "restartBackoff": "1ms", "restartBackoffMax": "20ms" },
        }));
    for module in MODULES {
        // Calls wait long, and need much time, on a busy machine and in an unoptimised host.
        host = host.limit(module, "timeout", "60s").limit(module, "cpu", "5s");
    }
    host.config(json!({ "swap": { "quiesce": "20s", "timeout": "20s" }, "master": { "processTermTimeout": "60s" } }))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_or_doubled_while_everything_is_swapped_killed_and_crashed() {
    println!("FANFARE_TEST_SEED={}", Random::seed());
    let (record, probe) = Record::new();
    let host = Arc::new(host().probe(probe).start().await);
    let (send, stop) = watch::channel(false);

    // All receivers exist before the first message.
    let events = events::Traffic::start(&host, &stop).await;
    let streams = Traffic::start(&host, Some(PACE)).await;
    let calm = Calm::default();
    let clients = clients::Traffic::start(&host, &stop, &calm).await;
    let calls = calls::Traffic::start(&host, &stop).await;

    let begun = Instant::now();
    let mut trouble = Trouble::new(host.clone());
    let mut ticks = tokio::time::interval(PAUSE);
    while begun.elapsed() < test_duration().unwrap_or(Duration::from_secs(5)) {
        ticks.tick().await;
        let _troubled = calm.write().await;
        trouble.next().await;
    }
    println!("{trouble}");
    send.send(true).unwrap();

    streams.end().await;
    clients.end(&trouble).await;
    let positions = events.end().await;
    let broadcasts = trouble.broadcasts + calls.end(&trouble).await;
    record::assert_broadcasts(&record, broadcasts).await;
    record::assert_messages(&record, &positions).await;
    record::assert_runs(&record, &host).await;
    assert_calm(&host).await;
}

/// Asserts that the host has closed no client and dropped nothing, and that all modules serve.
async fn assert_calm(host: &Started) {
    let metrics = host.metrics().await;
    for metric in [
        "fanfare_websocket_closed_total",
        "fanfare_websocket_slow_clients_total",
        "fanfare_hub_slow_clients_total",
        "fanfare_subscription_dropped_total",
        "fanfare_subscription_missed_total",
        "fanfare_channel_evicted_total",
        "fanfare_events_resets_total",
    ] {
        assert!(metrics.contains(&format!("# TYPE {metric} ")), "no metric {metric}");
        assert_eq!(host.metric(metric, &[]).await, 0.0, "{metric}");
    }
    for module in host.status().await["modules"].as_array().unwrap() {
        for isolate in module["isolates"].as_array().unwrap() {
            assert_eq!(isolate["state"], "ready", "{module}");
        }
    }
}
