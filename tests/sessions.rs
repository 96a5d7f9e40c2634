//! Sessions of connected clients, over plain WebSockets: each function, hooks, filters, and what a
//! swap, a crash and a kill do to them.

mod access;
mod bindings;
mod blocking;
mod changes;
mod filters;
mod groups;
mod hooks;
mod messages;
mod other;
mod values;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, WebSocket};

const GUEST: &str = "sessions";

/// A host with the guest `sessions`, which may use all sessions.
fn granted() -> TestHost {
    TestHost::with(GUEST).grant(GUEST, json!({ "sessions": true }))
}

/// A host with the guest `sessions`, which may use only the sessions of its calls.
fn ungranted() -> TestHost {
    TestHost::with(GUEST).manifest(GUEST, json!({ "capabilities": { "sessions": false } }))
}

impl Started {
    /// Opens a socket of the guest.
    async fn socket(&self, path: &str) -> WebSocket {
        WebSocket::open(self.http, &format!("/api/{GUEST}/{path}")).await
    }

    /// Opens a socket whose messages call functions of `sessions`. Returns the id of its session.
    async fn client(&self) -> (WebSocket, String) {
        let mut socket = self.socket("use").await;
        let id = socket.ask(json!({ "do": "current" })).await["id"].as_str().unwrap().to_owned();
        (socket, id)
    }

    /// Calls a function of `sessions` without a session.
    async fn outside(&self, what: Value) -> Value {
        self.post(&format!("/api/{GUEST}/outside/use"), what.to_string()).await.json()
    }

    async fn sessions_seen(&self) -> Vec<Value> {
        let mut seen = Vec::new();
        for worker in 0..2 {
            let of_worker = self.run(worker, GUEST, "seen", Value::Null).await;
            seen.extend(of_worker.as_array().unwrap().iter().cloned());
        }
        seen
    }

    async fn swap_sessions(&self, version: u32) {
        self.rewrite(GUEST, json!({ "config": { "version": version } }));
        let swapped = self.reload(GUEST).await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }
}

/// The kind of error that a function has returned.
fn error(result: &Value) -> &str {
    result["error"].as_str().unwrap_or_else(|| panic!("no error: {result}"))
}
