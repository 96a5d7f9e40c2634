//! Redis: messages for subscriptions and from guests, over restarts, freezes and refusals of a real
//! server.

pub mod access;
pub mod away;
mod browser;
mod flood;
pub mod publishing;
mod receiving;
pub mod refusals;
mod stores;
pub mod streams;

use serde_json::{Value, json};

use crate::harness::{Redis, Started, TestHost, eventually, json_of};

pub const GUEST: &str = "subscriptions";

/// A host that is connected to a server, with the guest `subscriptions`, and these subscriptions in
/// its manifest. The guest may use every topic.
fn connected(redis: &Redis, subscriptions: Value) -> TestHost {
    let all = json!({ "publish": ["*"], "subscribe": ["*"], "sse": ["*"] });
    TestHost::with(GUEST)
        .manifest(GUEST, json!({ "subscriptions": subscriptions, "capabilities": { "publish": ["*"] } }))
        .grant(GUEST, all)
        .config(json!({ "redis": redis.settings() }))
}

impl Started {
    /// The messages that the guest has recorded in a worker, as topic and text.
    pub async fn messages(&self, worker: u32) -> Vec<(String, String)> {
        let got = self.call(&format!("worker-{worker}"), GUEST, "got", "").await;
        let got = json_of(&got);
        let text = |message: &Value, key: &str| message[key].as_str().unwrap_or_default().to_owned();
        got.as_array()
            .unwrap_or_else(|| panic!("{got}"))
            .iter()
            .map(|one| (text(one, "topic"), text(one, "text")))
            .collect()
    }

    /// The texts of the messages of all workers, in any order of the workers.
    pub async fn texts(&self, workers: u32) -> Vec<String> {
        let mut texts = Vec::new();
        for worker in 0..workers {
            texts.extend(self.messages(worker).await.into_iter().map(|(_, text)| text));
        }
        texts
    }

    /// The status of a connection.
    async fn connection(&self, name: &str) -> Value {
        let status = self.status().await;
        let all = status["redis"].as_array().unwrap_or_else(|| panic!("{status}"));
        all.iter().find(|one| one["name"] == name).cloned().unwrap_or_default()
    }

    /// Waits until no reason is left in the status of the connection.
    async fn until_no_reasons(&self) {
        eventually("no reason is left", || async { self.connection("default").await["reasons"] == json!([]) }).await;
    }

    async fn until_connection_is(&self, state: &str) {
        eventually(&format!("the connection is {state}"), || async {
            self.connection("default").await["state"] == state
        })
        .await;
    }

    /// Publishes from the guest. Returns the answer of the call.
    pub async fn publish_message(&self, connection: &str, topic: &str, text: &str) -> Value {
        let spec = json!({ "connection": connection, "topic": topic, "text": text });
        self.call("worker-0", GUEST, "publish", spec.to_string()).await
    }
}
