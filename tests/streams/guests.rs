//! Guests that publish.

use serde_json::{Value, json};

use super::{count, path};
use crate::harness::{EventStream, Started, TestHost};

fn host() -> TestHost {
    TestHost::with("streams")
}

/// Calls a route of the module, and returns the number that it replies, or the code of its error.
async fn ask(host: &Started, route: &str, body: Value) -> Result<u64, String> {
    let answer = host.post(&format!("/api/streams/{route}"), body.to_string()).await;
    if answer.status == 200 { Ok(answer.json().as_u64().unwrap()) } else { Err(answer.text().to_owned()) }
}

#[tokio::test]
async fn a_module_publishes_to_its_own_keys_and_counts_and_closes_them() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("streams/a")).await;
    let spec = json!({ "key": "streams/a", "data": "1\n2", "event": "e", "id": "0", "retryMs": 3000 });
    assert_eq!(ask(&host, "publish", spec).await, Ok(1));
    let event = stream.event().await.unwrap();
    assert_eq!((event.name(), event.text(), event.id.as_deref(), event.retry), ("e", "1\n2", Some("0"), Some(3_000)));
    assert_eq!(ask(&host, "publish", json!({ "key": "streams", "data": "x" })).await, Ok(0));
    assert_eq!(ask(&host, "count", json!("streams/a")).await, Ok(1));
    assert_eq!(ask(&host, "count", Value::Null).await, Ok(1));
    assert_eq!(ask(&host, "count", json!("")).await, Ok(0));
    assert_eq!(ask(&host, "close", json!({ "key": "streams/a" })).await, Ok(1));
    assert!(stream.rest().await.is_empty());
}

#[tokio::test]
async fn other_keys_and_all_keys_need_the_grant() {
    let host = host().start().await;
    for (route, key) in [
        ("publish", "news"),
        ("close", "news"),
        ("publish", ""),
        ("publish-all", ""),
        ("close-all", ""),
        ("publish", "streamsx"),
    ] {
        let error = ask(&host, route, json!({ "key": key, "data": "x" })).await.unwrap_err();
        assert!(error.contains("forbidden") && error.contains("`sse`"), "{route} {key}: {error}");
    }
    let granted = TestHost::with("streams")
        .manifest("streams", json!({ "capabilities": { "sse": ["*"] } }))
        .grant("streams", json!({ "sse": ["*"] }))
        .start()
        .await;
    let mut news = EventStream::open(granted.http, &path("news")).await;
    let mut none = EventStream::open(granted.http, "/stream").await;
    assert_eq!(ask(&granted, "publish", json!({ "key": "news", "data": "1" })).await, Ok(1));
    assert_eq!(ask(&granted, "publish", json!({ "key": "", "data": "2" })).await, Ok(1));
    assert_eq!(ask(&granted, "publish-all", json!({ "data": "3" })).await, Ok(2));
    assert_eq!(ask(&granted, "close-all", json!({})).await, Ok(2));
    assert_eq!((news.rest().await, none.rest().await), (vec!["1".into(), "3".into()], vec!["2".into(), "3".into()]));
}

#[tokio::test]
async fn what_cannot_be_sent_is_invalid() {
    let host = host().limit("streams", "payload", "8KiB").start().await;
    let publish = |spec: Value| {
        let host = &host;
        async move {
            let error = ask(host, "publish", spec).await.unwrap_err();
            assert!(error.contains("invalid"), "{error}");
            error
        }
    };
    let own = |rest: Value| {
        let mut spec = json!({ "key": "streams/a", "data": "x" });
        spec.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        spec
    };
    for (spec, reason) in [
        (json!({ "key": "k".repeat(257), "data": "x" }), "257 bytes"),
        (json!({ "key": "streams/a\n", "data": "x" }), "control characters"),
        (own(json!({ "event": "a\nb" })), "the type of the event has a line break"),
        (own(json!({ "id": "a\rb" })), "the id of the event has a line break"),
        (own(json!({ "bytes": [255] })), "not UTF-8"),
        (own(json!({ "event": "e".repeat(1_025) })), "1025 bytes"),
    ] {
        let error = publish(spec).await;
        assert!(error.contains(reason), "{error}");
    }
    // The event of 8 KiB and a byte is built in the guest, because the request has that limit, too.
    let burst = |size: usize| json!({ "key": "streams/a", "count": 1, "size": size });
    assert_eq!(ask(&host, "burst", burst((8 << 10) - 1)).await, Ok(0));
    let error = ask(&host, "burst", burst(8 << 10)).await.unwrap_err();
    assert!(error.contains("the event has 8193 bytes, but limits.payload of streams allows 8192"), "{error}");
}

#[tokio::test]
async fn an_event_for_this_worker_reaches_each_client_once_if_every_worker_publishes_it() {
    let host = host().start().await;
    let mut streams = Vec::new();
    for _ in 0..8 {
        streams.push(EventStream::open(host.http, &path("streams/a")).await);
    }
    let spec = |data: &str| json!({ "key": "streams/a", "data": data, "reach": "this-worker" });
    assert_eq!(ask(&host, "broadcast-publish", spec("1")).await, Ok(8));
    let one = ask(&host, "publish", spec("2")).await.unwrap();
    assert!(one < 8 && one > 0, "one worker has {one} of the streams");
    assert_eq!(ask(&host, "publish", json!({ "key": "streams/a", "data": "3" })).await, Ok(8));
    assert_eq!(
        ask(&host, "rpc-publish", json!({ "key": "streams/a", "data": "4", "reach": "this-node" })).await,
        Ok(8)
    );
    let mut with_two = 0;
    for stream in &mut streams {
        let first = stream.event().await.unwrap();
        assert_eq!((first.text(), first.id.as_deref()), ("1", None));
        let mut next = stream.data().await;
        if next == "2" {
            with_two += 1;
            next = stream.data().await;
        }
        assert_eq!((next.as_str(), stream.data().await.as_str()), ("3", "4"));
    }
    assert_eq!(with_two, one);
    // The history has no event that was for one worker.
    let mut late = EventStream::resume(host.http, &path("streams/a"), "unknown").await;
    assert_eq!(late.event().await.unwrap().name(), "reset");
    assert_eq!((late.data().await.as_str(), late.data().await.as_str()), ("3", "4"));
    assert_eq!(count(&host, None), 9);
}
