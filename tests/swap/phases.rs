//! Calls and broadcasts that arrive in each phase of a swap.

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::patient;
use crate::harness::{Connection, Started, eventually, json_of};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    /// The startups of the new instances wait.
    Preparing,
    /// The swap waits for a running call.
    Quiescing,
    Saving,
    Loading,
    /// The new generation serves, and a call still runs in an old instance.
    Draining,
}

/// A swap that waits in one of its phases.
struct Midway {
    phase: Phase,
    host: Started,
    reload: JoinHandle<Value>,
    /// A call that runs in the old instance of worker 0.
    running: Option<JoinHandle<Value>>,
}

impl Phase {
    /// `running` is the call that [`Phase::Quiescing`] and [`Phase::Draining`] make when they are
    /// released.
    async fn reach(self, running: Value) -> Midway {
        let old = if self == Phase::Saving { json!({ "save": "waits" }) } else { json!({}) };
        let host = patient(old);
        let host = match self {
            Phase::Draining => host.config(json!({ "swap": { "quiesce": "1ms" } })),
            _ => host,
        };
        let host = host.start().await;
        for worker in [0, 1] {
            assert_eq!(host.run(worker, "snapshot", "count", Value::Null).await["count"], 1);
        }
        match self {
            Phase::Preparing => host.rewrite("snapshot", json!({ "config": { "startup": "waits" } })),
            Phase::Loading => host.rewrite("snapshot", json!({ "config": { "load": "waits" } })),
            _ => {}
        }
        let has_running = matches!(self, Phase::Quiescing | Phase::Draining);
        let running = has_running.then(|| host.calling(0, "snapshot", "after", running));
        host.until_holding(0, u32::from(has_running)).await;
        let mut midway = Midway { phase: self, reload: host.reloading("snapshot"), running, host };
        let host = &midway.host;
        match self {
            Phase::Preparing | Phase::Saving | Phase::Loading => {
                for worker in [0, 1] {
                    host.until_holding(worker, 1).await;
                    assert_eq!(host.slot("snapshot", worker as usize).await["held"], self != Phase::Preparing);
                }
            }
            Phase::Quiescing => {
                for worker in [0, 1] {
                    host.until_held(worker).await;
                }
            }
            Phase::Draining => {
                let swapped = (&mut midway.reload).await.unwrap();
                assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(1)), "{swapped}");
                midway.reload = tokio::spawn(async { swapped });
            }
        }
        midway
    }

    fn holds(self) -> bool {
        matches!(self, Phase::Quiescing | Phase::Saving | Phase::Loading)
    }
}

impl Midway {
    /// Lets the swap continue. Returns the outcomes of the reload and of the running call.
    async fn end(self) -> (Started, Value, Option<Value>) {
        self.host.release_waiting(0).await;
        if matches!(self.phase, Phase::Preparing | Phase::Saving | Phase::Loading) {
            self.host.release_waiting(1).await;
        }
        let reload = self.reload.await.unwrap();
        assert_eq!(reload["outcome"], "swapped", "{reload}");
        let running = match self.running {
            Some(running) => Some(running.await.unwrap()),
            None => None,
        };
        (self.host, reload, running)
    }
}

/// A call for `after` whose result does not matter.
fn nothing() -> Value {
    json!({ "route": "/look", "payload": null })
}

