//! Schedules while generations and instances change.

use std::time::Duration;

use serde_json::{Value, json};

use super::{assert_every_multiple_once, by_worker, due_times, scheduled};
use crate::harness::{Started, TestHost, eventually};

const INTERVAL: u64 = 40;

fn ticking(kind: &str, overlap: &str) -> TestHost {
    let schedule = json!({ "path": "tick", "interval": INTERVAL, "type": kind, "overlap": overlap });
    scheduled(json!({ "s": schedule })).limit("schedules", "timeout", "20s")
}

impl Started {
    /// Swaps to a generation with another configuration.
    async fn swap_to(&self, version: u32) {
        self.rewrite("schedules", json!({ "config": { "version": version } }));
        let swapped = self.reload("schedules").await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }

    /// Waits for the end of the runs that are due now, and returns all runs.
    async fn all_runs(&self) -> Vec<Value> {
        let last = due_times(&self.ended_runs().await).into_iter().max().unwrap_or(0);
        eventually("a later run has ended", || async {
            due_times(&self.ended_runs().await).into_iter().max().unwrap_or(0) > last
        })
        .await;
        let last = last + INTERVAL;
        let mut runs = self.ended_runs().await;
        // Later ones may still run.
        runs.retain(|run| run["due"].as_u64() < Some(last));
        runs
    }

    /// Asserts that the runs are complete, and that none was skipped.
    async fn assert_complete(&self, runs: &[Value]) {
        let status = self.schedule("s").await;
        assert_every_multiple_once(runs, INTERVAL, status["missed"].as_u64().unwrap());
        assert_eq!(status["skipped"], 0, "{status}");
    }
}

#[tokio::test]
async fn twenty_swaps_miss_and_double_no_run() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    for version in 1..=20 {
        host.swap_to(version).await;
    }
    let runs = host.all_runs().await;
    host.assert_complete(&runs).await;
    assert!(runs.iter().all(|run| run["success"] == true), "{runs:?}");
    // The guest, whose memory the swaps hand over, has seen the same.
    let mut recorded = [host.recorded_runs(0).await, host.recorded_runs(1).await].concat();
    recorded.sort_by_key(|run| run["due"].as_u64());
    host.assert_complete(&recorded).await;
    let versions: Vec<u64> = recorded.iter().filter_map(|run| run["version"].as_u64()).collect();
    assert!(versions.is_sorted() && versions.last() == Some(&20), "{versions:?}");
}

#[tokio::test]
async fn swaps_miss_and_double_no_run_in_any_worker() {
    let host = ticking("all", "allow").start().await;
    host.until_ended(4).await;
    for version in 1..=10 {
        host.swap_to(version).await;
    }
    let workers = by_worker(host.all_runs().await);
    assert_eq!(workers.len(), 2);
    for runs in workers.values() {
        host.assert_complete(runs).await;
    }
}

/// The hold lasts as long as `swap.quiesce`, because a call runs. What is due meanwhile runs after
/// it, in the new generation, which has another route for the schedule.
#[tokio::test]
async fn runs_that_wait_in_a_hold_run_after_it_with_the_new_route() {
    let host = ticking("worker", "allow").config(json!({ "swap": { "quiesce": "400ms" } })).workers(1);
    let waits = json!({ "path": "tick", "interval": "1h", "data": { "how": "waits" } });
    let host = host.manifest("schedules", json!({ "schedules": { "waits": waits } })).start().await;
    let waiting = host.asking("/v1/schedules/run?module=schedules&name=waits".to_owned(), "");
    eventually("it waits", || async { host.recorded_runs(0).await.iter().any(|run| run["name"] == "waits") }).await;
    let other = json!({ "path": "other", "interval": INTERVAL, "overlap": "allow" });
    host.rewrite("schedules", json!({ "schedules": { "s": other } }));
    let swapped = host.reload("schedules").await;
    assert_eq!((&swapped["outcome"], &swapped["running"]), (&json!("swapped"), &json!(1)));
    let runs = host.all_runs().await;
    host.assert_complete(&runs).await;
    let held: Vec<&Value> = runs.iter().filter(|run| run["runTime"].as_u64() >= Some(3 * INTERVAL)).collect();
    assert!(held.len() >= 3, "{runs:?}");
    let recorded = host.recorded_runs(0).await;
    for run in held {
        let found = recorded.iter().find(|recorded| recorded["run"] == run["id"]).unwrap();
        assert_eq!((&run["success"], &found["handler"]), (&json!(true), &json!("other")));
    }
    waiting.abort();
}

#[tokio::test]
async fn a_canary_does_not_double_a_run() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    let rollout = json!({ "canary": 1, "for": "600ms", "maxFailures": 0 });
    host.rewrite("schedules", json!({ "rollout": rollout, "config": { "version": 7 } }));
    assert_eq!(host.reload("schedules").await["outcome"], "swapped");
    let runs = host.all_runs().await;
    host.assert_complete(&runs).await;
    let recorded = host.recorded_runs(0).await;
    let versions = |worker: &[Value]| worker.iter().filter(|run| run["version"] == 7).count();
    assert!(versions(&recorded) >= 5, "the canary runs the schedule, too");
}

