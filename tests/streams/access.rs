//! Which keys a guest may use, and what each function of the import `sse` does at its edges.

use serde_json::{Value, json};

use crate::harness::{EventStream, Started, TestHost, eventually};

const HINT: &str = "in its module.json, then run `fanfare grant";

/// A host with the guest `streams`, which may use every key.
fn granted() -> TestHost {
    let all = json!({ "sse": ["*"] });
    TestHost::with("streams").manifest("streams", json!({ "capabilities": all })).grant("streams", all)
}

/// Calls a handler that returns a number of clients.
async fn reached(host: &Started, handler: &str, body: Value) -> u64 {
    let answer = host.post(&format!("/api/streams/{handler}"), body.to_string()).await;
    assert_eq!(answer.status, 200, "{handler} {body}: {}", answer.text());
    answer.json().as_u64().unwrap()
}

/// The error of a handler: the name of its kind, and the message.
async fn refused(host: &Started, module: &str, handler: &str, body: Value) -> (String, String) {
    let answer = host.post(&format!("/api/{module}/{handler}"), body.to_string()).await;
    assert!(answer.status >= 400, "{handler} {body}: {} {}", answer.status, answer.text());
    (answer.code(), answer.json()["detail"].as_str().unwrap_or_default().to_owned())
}

async fn open(host: &Started, key: &str) -> EventStream {
    EventStream::open(host.http, &super::path(key)).await
}

#[tokio::test]
async fn a_module_without_a_grant_may_use_only_its_own_keys() {
    let host = TestHost::with("ungranted").config(json!({ "sse": {} })).start().await;
    let mut stream = open(&host, "ungranted/1").await;
    let post = |handler: &str, body: Value| {
        let (host, path) = (&host, format!("/api/ungranted/{handler}"));
        async move { host.post(&path, body.to_string()).await }
    };
    for (key, reached) in [("ungranted", 0), ("ungranted/1", 1)] {
        assert_eq!(post("publish", json!({ "key": key, "data": "x" })).await.json(), reached, "{key}");
    }
    assert_eq!(stream.data().await, "x");
    assert_eq!(post("close", json!({ "key": "ungranted/1" })).await.json(), 1);
    assert_eq!(post("count", json!("anything")).await.json(), 0, "counting needs no grant");
    for (handler, key, asked) in [
        ("publish", "news", "news"),
        ("publish", "ungranted-2", "ungranted-2"),
        ("publish", "", "*"),
        ("close", "news", "news"),
        ("publish-all", "", "*"),
        ("close-all", "", "*"),
    ] {
        let answer = post(handler, json!({ "key": key, "data": "x" })).await;
        let message = answer.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert_eq!(answer.code(), "forbidden", "{handler} {key}: {message}");
        let hint = format!("add \"{asked}\" to capabilities.sse {HINT} ungranted`");
        assert!(message.contains(&hint), "{handler} {key}: {message}");
    }
}

#[tokio::test]
async fn a_grant_covers_its_key_or_its_prefix() {
    let keys = json!({ "sse": ["news", "orders/*"] });
    let host = TestHost::with("streams").manifest("streams", json!({ "capabilities": keys })).grant("streams", keys);
    let host = host.start().await;
    for key in ["news", "orders/1", "orders/eu/1", "streams/1", "streams"] {
        assert_eq!(reached(&host, "publish", json!({ "key": key, "data": "" })).await, 0, "{key}");
        assert_eq!(reached(&host, "close", json!({ "key": key })).await, 0, "{key}");
    }
    for key in ["newsletter", "orders", "news/1"] {
        let (code, message) = refused(&host, "streams", "publish", json!({ "key": key, "data": "" })).await;
        assert_eq!(code, "forbidden", "{key}");
        assert!(message.contains(&format!("add \"{key}\" to capabilities.sse {HINT} streams`")), "{message}");
    }
    assert_eq!(refused(&host, "streams", "publish-all", json!({ "data": "" })).await.0, "forbidden");
    assert_eq!(refused(&host, "streams", "close-all", json!({})).await.0, "forbidden");
}

