//! Schedules that make up for missed due times, on a host without a cluster.

use rustix::process::Signal;
use serde_json::{Value, json};

use super::{assert_every_multiple_once, due_times, scheduled};
use crate::cli::project::{Project, Serving};
use crate::harness::{TempDir, eventually};

/// A project with the schedule `once`, which has these settings as well.
pub fn project(settings: Value) -> Project {
    let project = Project::with(&["schedules"]);
    let mut manifest: Value = serde_json::from_str(&project.read("modules/schedules/module.json")).unwrap();
    let mut schedule = json!({ "path": "tick", "missed": "run-once", "backoff": "10ms" });
    schedule.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    manifest["schedules"] = json!({ "once": schedule });
    project.file("modules/schedules/module.json", manifest.to_string())
}

impl Serving {
    /// The status of the schedule `once`.
    pub async fn once(&self) -> Value {
        self.operator("GET", "/v1/schedules").await.json()[0].clone()
    }

    /// The runs that have ended.
    pub async fn runs(&self) -> Vec<Value> {
        let events = self.operator("GET", "/v1/events?follow=false").await.json();
        events.as_array().unwrap().iter().filter(|event| event["type"] == "scheduleRun").cloned().collect()
    }

    /// Ends the runs that wait.
    pub async fn release(&self) {
        for worker in [0, 1] {
            let path = format!("/v1/modules/schedules/call?target=worker-{worker}&path=release");
            self.operator("POST", &path).await;
        }
    }

    pub async fn kill(mut self) {
        self.signal(Signal::KILL);
        self.ended().await;
    }
}

const STORED: &str = "schedules/schedules.json";

fn stored(project: &Project) -> Option<u64> {
    let text = std::fs::read_to_string(project.path().join(TempDir::STATE).join(STORED)).ok()?;
    serde_json::from_str::<Value>(&text).ok()?[0]["done"].as_u64()
}

/// Lets the time pass in which these due times are missed.
fn owe(project: &Project, ms: u64) {
    let file = project.path().join(TempDir::STATE).join(STORED);
    let mut text: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    text[0]["done"] = (text[0]["done"].as_u64().unwrap() - ms).into();
    std::fs::write(file, text.to_string()).unwrap();
}

const DAY: u64 = 86_400_000;

#[tokio::test]
async fn due_times_while_the_host_is_down_cause_one_run_at_its_next_start() {
    let project = project(json!({ "interval": "24h" }));
    let host = project.serve(&[]).await;
    eventually("it begins to remember", || async { stored(&project).is_some() }).await;
    let last = stored(&project).unwrap();
    assert_eq!((last % DAY, host.runs().await.len()), (0, 0), "nothing is owed from before its first start");
    host.kill().await;
    owe(&project, 10 * DAY);
    let host = project.serve(&[]).await;
    eventually("it runs", || async { !host.runs().await.is_empty() }).await;
    eventually("its end is written", || async { stored(&project) >= Some(last) }).await;
    let status = host.once().await;
    assert_eq!((&status["missed"], &status["madeUp"], &status["succeeded"]), (&json!(10), &json!(1), &json!(1)));
    assert_eq!(due_times(&host.runs().await), [last]);
    assert_eq!(host.metric("fanfare_schedule_made_up_total", &["schedule=\"once\""]).await, 1.0);
    let written = stored(&project);
    host.kill().await;
    // Nothing is owed now.
    let host = project.serve(&[]).await;
    let asked = || async { host.once().await["next"].as_u64() == Some(last + DAY) };
    eventually("it serves", asked).await;
    assert_eq!(host.stop().await.0, Some(0));
    assert_eq!(stored(&project), written);
}