#[tokio::test]
async fn a_schedule_of_a_canary_alone_does_not_run_before_it_is_promoted() {
    let host = ticking("worker", "allow").start().await;
    let rollout = json!({ "canary": 1, "for": "400ms", "maxFailures": 0 });
    let new = json!({ "new": { "path": "other", "interval": 20 } });
    host.rewrite("schedules", json!({ "rollout": rollout, "schedules": new }));
    let reload = host.start_canary("schedules").await;
    assert_eq!(host.schedule("new").await, json!(null));
    reload.await.unwrap().unwrap();
    eventually("it runs", || async { host.schedule("new").await["succeeded"].as_u64() >= Some(2) }).await;
}

#[tokio::test]
async fn graceful_kills_miss_and_fail_no_run() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    for _ in 0..5 {
        host.kill(None, false).await;
    }
    let runs = host.all_runs().await;
    host.assert_complete(&runs).await;
    assert!(runs.iter().all(|run| run["success"] == true), "{runs:?}");
}

#[tokio::test]
async fn immediate_kills_and_crashes_miss_and_double_no_run() {
    let host = ticking("worker", "allow")
        .config(json!({ "isolate": { "restartBackoff": "20ms", "maxRestarts": 100 } }))
        .manifest("schedules", json!({ "schedules": { "crash": { "path": "tick", "interval": "1h" } } }))
        .start()
        .await;
    host.until_ended(2).await;
    for worker in [0, 1, 0, 1] {
        host.kill(worker, true).await;
        let crash = host.run_by_hand("name=crash", &json!({ "how": "traps" }).to_string()).await;
        assert_eq!(crash["code"], "crashed", "{crash}");
    }
    let mut runs = host.all_runs().await;
    runs.retain(|run| run["key"] == "schedules:s");
    host.assert_complete(&runs).await;
}

#[tokio::test]
async fn a_rollback_restores_the_schedules_of_the_previous_generation() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    host.rewrite(
        "schedules",
        json!({ "schedules": { "s": { "path": "tick", "interval": "1h" }, "t": { "path": "other", "interval": 20 } } }),
    );
    host.reload("schedules").await;
    eventually("the new one runs", || async { host.schedule("t").await["succeeded"].as_u64() >= Some(2) }).await;
    host.operate("modules/schedules/rollback").await;
    assert_eq!(host.schedule("t").await, json!(null));
    let before = host.schedule("s").await["succeeded"].as_u64().unwrap();
    eventually("it runs again", || async { host.schedule("s").await["succeeded"].as_u64() >= Some(before + 3) }).await;
    assert_eq!(host.schedule("s").await["interval"], INTERVAL);
}

#[tokio::test]
async fn removing_the_module_ends_its_schedules() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    std::fs::remove_dir_all(host.folder("schedules")).unwrap();
    host.reload("schedules").await;
    assert_eq!(host.schedules().await, Vec::<Value>::new());
    let removed = host.ended_runs().await.len();
    // Another module's schedule shows that time passes.
    let module = crate::embedding::memory::patched(
        "schedules",
        "later",
        json!({ "schedules": { "s": { "path": "tick", "interval": 20 } } }),
    );
    host.running().install(module).await.unwrap();
    let runs = host.until_ended(removed + 10).await;
    let of_removed = runs.iter().filter(|run| run["key"] == "schedules:s").count();
    // One run may have waited when the module was removed.
    assert!(of_removed <= removed + 1, "{of_removed} of {removed}");
}

#[tokio::test]
async fn a_schedule_is_disabled_and_enabled_while_the_host_runs() {
    let host = ticking("worker", "allow").watched().start().await;
    host.until_ended(2).await;
    let write = |disable: bool| {
        let mut settings = host.settings.clone();
        settings["modules"]["schedules"]["schedules"] = json!({ "s": { "disable": disable } });
        host.dir.write("fanfare.json", settings.to_string());
    };
    write(true);
    eventually("it is disabled", || async { host.schedule("s").await["state"] == "disabled" }).await;
    let status = host.schedule("s").await;
    assert_eq!((&status["reason"], &status["next"]), (&json!("`disable` is true"), &json!(null)));
    write(false);
    eventually("it is active", || async { host.schedule("s").await["state"] == "active" }).await;
    let enabled = host.schedule("s").await["succeeded"].as_u64().unwrap();
    eventually("it runs", || async { host.schedule("s").await["succeeded"].as_u64() >= Some(enabled + 2) }).await;
}

/// A second run of the host begins anew.
#[tokio::test]
async fn after_a_restart_nothing_is_made_up() {
    let host = ticking("worker", "allow").start().await;
    host.until_ended(2).await;
    let dir = host.leave().await;
    tokio::time::timeout(Duration::from_secs(20), async {
        let host = TestHost::empty().again(dir).start().await;
        let runs = host.until_ended(3).await;
        host.assert_complete(&runs).await;
    })
    .await
    .unwrap();
}
