//! HTTP/2: many requests at once on one connection.

use futures_util::future::join_all;
use serde_json::json;

use crate::harness::{Http2, Started, Stream, TestHost, eventually};

/// Returns the number of running calls of `waits` in each worker.
async fn running(host: &Started) -> [u64; 2] {
    let count = async |worker| host.slot("waits", worker).await["inFlight"].as_u64().unwrap();
    [count(0).await, count(1).await]
}

async fn release(host: &Started) {
    for worker in [0, 1] {
        host.run(worker, "waits", "release", serde_json::Value::Null).await;
    }
}

#[tokio::test]
async fn every_stream_gets_its_own_response() {
    let host = TestHost::with("echo").start().await;
    let client = Http2::connect(host.http).await;
    let streams = (0..2_000).map(|number| client.send("/api/echo/echo", number.to_string()));
    for (number, answer) in join_all(streams.map(Stream::answer)).await.into_iter().enumerate() {
        assert_eq!(answer, (200, number.to_string()));
    }
}

#[tokio::test]
async fn streams_beyond_the_local_ones_run_in_other_workers() {
    let host = TestHost::waits_for(&[]).config(json!({ "http": { "localStreams": 4 } })).start().await;
    let client = Http2::connect(host.http).await;
    let streams: Vec<_> = (0..12).map(|number| client.send("/api/waits/hold", number.to_string())).collect();
    eventually("all run", || async { running(&host).await.iter().sum::<u64>() == 12 }).await;
    let counts = running(&host).await;
    assert!(counts.iter().all(|count| *count >= 4), "{counts:?}");
    release(&host).await;
    for (number, stream) in streams.into_iter().enumerate() {
        assert_eq!(stream.answer().await, (200, number.to_string()));
    }
}

#[tokio::test]
async fn streams_up_to_the_limit_run_in_the_worker_of_the_connection() {
    let host = TestHost::waits_for(&[]).start().await;
    let client = Http2::connect(host.http).await;
    let streams: Vec<_> = (0..16).map(|number| client.send("/api/waits/hold", number.to_string())).collect();
    eventually("all run", || async { running(&host).await.iter().sum::<u64>() == 16 }).await;
    assert!(running(&host).await.contains(&0), "{:?}", running(&host).await);
    release(&host).await;
    for stream in streams {
        assert_eq!(stream.answer().await.0, 200);
    }
}

#[tokio::test]
async fn resetting_a_stream_does_not_cancel_its_call() {
    let host = TestHost::waits_for(&[]).start().await;
    let client = Http2::connect(host.http).await;
    let left = client.send("/api/waits/hold", String::new());
    eventually("it runs", || async { running(&host).await.iter().sum::<u64>() == 1 }).await;
    left.reset();
    // When a later request has its response, the host has seen the reset.
    assert_eq!(client.send("/api/waits/ok", String::new()).answer().await, (200, "ok".to_owned()));
    assert_eq!(running(&host).await.iter().sum::<u64>(), 1);
    release(&host).await;
    eventually("both calls succeed", || async {
        host.metric("fanfare_calls_total", &["waits", "http", "\"ok\""]).await == 2.0
    })
    .await;
}

#[tokio::test]
async fn an_error_on_one_stream_does_not_affect_the_others() {
    let host = TestHost::waits_for(&["traps"]).start().await;
    let client = Http2::connect(host.http).await;
    let held = client.send("/api/waits/hold", "held".to_owned());
    eventually("it runs", || async { running(&host).await.iter().sum::<u64>() == 1 }).await;
    assert_eq!(client.send("/api/traps/trap", String::new()).answer().await.0, 500);
    assert_eq!(client.send("/api/nobody/x", String::new()).answer().await.0, 404);
    release(&host).await;
    assert_eq!(held.answer().await, (200, "held".to_owned()));
}
