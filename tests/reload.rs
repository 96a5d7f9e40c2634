//! Reloads by changed files, the operator and guests; canaries and rollbacks.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fanfare::SwapError;
use fanfare::api::Reloaded;
use fanfare::tooling::ReloadOptions;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::harness::{Started, TestHost, eventually, json_of, section, source_of, vector};

pub mod canary;
mod config;
mod disk;
mod guests;
mod neighbours;
pub mod outcomes;
mod rollback;
mod streams;
pub mod watch;

/// A manifest of `echo` with one more route.
fn with_route(path: &str) -> Value {
    json!({
        "component": "echo.wasm",
        "routes": [{ "method": "get", "path": "who", "handler": "who" }, { "method": "get", "path": path, "handler": "who" }],
    })
}

/// The component of a guest with a new digest, so that it has to be compiled.
pub fn never_compiled(guest: &str) -> Vec<u8> {
    let component = fs::read(source_of(guest).join(format!("{guest}.wasm"))).unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let name = vector(b"test".iter().map(|byte| [*byte]));
    [component, section(0, [name, format!("{}-{now}", std::process::id()).into_bytes()].concat())].concat()
}

/// Starts a reload in the background.
fn reloading(host: &Started, module: &str) -> JoinHandle<Result<Reloaded, SwapError>> {
    tokio::spawn(host.running().swapper().reload(module, ReloadOptions::CHANGE))
}

impl Started {
    /// A module's folder.
    pub fn folder(&self, module: &str) -> PathBuf {
        self.dir.path().join("modules").join(module)
    }

    /// Replaces a file by rename.
    fn rename_in(&self, file: &Path, bytes: impl AsRef<[u8]>) {
        let new = self.dir.write("new", bytes);
        fs::rename(new, file).unwrap();
    }

    /// Replaces the manifest by rename.
    pub fn put_manifest(&self, module: &str, manifest: &Value) {
        self.rename_in(&self.folder(module).join("module.json"), manifest.to_string());
    }

    /// Waits until a route responds with 200.
    async fn until_served(&self, path: &str) {
        eventually(path, || async { self.get(path).await.status == 200 }).await;
    }

    /// A reload through the host's own interface.
    async fn reload_with(&self, module: &str, options: ReloadOptions) -> Result<Reloaded, SwapError> {
        self.running().swapper().reload(module, options).await
    }

    /// A request of the operator.
    pub async fn operate(&self, what: &str) -> Value {
        self.admin("POST", &format!("/v1/{what}"), "").await.json()
    }

    /// The generations of a module in its workers.
    pub async fn generations(&self, module: &str) -> Vec<Value> {
        let listed = self.module(module).await;
        listed["isolates"].as_array().unwrap().iter().map(|isolate| isolate["generation"].clone()).collect()
    }

    /// The note about a module in the status.
    async fn note(&self, module: &str) -> String {
        self.module(module).await["note"].as_str().unwrap_or_default().to_owned()
    }
}