/// Sends calls and broadcasts of every kind. Each is answered once, by the generation that serves
/// after this phase.
async fn serves_in(phase: Phase) {
    let midway = phase.reach(nothing()).await;
    let host = &midway.host;
    assert_eq!(host.emit("snapshot", "mark", "").await["accepted"], 2);
    let gathered = host.asking("/v1/modules/snapshot/broadcasts/mark?gather=true".to_owned(), "");
    let mut calls = Vec::new();
    for worker in [0, 1] {
        let to = |route: &str| json!({ "route": route, "target": { "worker": worker } });
        calls.push(host.calling(worker, "waits", "nested", to("snapshot/count")));
        calls.push(host.calling(worker, "snapshot", "nested", to("/count")));
    }
    let http = host.http;
    let http =
        tokio::spawn(async move { Connection::open(http).await.send("POST", "/api/snapshot/count", &[], "").await });
    if phase.holds() {
        let all_wait = || async {
            let slots = [host.slot("snapshot", 0).await, host.slot("snapshot", 1).await];
            let sum = |key: &str| slots.iter().map(|slot| slot[key].as_u64().unwrap()).sum::<u64>();
            (sum("waiting"), sum("waitingBroadcasts")) == (5, 4)
        };
        eventually("all calls wait", all_wait).await;
        assert!(calls.iter().all(|call| !call.is_finished()) && !gathered.is_finished() && !http.is_finished());
        let ended = midway.end().await.0;
        check(&ended, phase, gathered, calls, http).await;
    } else {
        check(host, phase, gathered, calls, http).await;
        let (host, ..) = midway.end().await;
        for worker in [0, 1] {
            assert_eq!(host.look(worker).await["loaded"], 1);
        }
    }
}

async fn check(
    host: &Started,
    phase: Phase,
    gathered: JoinHandle<Value>,
    calls: Vec<JoinHandle<Value>>,
    http: JoinHandle<crate::harness::Answer>,
) {
    let loaded = u64::from(phase != Phase::Preparing);
    let entries = gathered.await.unwrap();
    let entries = entries.as_array().unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, worker) in entries.iter().zip(["worker-0", "worker-1"]) {
        let told = json_of(&entry["reply"]);
        assert_eq!((&entry["isolate"], &told["loaded"]), (&json!(worker), &json!(loaded)), "{entry}");
        // The gather started after the broadcast that was emitted before it.
        assert_eq!(told["heard"], 2, "{entry}");
    }
    for call in calls {
        let answer = json_of(&call.await.unwrap());
        let counted: Value = serde_json::from_str(answer["ok"]["payload"].as_str().unwrap()).unwrap();
        assert_eq!(counted["loaded"], loaded, "{answer}");
    }
    let http = http.await.unwrap();
    assert_eq!((http.status, &http.json()["loaded"]), (200, &json!(loaded)));
    let looks = [host.look(0).await, host.look(1).await];
    let counts: u64 = looks.iter().map(|look| look["count"].as_u64().unwrap()).sum();
    assert_eq!(counts, 2 + 4 + 1, "{looks:?}");
    assert!(looks.iter().all(|look| look["heard"] == 2), "{looks:?}");
}

#[tokio::test]
async fn calls_are_answered_while_the_new_generation_is_prepared() {
    serves_in(Phase::Preparing).await;
}

#[tokio::test]
async fn calls_are_answered_while_the_swap_waits_for_a_running_call() {
    serves_in(Phase::Quiescing).await;
}

#[tokio::test]
async fn calls_are_answered_while_the_old_instances_save() {
    serves_in(Phase::Saving).await;
}

#[tokio::test]
async fn calls_are_answered_while_the_new_instances_load() {
    serves_in(Phase::Loading).await;
}

#[tokio::test]
async fn calls_are_answered_while_an_old_instance_drains() {
    serves_in(Phase::Draining).await;
}

/// Lets a call that started before the hold call `route`, and returns the answers.
async fn nested_answers(phase: Phase, payload: Value, route: &str) -> (Started, Vec<Value>) {
    let midway = phase.reach(json!({ "route": route, "payload": payload })).await;
    let (host, reload, running) = midway.end().await;
    let running = running.unwrap();
    assert_eq!(running["status"], 200, "{running} {reload}");
    let answer = json_of(&running);
    let told = match answer.as_array() {
        Some(entries) => entries.iter().map(|entry| entry["outcome"].clone()).collect(),
        None if answer.get("ok").is_some() => vec![answer],
        None => return (host, vec![answer]),
    };
    let told = told.iter().map(|end| serde_json::from_str(end["ok"]["payload"].as_str().unwrap()).unwrap());
    (host, told.collect())
}

