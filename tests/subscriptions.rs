//! Subscriptions: who receives events, in which order, and what a swap, a crash or a kill does to
//! them.

mod changes;
mod channels;
mod commands;
mod flood;
mod guests;
mod overflow;
mod receivers;
mod workers;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, eventually, json_of};

const GUEST: &str = "subscriptions";

/// The module that emits events, so that what happens to the receiver does not touch it.
const EMITTER: &str = "emitter";

/// A host with the guest `subscriptions`, and these subscriptions in its manifest. It and the
/// module `emitter` may emit every type.
fn subscribed(subscriptions: Value) -> TestHost {
    let (events, grant) = (json!({ "capabilities": { "events": ["*"] } }), json!({ "events": ["*"] }));
    TestHost::with(GUEST)
        .manifest(GUEST, json!({ "subscriptions": subscriptions }))
        .manifest(GUEST, events.clone())
        .grant(GUEST, grant.clone())
        .and_as(GUEST, EMITTER)
        .manifest(EMITTER, events)
        .grant(EMITTER, grant)
}

impl Started {
    /// Emits an event from worker 0.
    async fn emit_event(&self, kind: &str, value: Value) {
        self.emit_events(json!({ "type": kind, "value": value })).await;
    }

    async fn emit_events(&self, spec: Value) {
        let reply = self.call("worker-0", EMITTER, "emit", spec.to_string()).await;
        assert_eq!(reply["status"], 200, "{reply}");
    }

    /// The messages that the guest has recorded in a worker.
    async fn got(&self, worker: u32) -> Vec<Value> {
        let got = self.call(&format!("worker-{worker}"), GUEST, "got", "").await;
        json_of(&got).as_array().unwrap_or_else(|| panic!("{got}")).clone()
    }

    async fn release_messages(&self, worker: u32) {
        self.call(&format!("worker-{worker}"), GUEST, "release", "").await;
    }

    async fn all_subscriptions(&self) -> Vec<Value> {
        self.admin("GET", "/v1/subscriptions", "").await.json().as_array().unwrap().clone()
    }

    /// The status of a subscription of the manifest.
    pub async fn subscription(&self, name: &str) -> Value {
        let all = self.all_subscriptions().await;
        all.into_iter().find(|one| one["name"] == name && one["isolate"].is_null()).unwrap_or_default()
    }

    async fn until_handled(&self, name: &str, count: u64) -> Value {
        eventually("the messages were handled", || async {
            let one = self.subscription(name).await;
            one["delivered"].as_u64().unwrap_or(0) + one["failed"].as_u64().unwrap_or(0) >= count
        })
        .await;
        self.subscription(name).await
    }

    /// Swaps to a generation with another configuration.
    async fn swap_to_version(&self, version: u32) {
        self.rewrite(GUEST, json!({ "config": { "version": version } }));
        let swapped = self.reload(GUEST).await;
        assert_eq!(swapped["outcome"], "swapped", "{swapped}");
    }
}

/// The texts of recorded messages, by their types.
fn by_topic(got: &[Value]) -> BTreeMap<String, Vec<u64>> {
    let mut topics = BTreeMap::<String, Vec<u64>>::new();
    for message in got {
        let topic = message["topic"].as_str().unwrap().to_owned();
        topics.entry(topic).or_default().push(message["text"].as_str().unwrap().parse().unwrap());
    }
    topics
}

/// Asserts that each type's numbers increase.
fn assert_in_order(got: &[Value]) {
    for (topic, numbers) in by_topic(got) {
        assert!(numbers.is_sorted_by(|one, next| one < next), "{topic}: {numbers:?}");
    }
}

/// The numbers of all messages, sorted.
fn numbers(got: &[Value]) -> Vec<u64> {
    let mut all: Vec<u64> = by_topic(got).into_values().flatten().collect();
    all.sort_unstable();
    all
}
