//! Kills of brokers. The master is no target of a kill.

use fanfare::api::KillMode;
use serde_json::{Value, json};

use super::isolates;
use crate::harness::{Started, TestHost, json_of};

async fn counts(host: &Started) -> Vec<Value> {
    let mut counts = Vec::new();
    for isolate in ["worker-0", "worker-1", "broker-0", "broker-1", "master"] {
        counts.push(json_of(&host.call(isolate, "snapshot", "count", "").await)["count"].clone());
    }
    counts
}

#[tokio::test]
async fn one_broker_or_all_of_them_can_be_killed() {
    let places = json!({ "config": { "places": ["brokers", "master"] } });
    let host = TestHost::with("snapshot").manifest("snapshot", places).brokers(2).start().await;
    assert_eq!(counts(&host).await, [1, 1, 1, 1, 1]);
    let kill = async |body: Value| host.admin("POST", "/v1/brokers/kill", body.to_string()).await.json();
    assert_eq!(isolates(&kill(json!({ "id": 1 })).await), ["broker-1"]);
    assert_eq!(counts(&host).await, [2, 2, 2, 1, 2]);
    assert_eq!(isolates(&kill(json!({ "immediate": true })).await), ["broker-0", "broker-1"]);
    assert_eq!(counts(&host).await, [3, 3, 1, 1, 3]);
    assert_eq!(isolates(&host.kill(None, false).await), ["worker-0", "worker-1"]);
    assert_eq!(counts(&host).await, [1, 1, 2, 2, 4], "a kill of workers reaches no broker");
    let killed = host.running().kill_brokers(Some(0), KillMode::Graceful).await.unwrap();
    assert_eq!((killed[0].isolate.as_str(), killed[0].modules[0].module.as_str()), ("broker-0", "snapshot"));

    let events = host.events_named(&["brokerExit", "brokerStart"]).await;
    let shown: Vec<String> = events.iter().map(|event| format!("{} {}", event["type"], event["id"])).collect();
    let pair = |id: u32| [format!("\"brokerExit\" {id}"), format!("\"brokerStart\" {id}")];
    assert_eq!(shown[2..], [pair(1), pair(0), pair(1), pair(0)].concat(), "after the two starts of the host");
    assert_eq!((&events[2]["reason"], &events[3]["respawn"]), (&json!("killed"), &json!(true)));
}
