//! Words that tests of failures and limits have in common.

use serde_json::{Value, json};

use crate::harness::{Gate, Started, TestHost, eventually, json_of};

impl TestHost {
    /// Lets a module call routes of another one: asked for and granted.
    pub fn may_call(self, module: &str, other: &str) -> TestHost {
        let rpc = json!({ "rpc": [other] });
        self.manifest(module, json!({ "capabilities": rpc })).grant(module, rpc)
    }

    /// Restarts at once, and at most so many times.
    pub fn max_restarts(self, count: u32) -> TestHost {
        self.config(json!({ "isolate": { "restartBackoff": "1ms", "maxRestarts": count } }))
    }

    /// The first restart comes at once, and no other.
    pub fn one_restart(self) -> TestHost {
        self.config(json!({ "isolate": { "restartBackoff": "1h", "restartBackoffMax": "1h" } }))
    }
}

impl Started {
    /// Waits until the status says this of a module in a worker.
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

    /// How often `who` has been asked in this instance: what a new one does not remember.
    pub async fn count(&self, target: &str, module: &str) -> u64 {
        json_of(&self.call(target, module, "who", "").await)["count"].as_u64().unwrap()
    }

    /// What the status says of a module as a whole.
    pub async fn module(&self, name: &str) -> Value {
        let status = self.status().await;
        let mut modules = status["modules"].as_array().unwrap().iter();
        modules.find(|module| module["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}")).clone()
    }

    /// The generation of a module, as logs and errors name it.
    pub async fn generation(&self, module: &str) -> String {
        self.module(module).await["generation"].as_str().unwrap()[..12].to_owned()
    }
}

/// In the way of the calls of a handler.
pub fn gate_before(handler: &'static str) -> Gate {
    Gate::before(move |call| &*call.route.handler == handler)
}

/// That a text has all these words.
#[track_caller]
pub fn assert_names(text: &Value, words: &[&str]) {
    let text = text.as_str().unwrap_or_else(|| panic!("no text: {text}"));
    for word in words {
        assert!(text.contains(word), "`{word}` is not in: {text}");
    }
}