#[tokio::test]
async fn a_declared_key_is_usable_and_needs_the_grant_to_load() {
    let declares = json!({ "streams": { "news": {}, "orders/*": {} } });
    let host = TestHost::with("streams").manifest("streams", declares.clone());
    let refused = host.grant("streams", json!({ "sse": ["news"] })).start().await;
    let listed = refused.module("streams").await;
    let reason = listed["reason"].as_str().unwrap();
    assert!(
        reason.contains("streams.orders/*: asks to publish to streams of orders/*, which is not granted"),
        "{reason}"
    );

    let host = TestHost::with("streams").manifest("streams", declares);
    let host = host.grant("streams", json!({ "sse": ["news", "orders/*"] })).start().await;
    for key in ["news", "orders/7"] {
        let mut stream = open(&host, key).await;
        assert_eq!(reached(&host, "publish", json!({ "key": key, "data": "x" })).await, 1, "{key}");
        assert_eq!(stream.data().await, "x", "without a route, every client is admitted");
    }
}

#[tokio::test]
async fn count_is_exact_for_a_key_for_no_key_and_for_all() {
    let host = granted().start().await;
    let mut streams = Vec::new();
    for key in ["a", "a", "b"] {
        streams.push(open(&host, key).await);
    }
    streams.push(EventStream::open(host.http, "/stream").await);
    for (key, expected) in [(json!("a"), 2), (json!("b"), 1), (json!("c"), 0), (json!(""), 1), (Value::Null, 4)] {
        assert_eq!(reached(&host, "count", key.clone()).await, expected, "{key}");
    }
    streams.remove(0);
    eventually("the client that left", || async { reached(&host, "count", json!("a")).await == 1 }).await;
}

#[tokio::test]
async fn an_event_that_is_invalid_is_refused_whole() {
    let host = granted().start().await;
    let mut stream = open(&host, "a").await;
    for (event, words) in [
        (json!({ "key": "k".repeat(257), "data": "" }), "at most 256 bytes"),
        (json!({ "key": "a\nb", "data": "" }), "control characters"),
        (json!({ "key": "a", "bytes": [0xff] }), "UTF-8"),
        (json!({ "key": "a", "event": "a\nb" }), "event"),
        (json!({ "key": "a", "event": "a\rb" }), "event"),
        (json!({ "key": "a", "id": "a\nb" }), "id"),
        (json!({ "key": "a", "id": "a\u{0}b" }), "id"),
        (json!({ "key": "a", "id": "i".repeat(1_025) }), "1025 bytes"),
    ] {
        for handler in ["publish", "publish-all"] {
            if handler == "publish-all" && event["key"] != "a" {
                continue;
            }
            let (code, message) = refused(&host, "streams", handler, event.clone()).await;
            assert_eq!(code, "invalid", "{handler} {event}: {message}");
            assert!(message.contains(words), "{handler} {event}: {message}");
        }
    }
    for key in ["k".repeat(257), "a\u{7f}".to_owned()] {
        assert_eq!(refused(&host, "streams", "close", json!({ "key": key })).await.0, "invalid", "{key:?}");
    }
    assert_eq!(reached(&host, "publish", json!({ "key": "a", "data": "x", "id": "i".repeat(1_024) })).await, 1);
    assert_eq!(stream.data().await, "x", "nothing of the refused events arrived");
    let longest = "k".repeat(256);
    assert_eq!(reached(&host, "publish", json!({ "key": longest, "data": "" })).await, 0);
}

#[tokio::test]
async fn events_without_data_or_with_a_comment_alone_keep_their_form() {
    let host = granted().start().await;
    let mut stream = open(&host, "a").await;
    reached(&host, "publish", json!({ "key": "a", "comment": "alone" })).await;
    reached(&host, "publish", json!({ "key": "a", "event": "named" })).await;
    reached(&host, "publish", json!({ "key": "a", "bytes": [0xc3, 0xa4], "id": "0" })).await;
    let first = loop {
        let block = stream.block().await.unwrap();
        if block.comments == ["alone"] || block.data.is_some() {
            break block;
        }
    };
    assert_eq!((first.comments, first.data), (vec!["alone".to_owned()], None));
    let named = stream.event().await.unwrap();
    assert_eq!((named.name(), named.text()), ("named", ""));
    let bytes = stream.event().await.unwrap();
    assert_eq!((bytes.text(), bytes.id.as_deref()), ("ä", Some("0")), "an id of 0 is kept");
}
