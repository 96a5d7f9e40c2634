//! Swaps of modules that also run in brokers and the master.

use fanfare::tooling::IsolateId;
use serde_json::{Value, json};

use super::patient;
use crate::failures::steps::assert_names;
use crate::harness::{Connection, Gate, Started, TestHost, ends, eventually, json_of};

const EVERYWHERE: [&str; 5] = ["worker-0", "worker-1", "broker-0", "broker-1", "master"];

/// `snapshot` in these places in addition to the workers. The node has two brokers.
fn living_in(places: &[&str]) -> TestHost {
    TestHost::with("snapshot").manifest("snapshot", json!({ "config": { "places": places } })).brokers(2)
}

impl Started {
    /// The isolates of a module according to the status. Asserts that the metrics agree.
    async fn places(&self, module: &str) -> Vec<String> {
        let isolates = self.module(module).await["isolates"].clone();
        let listed = isolates.as_array().unwrap().iter().map(|slot| slot["isolate"].as_str().unwrap().to_owned());
        let listed: Vec<String> = listed.collect();
        let metrics = self.metrics().await;
        for isolate in EVERYWHERE {
            let ready = format!("fanfare_slot_ready{{module=\"{module}\",isolate=\"{isolate}\"}} 1");
            assert_eq!(metrics.contains(&ready), listed.iter().any(|place| place == isolate), "{isolate}: {metrics}");
        }
        listed
    }

    /// Increments the counter in one isolate.
    async fn count_in(&self, isolate: &str) -> Value {
        json_of(&self.call(isolate, "snapshot", "count", "").await)
    }

    async fn move_to(&self, places: &[&str]) -> Value {
        self.rewrite("snapshot", json!({ "config": { "places": places } }));
        self.reload("snapshot").await
    }
}

#[tokio::test]
async fn a_module_can_be_called_in_each_of_its_places() {
    let host = TestHost::waits_for(&["snapshot"]);
    let host = host.manifest("snapshot", json!({ "config": { "places": ["brokers", "master"] } })).brokers(2);
    let host = host.start().await;
    assert_eq!(host.places("snapshot").await, EVERYWHERE);
    assert_eq!(host.places("waits").await, EVERYWHERE[..2]);
    for (target, isolate) in [(json!({ "broker": 1 }), "broker-1"), (json!("master"), "master")] {
        let ended = host.nested(0, json!({ "route": "snapshot/look", "target": target })).await;
        let look: Value = serde_json::from_str(ended["ok"]["payload"].as_str().unwrap()).unwrap();
        assert_eq!(look["isolate"], isolate);
    }
    let every = host.run(1, "waits", "every", json!({ "route": "snapshot/look", "group": "brokers" })).await;
    assert_eq!(ends(&every), [("broker-0".into(), "reply".into()), ("broker-1".into(), "reply".into())]);
    let notified = host.run(1, "waits", "notify", json!({ "route": "snapshot/count", "group": "brokers" })).await;
    assert_eq!(notified, json!({ "ok": 2 }));
    let workers = host.gather("snapshot", "mark", "").await;
    assert_eq!(workers.len(), 2, "broadcasts run in workers: {workers:?}");
    for (target, module, why) in [
        (json!({ "broker": 0 }), "waits", "there is no module waits in broker-0"),
        (json!({ "broker": 2 }), "snapshot", "there is no broker-2: this node has 2 brokers"),
    ] {
        let ended = host.nested(0, json!({ "route": format!("{module}/hold"), "target": target })).await;
        assert_eq!((&ended["error"]["kind"], &ended["error"]["message"]), (&json!("not-found"), &json!(why)));
    }
}

#[tokio::test]
async fn state_is_handed_over_in_every_place() {
    let host = living_in(&["brokers", "master"]).start().await;
    for (times, isolate) in EVERYWHERE.iter().enumerate() {
        for _ in 0..times {
            host.count_in(isolate).await;
        }
    }
    let digest = host.module("snapshot").await["generation"].clone();
    host.put("snapshot", "snapshot.wasm", &super::component("snapshot-next"));
    assert_eq!(host.reload("snapshot").await["outcome"], "swapped");
    for (times, isolate) in EVERYWHERE.iter().enumerate() {
        let look = json_of(&host.call(isolate, "snapshot", "look", "").await);
        assert_eq!((&look["build"], &look["count"]), (&json!("next"), &json!(times)), "{isolate}");
        assert_eq!(look["from"], digest, "{isolate}");
    }
}

