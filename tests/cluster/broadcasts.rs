//! Broadcasts across nodes.

use serde_json::{Value, json};

use super::{heard, sees, start, two};
use crate::harness::{Nats, TestHost, eventually};
use crate::rpc::replied;

#[tokio::test]
async fn broadcasts_run_once_in_every_worker_of_every_node_in_the_order_of_their_node() {
    for nats in Nats::all().await {
        let (a, b) = two(&nats, &[]).await;
        let count = 200;
        for host in [&a, &b] {
            sees(host, &[("a-1", "waits"), ("b-1", "waits")]).await;
        }
        let emit = async |host: &crate::harness::Started, name: &str| {
            for number in 0..count {
                let emission = json!({ "name": "wave", "payload": format!("{name}{number}") });
                let receipt = host.run(number % 2, "waits", "emit", emission).await;
                assert_eq!(receipt["ok"]["accepted"], 2, "{receipt}");
            }
        };
        tokio::join!(emit(&a, "a"), emit(&b, "b"));
        let expected = |name: &str| (0..count).map(|number| format!("{name}{number}")).collect::<Vec<_>>();
        for host in [&a, &b] {
            for worker in [0, 1] {
                let all = || async { heard(host, worker).await.as_array().unwrap().len() == 2 * count as usize };
                eventually("all broadcasts arrive", all).await;
                let heard = heard(host, worker).await;
                for name in ["a", "b"] {
                    let of = |value: &Value| value.as_str().filter(|text| text.starts_with(name)).map(str::to_owned);
                    let found: Vec<String> = heard.as_array().unwrap().iter().filter_map(of).collect();
                    assert_eq!(found, expected(name), "{worker}");
                }
            }
        }
        assert_eq!(b.metric("fanfare_cluster_missed_total", &[]).await, 0.0);
    }
}

#[tokio::test]
async fn a_gather_has_an_entry_of_every_worker_of_every_node() {
    let Some(nats) = Nats::start().await else { return };
    let (a, b) = two(&nats, &[]).await;
    // A node without the module is not asked.
    let c = TestHost::with("echo").config(nats.node("c-1", "alpha")).start().await;
    for host in [&a, &b] {
        sees(host, &[("a-1", "waits"), ("b-1", "waits"), ("c-1", "echo")]).await;
    }
    let entries = a.run(1, "waits", "gather", json!({ "name": "wave", "payload": "all" })).await;
    let place = |entry: &Value| (entry["node"].clone(), entry["isolate"].as_str().unwrap().to_owned());
    let places: Vec<_> = entries.as_array().unwrap().iter().map(place).collect();
    let all =
        [(Value::Null, "worker-0"), (Value::Null, "worker-1"), (json!("b-1"), "worker-0"), (json!("b-1"), "worker-1")];
    assert_eq!(places, all.map(|(node, isolate)| (node, isolate.to_owned())), "{entries}");
    // The operator's request is the same.
    assert_eq!(b.gather("waits", "wave", "more").await.len(), 4);
    assert_eq!(heard(&a, 0).await, json!(["all", "more"]));
    drop(c);
}

#[tokio::test]
async fn same_as_caller_is_true_only_in_the_emitting_worker_of_the_emitting_node() {
    use std::sync::{Arc, Mutex};
    let Some(nats) = Nats::start().await else { return };
    let seen = Arc::new(Mutex::new(Vec::new()));
    let node = async |id: &'static str| {
        let notes = seen.clone();
        let host = TestHost::waits_for(&[]).config(nats.node(id, "node")).probe(Arc::new(move |call| {
            if let fanfare::tooling::Trigger::Broadcast(broadcast) = &call.trigger {
                notes.lock().unwrap().push((id, call.context.isolate.to_string(), broadcast.same_as_caller));
            }
        }));
        host.start().await
    };
    let (a, b) = (node("a-1").await, node("b-1").await);
    sees(&a, &[("a-1", "waits"), ("b-1", "waits")]).await;
    a.run(1, "waits", "emit", json!({ "name": "wave", "payload": "x" })).await;
    eventually("it runs everywhere", || async { seen.lock().unwrap().len() == 4 }).await;
    let same: Vec<_> = seen.lock().unwrap().iter().filter(|(.., same)| *same).cloned().collect();
    assert_eq!(same, [("a-1", "worker-1".to_owned(), true)]);
    drop(b);
}

#[tokio::test]
async fn a_node_without_a_module_emits_for_it_where_it_is() {
    let Some(nats) = Nats::start().await else { return };
    let a = TestHost::with("echo").config(nats.node("a-1", "alpha")).start().await;
    let b = start(&nats, "b-1", "beta", &[]).await;
    sees(&a, &[("a-1", "echo"), ("b-1", "waits")]).await;
    let receipt = a.emit("waits", "wave", "far").await;
    assert_eq!((&receipt["accepted"], &receipt["nodes"]), (&json!(0), &json!(1)), "{receipt}");
    eventually("it arrives", || async { heard(&b, 1).await == json!(["far"]) }).await;
    let entries = a.gather("waits", "wave", "near").await;
    assert_eq!(entries.len(), 2, "{entries:?}");
    assert!(entries.iter().all(|entry| entry["node"] == "b-1"), "{entries:?}");
    let unknown = a.admin("POST", "/v1/modules/waits/broadcasts/nothing?gather=true", "").await.json();
    assert!(unknown[0].to_string().contains("waits has no broadcast `nothing`"), "{unknown}");
}

#[tokio::test]
async fn a_gather_does_not_wait_for_a_call_that_waits_for_it() {
    let Some(nats) = Nats::start().await else { return };
    let rights = json!({ "rpc": ["waits"], "broadcast": ["serial"] });
    let node = |id: &str| {
        let host = TestHost::waits_for(&["serial"]).workers(1).grant("serial", json!({ "rpc": ["waits"] }));
        let host = host.manifest("serial", json!({ "capabilities": { "rpc": ["waits"] } }));
        let asks = json!({ "capabilities": { "broadcast": ["serial"] } });
        host.manifest("waits", asks).grant("waits", json!({ "broadcast": ["serial"] })).config(nats.node(id, "node"))
    };
    let (a, b) = (node("a-1").start().await, node("b-1").start().await);
    sees(&a, &[("a-1", "serial"), ("b-1", "serial")]).await;
    sees(&b, &[("a-1", "serial"), ("b-1", "serial")]).await;
    // A call of `serial` on a-1 waits for `waits` on b-1, which gathers in `serial` on both.
    let gather = json!({ "module": "serial", "name": "wave", "payload": "x" });
    let through = json!({ "route": "waits/gather", "target": { "node": "b-1" }, "payload": gather });
    let entries = replied(&a.run(0, "serial", "nested", through).await);
    let text = entries.to_string();
    assert!(text.contains("would-deadlock"), "{rights}: {text}");
}
