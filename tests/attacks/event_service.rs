//! Clients of the event service that take connections and say nothing.

use futures_util::future::join_all;
use serde_json::json;
use tokio::net::TcpStream;

use crate::harness::{TestHost, eventually};

/// The connections beyond `events.maxConnections` that get a response.
const REFUSED: usize = 64;

#[tokio::test]
async fn silent_clients_of_the_event_service_leave_connections_to_other_clients() {
    let most = 4;
    let host = TestHost::with("echo").config(json!({
        "events": { "listen": "127.0.0.1:0", "maxConnections": most },
        "http": { "maxConnections": 200, "headerTimeout": "10m" },
    }));
    let host = host.start().await;
    let service = host.events.unwrap();
    // More than `http.maxConnections`, and none of them says anything.
    let further = 500;
    let clients = (0..most + REFUSED + further).map(|_| async { TcpStream::connect(service).await.unwrap() });
    let clients = join_all(clients).await;
    eventually("the further ones are closed, and the others stay", || async {
        let refused = host.metric("fanfare_events_refused_total", &["connections"]).await;
        let open = host.metric("fanfare_http_connections", &[]).await;
        (refused, open) == (further as f64, (most + REFUSED) as f64)
    })
    .await;
    assert_eq!(host.post("/api/echo/echo", "hello").await.text(), "hello", "other clients are served");
    drop(clients);
}
