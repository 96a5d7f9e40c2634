//! Schedules: when they run, where, and what a swap, a crash or a kill does to them.

mod by_hand;
mod commands;
pub mod missed;
mod moves;
mod runs;
mod swaps;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually, json_of};

/// A host with the guest `schedules`, and these schedules in its manifest.
fn scheduled(schedules: Value) -> TestHost {
    TestHost::with("schedules").manifest("schedules", json!({ "schedules": schedules }))
}

impl Started {
    /// The runs of schedules that have ended, in the order of their ends.
    pub async fn ended_runs(&self) -> Vec<Value> {
        self.events_named(&["scheduleRun"]).await
    }

    async fn until_ended(&self, count: usize) -> Vec<Value> {
        eventually("the runs have ended", || async { self.ended_runs().await.len() >= count }).await;
        self.ended_runs().await
    }

    /// The runs that the guest has recorded in a worker.
    async fn recorded_runs(&self, worker: u32) -> Vec<Value> {
        let runs = self.call(&format!("worker-{worker}"), "schedules", "runs", "").await;
        json_of(&runs).as_array().unwrap().clone()
    }

    pub async fn release_runs(&self, worker: u32) {
        self.call(&format!("worker-{worker}"), "schedules", "release", "").await;
    }

    async fn schedules(&self) -> Vec<Value> {
        self.admin("GET", "/v1/schedules", "").await.json().as_array().unwrap().clone()
    }

    /// The status of a schedule without a subdomain.
    pub async fn schedule(&self, name: &str) -> Value {
        let found = |one: &Value| one["name"] == name && one["subdomain"].is_null();
        self.schedules().await.into_iter().find(found).unwrap_or_default()
    }

    /// The number of due times of a schedule that the host says it has missed.
    async fn missed(&self, name: &str) -> u64 {
        self.schedule(name).await["missed"].as_u64().unwrap()
    }

    async fn run_by_hand(&self, query: &str, body: &str) -> Value {
        self.admin("POST", &format!("/v1/schedules/run?module=schedules&{query}"), body).await.json()
    }
}

/// The due times of runs.
fn due_times(runs: &[Value]) -> Vec<u64> {
    runs.iter().map(|run| run["due"].as_u64().unwrap()).collect()
}

/// Asserts that the runs are one for each multiple of an interval, from the first one to the last
/// one. On a machine that is busy for longer than the interval, the host may have missed as many as
/// it says.
fn assert_every_multiple_once(runs: &[Value], interval: u64, missed: u64) {
    let mut due = due_times(runs);
    due.sort_unstable();
    let ran = due.len() as u64;
    due.dedup();
    assert_eq!(due.len() as u64, ran, "a due time has run twice: {runs:?}");
    assert!(due.iter().all(|due| due % interval == 0), "{due:?}");
    let expected = (due[due.len() - 1] - due[0]) / interval + 1;
    assert!(
        ran + missed >= expected,
        "{ran} of {expected} due times have run, {missed} are counted as missed: {due:?}"
    );
}

/// Groups runs by their worker.
fn by_worker(runs: Vec<Value>) -> BTreeMap<u64, Vec<Value>> {
    let mut workers = BTreeMap::<u64, Vec<Value>>::new();
    for run in runs {
        workers.entry(run["worker"].as_u64().unwrap()).or_default().push(run);
    }
    workers
}
