//! Live streams of server-sent events.

mod access;
mod admission;
mod bursts;
pub mod chaos;
mod cors;
pub mod full;
mod guests;
mod hostile;
mod http2;
pub mod hub;
mod idle;
mod life;
pub mod open;
pub mod resume;
pub mod slow;
mod ways;
mod windows;

use serde_json::json;

use crate::harness::{Started, TestHost};

/// A host that serves streams, without modules.
fn host() -> TestHost {
    with(json!({}))
}

/// Like [`host`], with these settings of `sse`.
fn with(sse: serde_json::Value) -> TestHost {
    TestHost::empty().config(json!({ "sse": sse }))
}

/// A host with the module `streams`, which publishes.
fn guest() -> TestHost {
    TestHost::with("streams")
}

/// The manifest of the module `streams`, changed so that a reload swaps it.
fn changed_manifest(host: &Started, number: u32) -> String {
    let text = std::fs::read_to_string(host.dir.path().join("modules/streams/module.json")).unwrap();
    let mut manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    manifest["config"] = json!({ "swap": number });
    manifest.to_string()
}

/// Publishes as the embedding program, and returns the number of streams.
#[track_caller]
fn publish(host: &Started, key: &str, data: &str) -> u32 {
    host.running().publish(key, data).unwrap()
}

fn count(host: &Started, key: Option<&str>) -> u32 {
    host.running().stream_count(key)
}

/// The path of a key.
fn path(key: &str) -> String {
    format!("/stream?connectKey={key}")
}
