//! The bounds that all streams share.

use serde_json::json;

use super::full::assert_full;
use super::{count, path, publish, with};
use crate::harness::{EventStream, TestHost, eventually};

fn with_hub(hub: serde_json::Value, sse: serde_json::Value) -> TestHost {
    with(sse).config(json!({ "hub": hub }))
}

#[tokio::test]
pub async fn clients_beyond_hub_topics_are_turned_away_and_counted() {
    let host = with_hub(json!({ "topics": 2 }), json!({})).start().await;
    let _open = [EventStream::open(host.http, &path("a")).await, EventStream::open(host.http, &path("b")).await];
    assert_full(&host, "c", "hub.topics").await;
    let refused = host.metric("fanfare_hub_refused_total", &["bound=\"topics\""]).await;
    assert_eq!((refused, host.metric("fanfare_hub_topics ", &[]).await), (3.0, 2.0));
    assert_eq!(publish(&host, "c", "nobody listens, and nothing is kept"), 0);
    EventStream::open(host.http, &path("a")).await;
}

#[tokio::test]
async fn a_reader_of_a_new_key_displaces_the_idle_history_of_another_key() {
    let host = with_hub(json!({ "topics": 2 }), json!({})).start().await;
    let mut first = EventStream::open(host.http, &path("a")).await;
    publish(&host, "a", "1");
    assert_eq!(first.data().await, "1");
    let last_id = first.last_id().to_owned();
    drop(first);
    eventually("the reader has left", || async { count(&host, None) == 0 }).await;
    publish(&host, "a", "2");
    publish(&host, "b", "3");
    let mut new = EventStream::open(host.http, &path("new")).await;
    publish(&host, "new", "4");
    assert_eq!(new.data().await, "4");
    let metric = || host.metric("fanfare_hub_evicted_topics_total", &[]);
    assert_eq!((metric().await, host.metric("fanfare_hub_topics ", &[]).await), (1.0, 2.0));
    // The reader of `a` learns that it has missed something. Its key displaces `b`.
    let mut returned = EventStream::resume(host.http, &path("a"), &last_id).await;
    assert_eq!(returned.event().await.unwrap().name(), "reset");
    publish(&host, "a", "5");
    assert_eq!((returned.data().await, metric().await), ("5".into(), 2.0));
    assert_full(&host, "b", "hub.topics").await;
}

#[tokio::test]
pub async fn beyond_hub_history_the_oldest_event_of_the_largest_history_is_dropped() {
    let host = with_hub(json!({ "history": "64KiB" }), json!({ "history": { "bytes": "1GiB" } })).start().await;
    publish(&host, "small", "first");
    let evicted = || host.metric("fanfare_hub_evicted_total", &[]);
    let mut events = 0;
    while evicted().await == 0.0 {
        assert!(events < 100, "nothing is dropped");
        publish(&host, "large", &format!("{events} {}", "x".repeat(10_000)));
        events += 1;
    }
    assert!(host.metric("fanfare_hub_history_bytes ", &[]).await <= 65_536.0);
    let mut small = EventStream::resume(host.http, &path("small"), "unknown").await;
    assert_eq!(small.event().await.unwrap().name(), "reset");
    assert_eq!(small.data().await, "first");
    let mut large = EventStream::resume(host.http, &path("large"), "unknown").await;
    assert_eq!(large.event().await.unwrap().name(), "reset");
    let dropped = evicted().await;
    assert!(large.data().await.starts_with(&format!("{dropped} ")));
}

#[tokio::test]
pub async fn clients_that_do_not_read_are_cut_beyond_hub_queued_whatever_their_keys() {
    let sse = json!({ "history": 0, "queue": { "bytes": "1GiB" } });
    let host = with_hub(json!({ "queued": "256KiB" }), sse).start().await;
    let keys = ["a", "b", "c", "d"];
    let mut stuck = Vec::new();
    for key in keys {
        stuck.push(EventStream::open_small(host.http, &path(key)).await);
    }
    let slow = || host.metric("fanfare_hub_slow_clients_total", &["reason=\"hubQueued\""]);
    let event = "x".repeat(15_000);
    let mut published = 0.0;
    while slow().await == 0.0 {
        assert!(published < 40_000.0, "no client is cut");
        keys.into_iter().for_each(|key| _ = publish(&host, key, &event));
        published += 4.0;
        // `hub.queued` also bounds the inboxes of the workers, which must not be full here.
        eventually("the workers have taken the events", || async {
            host.metric("fanfare_hub_delivered_total", &[]).await >= published || slow().await > 0.0
        })
        .await;
    }
    eventually("the queues fit again", || async { host.metric("fanfare_hub_queued_bytes ", &[]).await <= 262_144.0 })
        .await;
    assert!(count(&host, None) < 4);
}
