//! Channels: clients of SocketCluster, plain WebSockets and guests that publish and subscribe, with
//! routes in brokers, histories and presence.

pub mod client;
mod clients;
mod embedding;
mod guests;
mod histories;
mod hostile;
mod killed;
mod members;
pub mod open;
mod operator;
mod recovery;
mod routed;
pub mod trouble;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost};
pub use client::Client;

const GUEST: &str = "channels";

/// The paths of the listeners, by the version of their protocol.
pub const PATHS: [&str; 2] = ["/v1/", "/socketcluster/"];

/// A host with a listener for each version and two brokers, and further settings of `websocket`.
fn with(more: Value) -> TestHost {
    let mut websocket = json!({
        "listeners": [
            { "path": PATHS[0], "protocol": 1, "module": GUEST },
            { "path": PATHS[1], "module": GUEST },
        ],
    });
    for (name, value) in more.as_object().unwrap() {
        websocket[name] = value.clone();
    }
    let grants = json!({ "sessions": true, "channels": ["lobby/*"] });
    TestHost::with(GUEST).grant(GUEST, grants).config(json!({ "brokers": 2, "websocket": websocket }))
}

async fn host() -> Started {
    with(json!({})).start().await
}

impl Started {
    /// Calls a function of `channels` in a guest, and returns its result.
    async fn channels(&self, what: Value) -> Value {
        self.post(&format!("/api/{GUEST}/use"), what.to_string()).await.json()
    }

    /// Calls a route of the guest in the home of a channel.
    async fn at_home(&self, channel: &str, route: &str, body: Value) -> Value {
        let answer = self.post(&format!("/api/{GUEST}/home/{route}?channel={channel}"), body.to_string()).await;
        serde_json::from_slice(&answer.body).unwrap_or_default()
    }

    /// What the route of a channel was asked about: the actions, in order.
    async fn asked(&self, channel: &str) -> Vec<String> {
        let seen = self.at_home(channel, "seen", Value::Null).await;
        let seen = seen.as_array().unwrap_or_else(|| panic!("not a list: {seen}")).clone();
        let own = seen.into_iter().filter(|facts| facts["channel"] == channel);
        own.map(|facts| facts["action"].as_str().unwrap().to_owned()).collect()
    }
}