#[tokio::test]
async fn a_swap_starts_the_module_in_new_places_and_ends_it_in_old_ones() {
    let host = living_in(&[]).start().await;
    for isolate in ["worker-0", "worker-1"] {
        host.count_in(isolate).await;
    }
    assert_eq!(host.places("snapshot").await, EVERYWHERE[..2]);

    assert_eq!(host.move_to(&["brokers"]).await["outcome"], "swapped");
    assert_eq!(host.places("snapshot").await, EVERYWHERE[..4]);
    assert_eq!(host.count_in("worker-1").await["count"], 2, "a place that stays keeps its state");
    let first = host.count_in("broker-1").await;
    assert_eq!((&first["count"], &first["loaded"]), (&json!(1), &json!(0)), "a new place has no state");

    assert_eq!(host.move_to(&["master"]).await["outcome"], "swapped");
    assert_eq!(host.places("snapshot").await, ["worker-0", "worker-1", "master"]);
    assert_eq!(host.count_in("worker-1").await["count"], 3);
    assert_eq!(host.count_in("master").await["count"], 1);
    let lost = host.call("broker-1", "snapshot", "count", "").await;
    assert_eq!(lost["detail"], "there is no module snapshot in broker-1");

    assert_eq!(host.move_to(&["brokers", "master"]).await["outcome"], "swapped");
    assert_eq!(host.count_in("master").await["count"], 2);
    assert_eq!(host.count_in("broker-1").await["count"], 1, "a place that returns has no state");
}

#[tokio::test]
async fn calls_in_a_place_that_a_swap_leaves_are_answered() {
    // The first call blocks the broker's thread, so that the second one still waits when the swap
    // leaves.
    let gate = Gate::before(|call| &*call.route.handler == "look" && call.context.isolate == IsolateId::Broker(0));
    let host = living_in(&["brokers"]).probe(gate.probe()).start().await;
    let look = || host.asking("/v1/modules/snapshot/call?target=broker-0&path=look".to_owned(), "");
    let running = look();
    eventually("the first call starts", || async { gate.reached() == 1 }).await;
    let waiting = look();
    host.until_waiting("snapshot", 2, 1).await;
    assert_eq!(host.move_to(&[]).await["outcome"], "swapped");
    assert_eq!(host.places("snapshot").await, EVERYWHERE[..2]);
    gate.open();
    for call in [running, waiting] {
        let ended = call.await.unwrap();
        assert_eq!(ended["status"], 200, "{ended}");
    }
}

#[tokio::test]
async fn calls_wait_in_every_place_until_all_places_switch() {
    // `waits` has the same places, because `load` calls it in its own isolate.
    let host = patient(json!({ "load": "waits", "places": ["brokers", "master"] }));
    let host = host.manifest("waits", json!({ "config": { "places": ["brokers", "master"] } })).brokers(2);
    let host = host.start().await;
    host.put("snapshot", "snapshot.wasm", &super::component("snapshot-next"));
    let reloading = host.reloading("snapshot");
    let look = |isolate: &str| format!("/v1/modules/snapshot/call?target={isolate}&path=look");
    let mut calls = Vec::new();
    for (index, isolate) in EVERYWHERE.iter().enumerate() {
        host.until_held(index).await;
        calls.push(host.asking(look(isolate), ""));
        host.until_waiting("snapshot", index, 1).await;
    }
    for isolate in EVERYWHERE {
        assert!(!reloading.is_finished(), "before {isolate} has loaded");
        let holding = || async { host.call(isolate, "waits", "holding&method=GET", "").await["payload"] == "1" };
        eventually(&format!("load waits in {isolate}"), holding).await;
        assert_eq!(host.call(isolate, "waits", "release", "").await["payload"], "1");
    }
    assert_eq!(reloading.await.unwrap()["outcome"], "swapped");
    for (call, isolate) in calls.into_iter().zip(EVERYWHERE) {
        let look = json_of(&call.await.unwrap());
        assert_eq!((&look["build"], &look["isolate"]), (&json!("next"), &json!(isolate)));
    }
}

