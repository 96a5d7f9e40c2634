//! Swaps replace the running generation and lose nothing.

mod changes;
mod crashes;
mod flat;
mod handover;
pub mod load;
mod outcomes;
mod phases;
mod places;
mod refused;
mod stuck;
mod traffic;

use std::fs;

use serde_json::{Value, json};
use tokio::task::JoinHandle;

pub use handover::{
    running_calls_get_quiesce_to_end, save_and_load_end_at_the_timeout, the_size_of_the_state_is_limited,
};

use crate::harness::{Connection, Started, TestHost, eventually, json_of, source_of};

impl Started {
    pub async fn reload(&self, module: &str) -> Value {
        self.admin("POST", &format!("/v1/modules/{module}/reload"), "").await.json()
    }

    /// Starts a reload in the background.
    pub fn reloading(&self, module: &str) -> JoinHandle<Value> {
        self.asking(format!("/v1/modules/{module}/reload"), "")
    }

    /// Starts a call of an inner route in the background.
    pub fn calling(&self, worker: u32, module: &str, path: &str, body: impl ToString) -> JoinHandle<Value> {
        self.asking(format!("/v1/modules/{module}/call?target=worker-{worker}&path={path}"), &body.to_string())
    }

    pub fn asking(&self, url: String, body: &str) -> JoinHandle<Value> {
        let (admin, body) = (self.admin, body.to_owned());
        tokio::spawn(async move { Connection::open(admin).await.send("POST", &url, &[], body).await.json() })
    }

    /// Replaces keys of the manifest on disk.
    pub fn rewrite(&self, module: &str, patch: Value) {
        let file = self.dir.path().join("modules").join(module).join("module.json");
        let mut manifest: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        for (key, value) in patch.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        self.put(module, "module.json", manifest.to_string().as_bytes());
    }

    /// Renames a new file into a module's folder.
    pub fn put(&self, module: &str, name: &str, bytes: &[u8]) {
        let new = self.dir.write(&format!("modules/{module}/{name}.new"), bytes);
        fs::rename(&new, new.with_file_name(name)).unwrap();
    }

    /// The state of `snapshot` in a worker.
    pub async fn look(&self, worker: u32) -> Value {
        json_of(&self.call(&format!("worker-{worker}"), "snapshot", "look", "").await)
    }

    /// Waits until this number of calls waits in `waits` in a worker.
    pub async fn until_holding(&self, worker: u32, count: u32) {
        let holding = || async { self.run(worker, "waits", "holding", Value::Null).await == count };
        eventually(&format!("{count} wait in worker {worker}"), holding).await;
    }

    /// Releases the call that waits in `waits` in a worker, once it has arrived.
    pub async fn release_waiting(&self, worker: u32) {
        self.until_holding(worker, 1).await;
        self.run(worker, "waits", "release", Value::Null).await;
    }

    /// Waits until a swap holds the calls of `snapshot`.
    pub async fn until_held(&self, worker: usize) {
        self.until("snapshot", worker, "held", true).await;
    }
}

/// The component of one of the test guests.
pub fn component(guest: &str) -> Vec<u8> {
    fs::read(source_of(guest).join(format!("{}.wasm", guest.replace('-', "_")))).unwrap()
}

async fn count(host: &Started) -> u64 {
    json_of(&host.call("worker-0", "snapshot", "count", "").await)["count"].as_u64().unwrap()
}

/// `snapshot` in one worker, with these `swap` settings.
fn swapping(swap: Value, config: Value) -> TestHost {
    let host = TestHost::with("snapshot").manifest("snapshot", json!({ "config": config })).workers(1);
    host.config(json!({ "swap": swap }))
}

/// `snapshot` with this config in two workers, and `waits`, in which calls wait. All timeouts are
/// long.
pub fn patient(config: Value) -> TestHost {
    let rights = json!({ "rpc": ["waits"] });
    let host = TestHost::waits_for(&["snapshot"]).grant("snapshot", rights.clone());
    let host = host.manifest("snapshot", json!({ "capabilities": rights, "config": config }));
    let host = host.limit("snapshot", "timeout", "30s").limit("waits", "timeout", "30s");
    host.config(json!({ "swap": { "quiesce": "20s", "timeout": "20s" } }))
}