#[tokio::test]
async fn a_run_that_a_kill_of_the_host_ends_is_owed() {
    let project = project(json!({ "interval": "24h", "data": { "how": "waits" } }));
    let host = project.serve(&[]).await;
    eventually("it begins to remember", || async { stored(&project).is_some() }).await;
    let last = stored(&project).unwrap();
    host.kill().await;
    owe(&project, DAY);
    for _ in 0..2 {
        let host = project.serve(&[]).await;
        eventually("it runs", || async { host.once().await["running"] == 1 }).await;
        assert_eq!(stored(&project), Some(last - DAY));
        host.kill().await;
    }
    let host = project.serve(&[]).await;
    eventually("it runs", || async { host.once().await["running"] == 1 }).await;
    eventually("it ends", || async {
        host.release().await;
        host.runs().await.len() == 1
    })
    .await;
    eventually("its end is written", || async { stored(&project) >= Some(last) }).await;
    assert_eq!(host.once().await["madeUp"], 1);
}

#[tokio::test]
async fn a_host_that_is_away_for_some_due_times_loses_none_and_doubles_none() {
    let interval = 500;
    let project = project(json!({ "interval": interval }));
    let host = project.serve(&[]).await;
    eventually("it runs", || async { host.runs().await.len() >= 2 }).await;
    let mut runs = host.runs().await;
    host.kill().await;
    let away = std::time::Instant::now();
    eventually("due times pass", || async { away.elapsed().as_millis() >= 3 * interval }).await;
    let host = project.serve(&[]).await;
    eventually("it runs", || async { host.runs().await.len() >= 3 }).await;
    let status = host.once().await;
    assert_eq!(status["madeUp"], 1, "{status}");
    assert!(status["missed"].as_u64() >= Some(2), "{status}");
    let again = host.runs().await;
    // The last run before the kill may not have been read.
    let missed = status["missed"].as_u64().unwrap() + 1;
    runs.extend(again);
    assert_every_multiple_once(&runs, interval as u64, missed);
}

#[tokio::test]
async fn swaps_lose_no_run_and_double_none() {
    let interval = 100;
    let once = json!({ "path": "tick", "interval": interval, "missed": "run-once" });
    let host = scheduled(json!({ "once": once })).start().await;
    for version in 1..=5 {
        let before = host.ended_runs().await.len();
        eventually("it runs", || async { host.ended_runs().await.len() > before }).await;
        host.rewrite("schedules", json!({ "config": { "version": version } }));
        assert_eq!(host.reload("schedules").await["outcome"], "swapped");
    }
    let status = host.schedule("once").await;
    let not_run = status["missed"].as_u64().unwrap() + status["skipped"].as_u64().unwrap();
    assert_every_multiple_once(&host.ended_runs().await, interval, not_run);
}

#[tokio::test]
async fn a_run_that_fails_or_crashes_runs_again_and_is_given_up_after_its_attempts() {
    for how in ["fails", "traps", "status"] {
        let once = json!({
            "path": "tick", "immediate": true, "missed": "run-once", "attempts": 3, "backoff": "10ms",
            "data": { "how": how },
        });
        let host = scheduled(json!({ "once": once })).start().await;
        eventually("it is given up", || async { !host.events_named(&["scheduleGivenUp"]).await.is_empty() }).await;
        let runs = host.ended_runs().await;
        assert_eq!(runs.len(), 3, "{runs:?}");
        assert!(runs.iter().all(|run| run["id"] == runs[0]["id"] && run["success"] == false), "{runs:?}");
        let given_up = host.events_named(&["scheduleGivenUp"]).await;
        assert_eq!(given_up.len(), 1);
        assert_eq!((&given_up[0]["key"], &given_up[0]["tries"]), (&json!("schedules:once"), &json!(3)));
        assert_eq!(given_up[0]["reason"], runs[2]["message"]);
        let status = host.schedule("once").await;
        assert_eq!((&status["failed"], &status["givenUp"]), (&json!(3), &json!(1)));
        assert_eq!(host.metric("fanfare_schedule_retried_total", &[]).await, 2.0);
        assert_eq!(host.metric("fanfare_schedule_given_up_total", &[]).await, 1.0);
    }
}
