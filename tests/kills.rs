//! Kills give isolates new instances. No connection closes, and no call is lost that has not
//! started.

mod flat;
mod graceful;
mod hooks;
mod immediate;
mod overlap;
mod places;
mod policy;
mod refused;
pub mod settings;
mod stuck;
mod swaps;
mod traffic;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Started, TestHost};
use crate::swap::patient;

const MODES: [bool; 2] = [false, true];

impl Started {
    /// Kills workers as the operator, one or all. Returns the list of isolates, or a problem.
    pub async fn kill(&self, id: impl Into<Option<u32>>, immediate: bool) -> Value {
        self.killing(id, immediate).await.unwrap()
    }

    /// Starts a kill in the background.
    pub fn killing(&self, id: impl Into<Option<u32>>, immediate: bool) -> JoinHandle<Value> {
        self.asking("/v1/workers/kill".to_owned(), &json!({ "id": id.into(), "immediate": immediate }).to_string())
    }

    /// The host events with one of these types.
    pub async fn events_named(&self, types: &[&str]) -> Vec<Value> {
        let events = self.admin("GET", "/v1/events?follow=false", "").await.json();
        let mut events = events.as_array().unwrap().clone();
        events.retain(|event| types.iter().any(|name| event["type"] == *name));
        events
    }

    /// Counts in `snapshot` in one worker. Returns the new count, which is 1 in a new instance.
    pub async fn count_on(&self, worker: u32) -> u64 {
        self.run(worker, "snapshot", "count", Value::Null).await["count"].as_u64().unwrap()
    }

    /// Starts a call in `snapshot` in worker 0 that waits in `waits` in worker 1.
    pub async fn wait_elsewhere(&self) -> JoinHandle<Value> {
        let spec = json!({ "route": "waits/hold", "target": { "worker": 1 }, "payload": "kept" });
        let running = self.calling(0, "snapshot", "nested", spec);
        self.until_holding(1, 1).await;
        running
    }
}

/// `snapshot` and `waits` in two workers, with this `config` of `snapshot` and these `master`
/// settings.
fn killable(config: Value, master: Value) -> TestHost {
    patient(config).config(json!({ "master": master }))
}

/// The number of crashed calls in a list of killed isolates.
#[track_caller]
fn crashed(killed: &Value) -> u64 {
    let isolates = killed.as_array().unwrap_or_else(|| panic!("no list: {killed}"));
    let modules = isolates.iter().flat_map(|isolate| isolate["modules"].as_array().unwrap());
    modules.map(|module| module["crashed"].as_u64().unwrap()).sum()
}

/// The isolates in a list of killed isolates.
#[track_caller]
fn isolates(killed: &Value) -> Vec<String> {
    let isolates = killed.as_array().unwrap_or_else(|| panic!("no list: {killed}"));
    isolates.iter().map(|isolate| isolate["isolate"].as_str().unwrap().to_owned()).collect()
}