#[tokio::test]
async fn a_failure_in_a_broker_rejects_the_swap_in_every_place() {
    // `waits` runs only in workers, so a startup or `load` that calls it fails in a broker.
    for config in [json!({ "load": "waits" }), json!({ "startup": "waits" })] {
        let host = patient(json!({ "places": ["brokers"] })).brokers(2).start().await;
        for isolate in &EVERYWHERE[..4] {
            host.count_in(isolate).await;
        }
        let generation = host.generation("snapshot").await;
        let mut changed = config.clone();
        changed["places"] = json!(["brokers", "master"]);
        host.rewrite("snapshot", json!({ "config": changed }));
        let refused = host.reload("snapshot").await;
        assert_eq!(refused["code"], "refused", "{refused}");
        assert_names(&refused["detail"], &["there is no module waits in "]);
        assert_eq!(host.generation("snapshot").await, generation);
        assert_eq!(host.places("snapshot").await, EVERYWHERE[..4], "no place was added");
        for (index, isolate) in EVERYWHERE[..4].iter().enumerate() {
            assert_eq!(host.slot("snapshot", index).await["held"], false);
            assert_eq!(host.count_in(isolate).await["count"], 2, "the same instance in {isolate}");
        }
    }
}

#[tokio::test]
async fn a_canary_runs_in_workers_and_its_promotion_moves_the_module() {
    let host = living_in(&["brokers"]).start().await;
    let rollout = json!({ "canary": 1, "for": "2s" });
    host.rewrite("snapshot", json!({ "config": { "places": ["master"] }, "rollout": rollout }));
    let reloading = host.reloading("snapshot");
    let canary_runs = || async {
        let isolates = host.module("snapshot").await["isolates"].clone();
        let generation = |index: usize| isolates[index]["generation"].clone();
        generation(0) != generation(1) && generation(1) == generation(2)
    };
    eventually("only worker-0 runs the canary", canary_runs).await;
    assert_eq!(reloading.await.unwrap()["outcome"], "swapped");
    assert_eq!(host.places("snapshot").await, ["worker-0", "worker-1", "master"]);
    let isolates = host.module("snapshot").await["isolates"].clone();
    assert!(isolates.as_array().unwrap().iter().all(|slot| slot["generation"] == isolates[0]["generation"]));
}

#[tokio::test]
async fn reload_all_renews_every_place_and_a_rollback_moves_the_module_back() {
    let host = living_in(&["brokers"]).start().await;
    host.count_in("broker-0").await;
    let ended = host.admin("POST", "/v1/reload", "").await.json();
    assert_eq!(ended[0]["outcome"], "swapped", "{ended}");
    let count = host.count_in("broker-0").await;
    assert_eq!((&count["count"], &count["loaded"]), (&json!(2), &json!(1)), "a new instance with the state");

    assert_eq!(host.move_to(&["master"]).await["outcome"], "swapped");
    let back = host.admin("POST", "/v1/modules/snapshot/rollback", "").await.json();
    assert_eq!(back["outcome"], "swapped", "{back}");
    assert_eq!(host.places("snapshot").await, EVERYWHERE[..4]);
}

#[tokio::test]
async fn a_removed_module_leaves_every_place() {
    let host = living_in(&["brokers", "master"]).and("echo").start().await;
    std::fs::remove_dir_all(host.dir.path().join("modules/snapshot")).unwrap();
    assert_eq!(host.reload("snapshot").await["outcome"], "removed");
    let mut operator = Connection::open(host.admin).await;
    for isolate in EVERYWHERE {
        let url = format!("/v1/modules/snapshot/call?target={isolate}&path=look");
        let gone = operator.send("POST", &url, &[], "").await.json();
        assert_eq!(gone["detail"], format!("there is no module snapshot in {isolate}"));
    }
    assert!(!host.metrics().await.contains("module=\"snapshot\""));
}
