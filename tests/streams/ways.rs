//! The ways of use in `docs/sse.md`, each with two readers in different workers.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{EventStream, Started, TestHost, root};

/// A host with one reader of this key in each worker.
async fn readers(key: &str) -> (Started, [EventStream; 2]) {
    let host = TestHost::with("ways").grant("ways", json!({ "sse": ["*"] })).start().await;
    let path = format!("/stream?connectKey={key}");
    let readers = [EventStream::open(host.http, &path).await, EventStream::open(host.http, &path).await];
    let status = host.status().await;
    assert_eq!([&status["isolates"][0]["clients"], &status["isolates"][1]["clients"]], [1, 1], "one in each worker");
    (host, readers)
}

/// Checks that each reader of this key receives exactly this event.
async fn assert_each_receives(host: &Started, key: &str, readers: &mut [EventStream; 2], event: &str, data: &Value) {
    assert_eq!(host.running().publish(key, "the next").unwrap(), 2);
    for reader in readers {
        let received = reader.event().await.expect("an event");
        let received_data: Value = serde_json::from_str(received.text()).unwrap_or_else(|_| received.text().into());
        assert_eq!((received.name(), &received_data), (event, data));
        assert_eq!(reader.data().await, "the next", "it arrives once");
    }
}

impl Started {
    async fn run_schedule(&self, name: &str) {
        let answer = self.admin("POST", &format!("/v1/schedules/run?module=ways&name={name}"), "").await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_schedule_of_the_type_all_publishes_in_each_worker_to_its_readers() {
    let (host, mut readers) = readers("ways/a").await;
    host.run_schedule("all").await;
    assert_each_receives(&host, "ways/a", &mut readers, "data", &json!({ "aa": 11 })).await;
}

#[tokio::test]
async fn a_schedule_of_the_type_worker_publishes_to_the_readers_of_all_workers() {
    let (host, mut readers) = readers("ways/a").await;
    for _ in 0..2 {
        host.run_schedule("one").await;
    }
    for reader in &mut readers {
        assert_eq!([reader.data().await, reader.data().await], [r#"{"aa":11}"#, r#"{"aa":11}"#]);
    }
}

#[tokio::test]
async fn a_broadcast_publishes_a_message_in_each_worker_to_its_readers() {
    let (host, mut readers) = readers("ways/a").await;
    assert_eq!(host.post("/api/ways/message", "hello").await.status, 204);
    for reader in &mut readers {
        let received = reader.event().await.expect("an event");
        assert_eq!((received.name(), received.text()), ("data", "hello"));
    }
    let entries = host.gather("ways", "message", "again").await;
    assert_eq!(entries.len(), 2);
    assert_each_receives(&host, "ways/a", &mut readers, "data", &json!("again")).await;
}

#[tokio::test]
async fn an_http_route_publishes_to_the_readers_of_all_workers() {
    let (host, mut readers) = readers("ways/a").await;
    let published = host.post("/api/ways/news/a", "hello").await;
    assert_eq!((published.status, published.text()), (200, "2"), "the number of readers");
    assert_eq!(host.post("/api/ways/news/b", "for nobody").await.text(), "0");
    assert_each_receives(&host, "ways/a", &mut readers, "news", &json!("hello")).await;
}

#[tokio::test]
async fn an_rpc_publishes_to_the_readers_of_all_workers() {
    let (host, mut readers) = readers("ways/orders/7").await;
    let order = json!({ "id": 7, "paid": true });
    assert_eq!(host.post("/api/ways/change", order.to_string()).await.status, 204);
    assert_each_receives(&host, "ways/orders/7", &mut readers, "order", &order).await;
}

/// The parts of a source file between the marks `// [name]` and `// [end]`.
fn parts(source: &str) -> Vec<(&str, &str)> {
    let marked = source.split("// [").skip(1).filter_map(|rest| rest.split_once("]\n"));
    marked
        .filter(|(name, _)| *name != "end")
        .map(|(name, rest)| (name, rest.split("// [end]").next().unwrap()))
        .collect()
}

#[test]
fn the_page_shows_the_code_that_these_tests_run() {
    let source = fs::read_to_string(root().join("tests/guests/ways/src/lib.rs")).unwrap();
    let page = fs::read_to_string(root().join("docs/sse.md")).unwrap();
    let parts = parts(&source);
    assert_eq!(parts.len(), 6);
    for (name, code) in parts {
        assert!(page.contains(&format!("```rust\n{code}```\n")), "docs/sse.md does not show this part: {name}\n{code}");
    }
}