#[tokio::test]
async fn a_call_that_a_running_call_waits_for_passes_the_hold_and_runs_in_the_old_instance() {
    let (to_itself, through_waits, to_all) = (
        (json!(null), "/count"),
        (
            json!({ "route": "waits/nested", "payload": { "route": "snapshot/count", "target": { "worker": 0 } } }),
            "/nested",
        ),
        (json!({ "name": "mark" }), "/gather"),
    );
    let (host, told) = nested_answers(Phase::Quiescing, to_itself.0, to_itself.1).await;
    assert_eq!((&told[0]["count"], &told[0]["loaded"]), (&json!(2), &json!(0)), "{told:?}");
    assert_eq!(host.look(0).await["count"], 2, "the count is saved");

    let midway = Phase::Quiescing.reach(json!({ "route": through_waits.1, "payload": through_waits.0 })).await;
    let (host, _, running) = midway.end().await;
    let outer = json_of(&running.unwrap());
    let inner: Value = serde_json::from_str(outer["ok"]["payload"].as_str().unwrap()).unwrap();
    let told: Value = serde_json::from_str(inner["ok"]["payload"].as_str().unwrap()).unwrap();
    assert_eq!((&told["count"], &told["loaded"]), (&json!(2), &json!(0)), "{told:?}");
    assert_eq!(host.look(0).await["count"], 2);

    let (host, told) = nested_answers(Phase::Quiescing, to_all.0, to_all.1).await;
    assert_eq!(told.len(), 2);
    for (worker, told) in (0..).zip(told) {
        assert_eq!((&told["heard"], &told["loaded"]), (&json!(1), &json!(0)), "{told}");
        assert_eq!(host.look(worker).await["heard"], 1);
    }
}

#[tokio::test]
async fn a_call_from_a_draining_instance_runs_in_the_new_one() {
    let (_, told) = nested_answers(Phase::Draining, json!(null), "/count").await;
    assert_eq!((&told[0]["count"], &told[0]["loaded"]), (&json!(2), &json!(1)), "{told:?}");
    let (host, told) = nested_answers(Phase::Draining, json!({ "name": "mark" }), "/gather").await;
    assert_eq!(told.len(), 2);
    for (worker, told) in (0..).zip(told) {
        assert_eq!((&told["heard"], &told["loaded"]), (&json!(1), &json!(1)), "{told}");
        assert_eq!(host.look(worker).await["heard"], 1);
    }
}

#[tokio::test]
async fn a_swap_that_is_requested_during_another_one_runs_after_it() {
    let host = patient(json!({})).start().await;
    let first_generation = host.generation("snapshot").await;
    host.rewrite("snapshot", json!({ "config": { "load": "waits" } }));
    let first = host.reloading("snapshot");
    for worker in [0, 1] {
        host.until_holding(worker, 1).await;
    }
    host.rewrite("snapshot", json!({ "config": { "padding": 1 } }));
    let second = host.reloading("snapshot");
    // This answer proves that the host has read the request for the second reload.
    assert_eq!(host.generation("snapshot").await, first_generation);
    assert!(!first.is_finished() && !second.is_finished());
    for worker in [0, 1] {
        host.release_waiting(worker).await;
    }
    let (first, second) = (first.await.unwrap(), second.await.unwrap());
    assert_eq!((&first["outcome"], &second["outcome"]), (&json!("swapped"), &json!("swapped")));
    assert_eq!(first["from"], first_generation);
    assert_eq!(first["generation"], second["from"]);
    assert_eq!(second["generation"], host.generation("snapshot").await);
    assert_eq!(host.look(0).await["loaded"], 1, "the state was handed over twice, each time to a new instance");
}
