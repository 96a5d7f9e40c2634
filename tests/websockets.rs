//! The transport of WebSockets: how they open, what clients may not do, slow and silent clients,
//! and the stop of the host. What modules do with sessions is in `sessions`.

mod conformance;
mod hostile;
mod idle;
pub mod limits;
mod open;
mod removed;
pub mod slow;
mod stop;

use serde_json::json;

use crate::harness::websocket::{CLOSE, PATIENCE, PING};
use crate::harness::{Started, TestHost, WebSocket};

const GUEST: &str = "sessions";

/// A host with the guest `sessions` and these settings of `websocket`.
fn with(websocket: serde_json::Value) -> TestHost {
    TestHost::with(GUEST).grant(GUEST, json!({ "sessions": true })).config(json!({ "websocket": websocket }))
}

fn path(socket: &str) -> String {
    format!("/api/{GUEST}/{socket}")
}

/// Waits until the host closes the socket of a client that answers no ping. Returns whether it was
/// pinged, and the code.
async fn closed_without_answers(socket: &mut WebSocket) -> (bool, u16) {
    let mut is_pinged = false;
    let closed = async {
        loop {
            match socket.next_frame().await.expect("a Close frame") {
                (_, PING, _) => is_pinged = true,
                (_, CLOSE, payload) => break u16::from_be_bytes([payload[0], payload[1]]),
                other => panic!("{other:?}"),
            }
        }
    };
    let code = tokio::time::timeout(PATIENCE, closed).await.expect("a Close frame, not only pings");
    (is_pinged, code)
}

impl Started {
    async fn web_socket(&self, socket: &str) -> WebSocket {
        WebSocket::open(self.http, &path(socket)).await
    }

    /// The WebSockets that the host has closed with a code.
    async fn closed_with(&self, code: &str) -> f64 {
        self.metric("fanfare_websocket_closed_total", &[&format!("code=\"{code}\"")]).await
    }

    async fn open_sockets(&self) -> f64 {
        self.metric("fanfare_websocket_connections", &[]).await
    }
}
