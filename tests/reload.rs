//! What asks for a reload, and what comes of it: changed files, the operator, guests, trials and rollbacks.

use std::fs;
use std::path::{Path, PathBuf};

use fanfare::SwapError;
use fanfare::api::Reloaded;
use fanfare::tooling::Want;
use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually, json_of};

mod canary;
mod config;
mod disk;
mod guests;
mod neighbours;
pub mod outcomes;
mod rollback;
pub mod watch;

/// A manifest of `echo` that has one route more.
fn with_route(path: &str) -> Value {
    json!({
        "component": "echo.wasm",
        "routes": [{ "method": "get", "path": "who", "handler": "who" }, { "method": "get", "path": path, "handler": "who" }],
    })
}

impl Started {
    /// A module's folder.
    fn folder(&self, module: &str) -> PathBuf {
        self.dir.path().join("modules").join(module)
    }

    /// Puts a file in its place at once.
    fn rename_in(&self, file: &Path, bytes: impl AsRef<[u8]>) {
        let beside = self.dir.write("beside", bytes);
        fs::rename(beside, file).unwrap();
    }

    /// Another manifest, in one step.
    fn put_manifest(&self, module: &str, manifest: &Value) {
        self.rename_in(&self.folder(module).join("module.json"), manifest.to_string());
    }

    /// Waits until a route answers.
    async fn until_served(&self, path: &str) {
        eventually(path, || async { self.get(path).await.status == 200 }).await;
    }

    /// A reload as the host's parts ask for it.
    async fn reload_with(&self, module: &str, want: Want) -> Result<Reloaded, SwapError> {
        self.running().swapper().reload(module, want).await
    }

    /// As the operator asks.
    async fn operate(&self, what: &str) -> Value {
        self.admin("POST", &format!("/v1/{what}"), "").await.json()
    }

    /// The generations of a module in its workers.
    async fn generations(&self, module: &str) -> Vec<Value> {
        let listed = self.module(module).await;
        listed["isolates"].as_array().unwrap().iter().map(|isolate| isolate["generation"].clone()).collect()
    }

    /// What the status notes of a module.
    async fn note(&self, module: &str) -> String {
        self.module(module).await["note"].as_str().unwrap_or_default().to_owned()
    }
}
