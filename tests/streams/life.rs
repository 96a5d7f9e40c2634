//! Streams while modules are swapped, crash and are killed, and when the host stops.

use std::time::{Duration, Instant};

use fanfare::Stopped;
use fanfare::api::KillMode;
use serde_json::json;

use super::{changed_manifest, count, guest, host, path, publish};
use crate::harness::{EventStream, Started, TestHost, eventually};

/// Publishes numbers through the module, from several workers at once.
async fn publish_through(host: &Started, from: u64, number: u64) {
    let body = json!({ "key": "streams/feed", "from": from, "count": number }).to_string();
    let answer = host.post("/api/streams/burst", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
}

#[tokio::test]
async fn swaps_a_crash_and_kills_close_no_stream_and_lose_no_event() {
    let host = guest().start().await;
    let mut streams = Vec::new();
    for _ in 0..6 {
        streams.push(EventStream::open(host.http, &path("streams/feed")).await);
    }
    let mut published = 0;
    let mut next = async |count: u64| {
        publish_through(&host, published, count).await;
        published += count;
    };
    for swap in 0..20 {
        next(5).await;
        host.dir.write("modules/streams/module.json", changed_manifest(&host, swap));
        host.running().reload("streams").await.unwrap();
        next(5).await;
    }
    assert_eq!(host.post("/api/streams/trap", "").await.status, 500);
    next(10).await;
    for (kill, mode) in
        [KillMode::Graceful, KillMode::Immediate, KillMode::Graceful, KillMode::Immediate, KillMode::Graceful]
            .into_iter()
            .enumerate()
    {
        host.running().kill_workers((kill % 2 == 0).then_some(0), mode).await.unwrap();
        next(10).await;
    }
    assert_eq!(count(&host, Some("streams/feed")), 6);
    for stream in &mut streams {
        for number in 0..published {
            assert_eq!(stream.data().await, number.to_string());
        }
    }
    // A client that comes back after all of this continues where it was.
    let mut resumed = EventStream::resume(host.http, &path("streams/feed"), streams[0].last_id()).await;
    publish_through(&host, published, 1).await;
    assert_eq!(resumed.data().await, published.to_string());
}

#[tokio::test]
async fn a_stop_sends_what_waits_and_ends_all_streams() {
    let host = host().config(json!({ "shutdown": { "linger": "5s", "drain": "10s" } })).start().await;
    let mut streams = Vec::new();
    for number in 0..200 {
        streams.push(EventStream::open(host.http, &path(&format!("key-{}", number % 3))).await);
    }
    for number in 0..50 {
        host.running().publish_all(number.to_string()).unwrap();
    }
    // The stop does not wait for `shutdown.linger`, because all clients have left before.
    let begun = Instant::now();
    assert_eq!(host.stop().await, Stopped::Clean);
    assert!(begun.elapsed() < Duration::from_secs(4), "the stop took {:?}", begun.elapsed());
    for stream in &mut streams {
        assert_eq!(stream.rest().await, (0..50).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(stream.is_closed().await);
    }
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_client_that_reads_nothing() {
    let host = host().config(json!({ "sse": { "queue": { "bytes": "1GiB" } } })).start().await;
    let mut stuck = EventStream::open_small(host.http, &path("stuck")).await;
    for _ in 0..32 {
        publish(&host, "stuck", &"x".repeat(1 << 20));
    }
    assert_eq!(count(&host, None), 1);
    let begun = Instant::now();
    assert_eq!(host.stop().await, Stopped::Clean);
    assert!(begun.elapsed() < Duration::from_secs(4), "the stop took {:?}", begun.elapsed());
    assert!(stuck.until_cut().await.len() < 32);
}

#[tokio::test]
async fn a_host_that_stops_opens_no_streams_and_publishes_nothing() {
    // An idle connection delays the second step of the stop until `shutdown.linger` has passed.
    let host = TestHost::with("waits").config(json!({ "sse": {}, "shutdown": { "linger": "5s", "drain": "10s" } }));
    let host = host.start().await;
    let mut stream = EventStream::open(host.http, &path("a")).await;
    let mut idle = crate::harness::Connection::open(host.http).await;
    assert_eq!(idle.send("HEAD", "/stream", &[], "").await.status, 200);
    let address = host.http;
    let stopping = host.running();
    let stop = stopping.shutdown();
    let checks = async {
        assert_eq!(stream.rest().await, Vec::<String>::new());
        assert_eq!(stopping.publish("a", "x").unwrap_err().code(), "unavailable");
        assert_eq!(stopping.publish_all("x").unwrap_err().code(), "unavailable");
        let mut late = EventStream::try_resume(address, &path("a"), "").await;
        assert_eq!((late.status, late.event().await.unwrap().name().to_owned()), (200, "full".to_owned()));
        let answer = idle.send("GET", "/stream", &[("accept", "*/*")], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (503, "unavailable"));
        drop(idle);
    };
    let (stopped, ()) = tokio::join!(stop, checks);
    assert_eq!(stopped, Stopped::Clean);
}

#[tokio::test]
async fn a_destroyed_host_ends_its_streams() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("a")).await;
    host.running().destroy().await;
    assert!(stream.until_cut().await.is_empty());
    eventually("the socket is closed", || async { true }).await;
}
