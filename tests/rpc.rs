//! RPC between guests: targets, route names and outcomes.

mod deadlines;
mod outcomes;
mod payloads;
mod peers;
mod places;
mod routes;
mod serial;

use serde_json::Value;

use crate::harness::json_of;

/// The kind of a nested call's error, or `ok`.
pub fn end(ended: &Value) -> &str {
    match ended.get("ok") {
        Some(_) => "ok",
        None => ended["error"]["kind"].as_str().unwrap_or_else(|| panic!("no outcome: {ended}")),
    }
}

/// The message of a nested call's error.
pub fn message(ended: &Value) -> &str {
    ended["error"]["message"].as_str().unwrap_or_else(|| panic!("no error: {ended}"))
}

/// The JSON in the reply of a nested call.
pub fn replied(ended: &Value) -> Value {
    json_of(&ended["ok"])
}
