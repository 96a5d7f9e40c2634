//! Floods of events into a handler that is stuck, in a host that is a process of its own.

use serde_json::{Value, json};

use super::GUEST;
use crate::cli::project::{Project, Serving};
use crate::harness::{Connection, eventually, source_of};

/// The number of events. `FANFARE_TEST_EVENTS` sets more.
fn events() -> u32 {
    std::env::var("FANFARE_TEST_EVENTS").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000_000)
}

/// The events of a round: one half from a guest, in one call, and the other from a client of the
/// event service, in lists.
const ROUND: u32 = 20_000;
const LIST: u32 = 1_000;

/// The rounds in which the log of the host fills, and its buffers grow.
const WARM: u32 = 3;

async fn status(serving: &Serving) -> Value {
    let all = serving.operator("GET", "/v1/subscriptions").await.json();
    all.as_array().unwrap().iter().find(|one| one["name"] == "s").unwrap().clone()
}

#[tokio::test]
async fn a_flood_of_distinct_types_into_a_stuck_handler_leaves_the_memory_flat() {
    let project = Project::with(&[GUEST]).config(json!({
        "workers": 1,
        "events": { "listen": "127.0.0.1:0", "rate": 10_000_000 },
        "modules": { GUEST: { "grants": { "events": ["*"] }, "limits": { "timeout": "1m", "cpu": "5s" } } },
    }));
    let manifest = std::fs::read_to_string(source_of(GUEST).join("module.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&manifest).unwrap();
    manifest["capabilities"] = json!({ "events": ["*"] });
    manifest["subscriptions"] = json!({ "s": { "event": "*", "path": "waits", "queue": { "messages": 100 } } });
    let project = project.file(&format!("modules/{GUEST}/module.json"), manifest.to_string());
    let mut serving = project.serve(&[]).await;
    let service = serving.line().await.trim_start_matches("events http://").parse().unwrap();
    let (mut client, mut operator) = (Connection::open(service).await, Connection::open(serving.admin).await);

    let (rounds, mut warm) = (events() / ROUND, 0);
    for round in 0..rounds {
        let spec = json!({ "type": "guest", "value": round, "count": ROUND / 2 });
        let path = format!("/v1/modules/{GUEST}/call?target=worker-0&path=emit");
        let reply = operator.send("POST", &path, &[], spec.to_string()).await;
        assert_eq!(reply.json()["status"], 200, "{}", reply.text());
        for list in 0..ROUND / 2 / LIST {
            let first = round * ROUND + list * LIST;
            let event = |number| format!("{{\"type\":\"t{number}\",\"value\":{number}}}");
            let body = format!("[{}]", (first..first + LIST).map(event).collect::<Vec<_>>().join(","));
            let answer = client.send("POST", "/events", &[("content-type", "application/json")], body).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
        let status = status(&serving).await;
        assert!(status["waiting"].as_u64() <= Some(100), "{status}");
        if round + 1 == WARM {
            warm = serving.peak_memory();
        }
    }
    let grown = serving.peak_memory() - warm;
    println!("{} events, {grown} bytes more than after {} events", rounds * ROUND, WARM * ROUND);
    assert!(grown < 16 << 20, "{grown} bytes");
    // One is in the handler. The others wait, or are counted.
    let all = u64::from(rounds * ROUND);
    eventually("each event is counted", || async {
        let status = status(&serving).await;
        let counted = ["dropped", "missed", "failed", "waiting"].map(|key| status[key].as_u64().unwrap());
        let sum = counted.iter().sum::<u64>() + 1;
        assert!(sum <= all && status["delivered"] == 0, "{all} events: {status}");
        sum == all
    })
    .await;
}
