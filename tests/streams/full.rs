//! What clients get when there is no room for them.

use serde_json::json;

use super::{count, path, publish, with};
use crate::harness::{Answer, EventStream, Started, eventually};

/// Asserts that the host turns clients away so that they come back.
pub async fn assert_full(host: &Started, key: &str, detail: &str) {
    let mut turned_away = EventStream::try_resume(host.http, &path(key), "").await;
    assert_eq!((turned_away.status, turned_away.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(turned_away.header("connection"), Some("close"));
    let event = turned_away.event().await.unwrap();
    assert_eq!((event.name(), event.data.as_deref(), event.retry), ("full", Some(""), Some(5_000)));
    assert_eq!(event.id, None);
    assert!(turned_away.rest().await.is_empty() && turned_away.is_closed().await);
    for accept in ["*/*", "text/*"] {
        let answer: Answer = host.request("GET", &path(key), &[("accept", accept)], "").await;
        assert_eq!(
            (answer.status, answer.code().as_str(), answer.header("retry-after")),
            (503, "overloaded", Some("5"))
        );
        assert!(answer.text().contains(detail), "{}", answer.text());
    }
}

#[tokio::test]
pub async fn a_client_beyond_max_clients_is_turned_away() {
    let host = with(json!({ "maxClients": 3 })).start().await;
    let mut open = Vec::new();
    for key in ["a", "b", "c"] {
        open.push(EventStream::open(host.http, &path(key)).await);
    }
    assert_full(&host, "d", "serves 3 streams").await;
    // Those that are turned away count for nobody, and disturb nobody.
    assert_eq!((count(&host, None), count(&host, Some("d"))), (3, 0));
    publish(&host, "a", "still here");
    assert_eq!(open[0].data().await, "still here");
    open.pop();
    eventually("the place is free", || async { count(&host, None) == 2 }).await;
    EventStream::open(host.http, &path("d")).await;
}

#[tokio::test]
async fn idle_streams_leave_connections_for_requests() {
    let host = with(json!({})).config(json!({ "http": { "maxConnections": 5 } })).start().await;
    let mut open = Vec::new();
    for _ in 0..4 {
        open.push(EventStream::open(host.http, &path("a")).await);
    }
    assert_full(&host, "a", "serves 4 streams").await;
    assert_eq!((host.get("/api/none/x").await.status, count(&host, None)), (404, 4));
}

#[tokio::test]
pub async fn a_client_beyond_max_clients_per_key_is_turned_away() {
    let host = with(json!({ "maxClientsPerKey": 2 })).start().await;
    let _open = [EventStream::open(host.http, &path("a")).await, EventStream::open(host.http, &path("a")).await];
    assert_full(&host, "a", "2 streams of this key").await;
    EventStream::open(host.http, &path("b")).await;
}
