//! Helpers that tests of failures and limits share.

use serde_json::{Value, json};

use crate::harness::{Gate, Started, TestHost, eventually, json_of};

impl TestHost {
    /// Gives a module the capability to call routes of another module, and grants it.
    pub fn may_call(self, module: &str, other: &str) -> TestHost {
        let rpc = json!({ "rpc": [other] });
        self.manifest(module, json!({ "capabilities": rpc })).grant(module, rpc)
    }

    /// Makes restarts almost immediate, and allows at most `count` of them.
    pub fn max_restarts(self, count: u32) -> TestHost {
        self.config(json!({ "isolate": { "restartBackoff": "1ms", "maxRestarts": count } }))
    }

    /// Allows one immediate restart. The backoff of the next one is longer than any test.
    pub fn one_restart(self) -> TestHost {
        self.config(json!({ "isolate": { "restartBackoff": "1h", "restartBackoffMax": "1h" } }))
    }
}

impl Started {
    /// Waits until this key of a module's status in a worker has this value.
    pub async fn until(&self, module: &str, worker: usize, key: &str, value: impl Into<Value>) {
        let value = value.into();
        let what = format!("{key} of {module} in worker-{worker} is {value}");
        eventually(&what, || async { self.slot(module, worker).await[key] == value }).await;
    }

    pub async fn until_running(&self, module: &str, worker: usize, calls: u32) {
        self.until(module, worker, "inFlight", calls).await;
    }

    pub async fn until_waiting(&self, module: &str, worker: usize, calls: u32) {
        self.until(module, worker, "waiting", calls).await;
    }

    pub async fn until_restarted(&self, module: &str, worker: usize, times: u32) {
        self.until(module, worker, "restarts", times).await;
    }

    /// Calls `who`, which returns how often this instance has run it. A new instance starts at 1.
    pub async fn count(&self, target: &str, module: &str) -> u64 {
        json_of(&self.call(target, module, "who", "").await)["count"].as_u64().unwrap()
    }

    /// Returns the status of a module as a whole.
    pub async fn module(&self, name: &str) -> Value {
        let status = self.status().await;
        let mut modules = status["modules"].as_array().unwrap().iter();
        modules.find(|module| module["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    /// Returns the generation of a module, shortened as in logs and errors.
    pub async fn generation(&self, module: &str) -> String {
        self.module(module).await["generation"].as_str().unwrap()[..12].to_owned()
    }
}

/// Returns a closed gate that stops the calls of a handler.
pub fn gate_before(handler: &'static str) -> Gate {
    Gate::before(move |call| &*call.route.handler == handler)
}

/// Asserts that a text contains all these words.
#[track_caller]
pub fn assert_names(text: &Value, words: &[&str]) {
    let text = text.as_str().unwrap_or_else(|| panic!("no text: {text}"));
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}
