//! The protocol of SocketCluster: its packets as clients see them, tokens, and the released clients
//! of both versions.

mod answers;
mod attacked;
pub mod chaos;
mod clients;
pub mod driver;
mod events;
mod flood;
mod handshake;
mod hostile;
pub mod limits;
mod lobby;
mod settings;
pub mod tokens;

use serde_json::{Value, json};

use crate::harness::{Started, TestHost, WebSocket, root};

const GUEST: &str = "sessions";

/// The paths of the listeners, by the version of their protocol.
pub const PATHS: [&str; 2] = ["/v1/", "/socketcluster/"];

/// The path of a file with a key. Those in PEM are those of the unit tests.
pub fn key(name: &str) -> String {
    let folder = if name.ends_with(".pem") { "host/src/triggers/websocket/auth/tests" } else { "tests/socketcluster" };
    root().join(folder).join(name).to_str().unwrap().to_owned()
}

/// The section `websocket` with a listener for each version, a key, and further settings.
fn settings(more: Value) -> Value {
    let mut settings = json!({
        "listeners": [
            { "path": PATHS[0], "protocol": 1, "module": GUEST },
            { "path": PATHS[1], "module": GUEST },
        ],
        "auth": { "keyFile": key("secret.txt") },
    });
    for (name, value) in more.as_object().unwrap() {
        settings[name] = value.clone();
    }
    settings
}

/// A host with these settings of `websocket`.
fn with(more: Value) -> TestHost {
    TestHost::with(GUEST).grant(GUEST, json!({ "sessions": true })).config(json!({ "websocket": settings(more) }))
}

/// A client that has sent no handshake.
async fn silent(host: &Started, version: usize) -> WebSocket {
    WebSocket::open(host.http, PATHS[version - 1]).await
}

/// A client with an open session.
async fn open(host: &Started, version: usize) -> WebSocket {
    let mut client = silent(host, version).await;
    let greeted = greet(&mut client, Value::Null).await;
    assert!(greeted["data"]["id"].is_string(), "{greeted}");
    client
}

/// Sends a handshake with a token, and returns the next message.
pub async fn greet(client: &mut WebSocket, token: Value) -> Value {
    client.ask(json!({ "event": "#handshake", "data": { "authToken": token }, "cid": 1 })).await
}

/// Sends an event and returns the answer.
async fn call(client: &mut WebSocket, name: &str, data: Value) -> Value {
    client.ask(json!({ "event": name, "data": data, "cid": 7 })).await
}

/// Calls a function of `sessions` in a call of the client, and returns its result.
async fn sessions(client: &mut WebSocket, what: Value) -> Value {
    let answer = call(client, "use", what).await;
    assert_eq!(answer["rid"], 7, "{answer}");
    answer["data"].clone()
}

impl Started {
    /// Calls a function of `sessions` without a session.
    async fn ask_over_http(&self, what: Value) -> Value {
        self.post(&format!("/api/{GUEST}/outside/use"), what.to_string()).await.json()
    }
}
