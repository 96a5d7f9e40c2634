//! Opening a stream: the head, the first comment, options, methods, `Accept` and keys.

use std::time::Duration;

use fanfare::StreamEvent;
use serde_json::json;

use super::{count, host, path, publish, with};
use crate::harness::{EventStream, TestHost, eventually};

#[tokio::test]
async fn the_head_and_a_first_comment_arrive_before_any_event() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    for (name, value) in [
        ("content-type", "text/event-stream"),
        ("cache-control", "no-cache, no-transform"),
        ("connection", "keep-alive"),
        ("x-accel-buffering", "no"),
        ("transfer-encoding", "chunked"),
    ] {
        assert_eq!(stream.header(name), Some(value), "{name}");
    }
    assert!(stream.header("date").is_some() && stream.header("access-control-allow-origin").is_none());
    assert_eq!(count(&host, Some("news")), 1);
    assert_eq!(publish(&host, "news", "first\nsecond"), 1);
    let event = stream.event().await.unwrap();
    assert_eq!((event.name(), event.text()), ("message", "first\nsecond"));
    assert!(event.id.is_some_and(|id| id.contains('-')));
}

#[tokio::test]
async fn an_event_that_is_published_when_the_head_has_arrived_is_not_missed() {
    for history in [0, 100] {
        let host = with(json!({ "history": history })).start().await;
        for number in 0..100 {
            let key = number.to_string();
            let mut stream = EventStream::try_resume(host.http, &path(&key), "").await;
            assert_eq!((stream.status, publish(&host, &key, "first")), (200, 1), "{number}");
            host.running().publish_all("second").unwrap();
            assert_eq!((stream.data().await, stream.data().await), ("first".to_owned(), "second".to_owned()));
        }
    }
}

#[tokio::test]
async fn an_event_has_the_fields_that_it_was_published_with() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, &path("news")).await;
    let event = StreamEvent {
        event: Some("price".into()),
        id: Some("0".into()),
        retry: Some(Duration::from_secs(3)),
        comment: Some("seen by nobody".into()),
        ..StreamEvent::from("a\r\nb\rc")
    };
    host.running().publish("news", event).unwrap();
    let event = stream.event().await.unwrap();
    assert_eq!((event.name(), event.text(), event.id.as_deref()), ("price", "a\nb\nc", Some("0")));
    assert_eq!((event.retry, event.comments), (Some(3_000), vec!["seen by nobody".to_owned()]));
    let comment = StreamEvent { comment: Some("alone".into()), ..StreamEvent::default() };
    host.running().publish("news", comment).unwrap();
    let block = stream.block().await.unwrap();
    assert_eq!((block.comments, block.data, block.id), (vec!["alone".to_owned()], None, None));
}

#[tokio::test]
async fn streams_are_served_if_the_settings_say_so_or_a_module_uses_them() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.get("/stream").await.status, 404);
    let uses = TestHost::with("echo")
        .manifest("echo", json!({ "capabilities": { "sse": ["news"] } }))
        .grant("echo", json!({ "sse": ["news"] }))
        .start()
        .await;
    EventStream::open(uses.http, &path("news")).await;
    let declares = TestHost::with("echo").manifest("echo", json!({ "streams": { "echo/a": {} } })).start().await;
    EventStream::open(declares.http, &path("any")).await;
    // The route follows swaps.
    declares.dir.write(
        "modules/echo/module.json",
        std::fs::read(crate::harness::source_of("echo").join("module.json")).unwrap(),
    );
    declares.running().reload("echo").await.unwrap();
    assert_eq!(declares.get("/stream").await.status, 404);
}

#[tokio::test]
async fn the_path_is_exact_and_can_be_set() {
    let host = with(json!({ "path": "/live/events" })).start().await;
    EventStream::open(host.http, "/live/events?connectKey=a").await;
    for path in ["/stream", "/live/events/", "/live", "/live/events/a", "/LIVE/events"] {
        assert_eq!(host.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn headers_can_be_replaced_added_and_removed() {
    let headers = json!({ "Cache-Control": "no-store", "x-accel-buffering": null, "X-Extra": "1", "connection": null });
    let host = with(json!({ "headers": headers })).start().await;
    let stream = EventStream::open(host.http, "/stream").await;
    assert_eq!((stream.header("cache-control"), stream.header("x-extra")), (Some("no-store"), Some("1")));
    assert_eq!((stream.header("x-accel-buffering"), stream.header("connection")), (None, Some("close")));
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
}

#[tokio::test]
pub async fn a_quiet_stream_gets_pings() {
    let host = with(json!({ "pingInterval": "100ms" })).start().await;
    let mut stream = EventStream::open(host.http, "/stream").await;
    for _ in 0..3 {
        let block = loop {
            let block = stream.block().await.unwrap();
            if block.id.is_none() {
                break block;
            }
        };
        assert_eq!((block.comments, block.data), (vec!["ping".to_owned()], None));
    }
}

#[tokio::test]
async fn a_ping_interval_of_zero_sends_no_pings() {
    let (off, on) =
        (with(json!({ "pingInterval": 0 })).start().await, with(json!({ "pingInterval": "100ms" })).start().await);
    let mut quiet = EventStream::open(off.http, &path("a")).await;
    let mut other = EventStream::open(on.http, "/stream").await;
    // While the other host sends three pings, this one sends none.
    for _ in 0..4 {
        other.block().await.unwrap();
    }
    publish(&off, "a", "x");
    let block = loop {
        let block = quiet.block().await.unwrap();
        assert_eq!(block.comments, Vec::<String>::new());
        if block.data.is_some() {
            break block;
        }
    };
    assert_eq!(block.text(), "x");
}

#[tokio::test]
async fn only_get_opens_a_stream() {
    let host = host().start().await;
    for method in ["POST", "PUT", "PATCH", "DELETE", "FOO"] {
        let answer = host.request(method, "/stream", &[], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (405, "method-not-allowed"), "{method}");
        assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let answer = host.request("OPTIONS", "/stream", &[], "").await;
    assert_eq!((answer.status, answer.header("allow"), answer.body.len()), (204, Some("GET, HEAD, OPTIONS"), 0));
    // `HEAD` gets the head, and the connection stays usable.
    let mut connection = crate::harness::Connection::open(host.http).await;
    let answer = connection.send("HEAD", &path("news"), &[], "").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!((answer.header("content-length"), answer.body.len()), (None, 0));
    assert_eq!(connection.send("HEAD", "/stream?connectKey=%ff", &[], "").await.status, 400);
    assert_eq!(count(&host, None), 0);
}

#[tokio::test]
async fn a_client_that_does_not_accept_events_gets_a_406() {
    let host = host().start().await;
    for accept in ["application/json", "text/html, application/xhtml+xml", "*/*, text/event-stream;q=0", "*/*;q=0"] {
        let answer = host.request("GET", "/stream", &[("accept", accept)], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (406, "not-acceptable"), "{accept}");
    }
    for accept in ["*/*", "text/*", "text/event-stream;q=0.5, text/html", "*/*;q=0.1"] {
        let request = format!("GET /stream HTTP/1.1\r\nhost: h\r\naccept: {accept}\r\n\r\n");
        assert_eq!(EventStream::send(host.http, &request).await.status, 200, "{accept}");
    }
    assert_eq!(EventStream::send(host.http, "GET /stream HTTP/1.1\r\nhost: h\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_key_is_decoded_and_checked() {
    let host = host().start().await;
    let mut stream = EventStream::open(host.http, "/stream?t=1&connectKey=a%2Fb+%C3%A4").await;
    assert_eq!(count(&host, Some("a/b ä")), 1);
    publish(&host, "a/b ä", "x");
    assert_eq!(stream.data().await, "x");
    // Clients without a key, and those with an empty one, are the same.
    let mut without = EventStream::open(host.http, "/stream").await;
    let mut empty = EventStream::open(host.http, "/stream?connectKey=").await;
    assert_eq!((publish(&host, "", "y"), count(&host, Some("")), count(&host, None)), (2, 2, 3));
    assert_eq!((without.data().await, empty.data().await), ("y".to_owned(), "y".to_owned()));
    EventStream::open(host.http, &path(&"k".repeat(256))).await;
    for query in [
        format!("connectKey={}", "k".repeat(257)),
        "connectKey=a%00".to_owned(),
        "connectKey=a%0ab".to_owned(),
        "connectKey=%C2%85".to_owned(),
        "connectKey=%ff".to_owned(),
        "connectKey=%4".to_owned(),
        "connectKey=a&connectKey=b".to_owned(),
    ] {
        let answer = host.request("GET", &format!("/stream?{query}"), &[("accept", "text/event-stream")], "").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{query}");
    }
}

#[tokio::test]
async fn a_client_that_asks_for_the_end_of_the_connection_is_told_of_it() {
    let host = host().start().await;
    for (asked, told) in [
        ("connection: close", "close"),
        ("connection: keep-alive, close", "close"),
        ("connection: Keep-Alive,x-a , CLOSE", "close"),
        ("connection: keep-alive\r\nconnection: close", "close"),
        ("connection: keep-alive", "keep-alive"),
        ("connection: closed", "keep-alive"),
    ] {
        let request = format!("GET /stream?connectKey=a HTTP/1.1\r\nhost: h\r\n{asked}\r\n\r\n");
        let stream = EventStream::send(host.http, &request).await;
        assert_eq!((stream.status, stream.header("connection")), (200, Some(told)), "{asked}");
    }
}

#[tokio::test]
async fn an_http_1_0_client_gets_the_events_without_chunks() {
    let host = host().start().await;
    let mut stream = EventStream::send(host.http, "GET /stream?connectKey=a HTTP/1.0\r\n\r\n").await;
    assert_eq!((stream.status, stream.header("transfer-encoding")), (200, None));
    assert_eq!(stream.header("connection"), Some("close"));
    assert_eq!(stream.block().await.unwrap().comments, ["connected"]);
    publish(&host, "a", "plain");
    assert_eq!(stream.data().await, "plain");
    assert_eq!(host.running().close_stream("a"), 1);
    assert_eq!(stream.rest().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_get_with_a_body_is_rejected() {
    let host = host().start().await;
    let answer = host.request("GET", "/stream", &[("accept", "text/event-stream")], "body").await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"));
    eventually("no stream counts", || async { count(&host, None) == 0 }).await;
}

#[tokio::test]
async fn a_closed_stream_ends_after_what_was_published_before() {
    let host = host().start().await;
    let mut a = EventStream::open(host.http, &path("a")).await;
    let mut b = EventStream::open(host.http, &path("b")).await;
    for number in 0..100 {
        publish(&host, "a", &number.to_string());
    }
    assert_eq!(host.running().close_stream("a"), 1);
    publish(&host, "a", "too late");
    assert_eq!(a.rest().await, (0..100).map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(a.is_closed().await);
    eventually("only one stream is open", || async { count(&host, None) == 1 }).await;
    assert_eq!(host.running().publish_all("all").unwrap(), 1);
    assert_eq!(host.running().close_streams(), 1);
    assert_eq!(b.rest().await, ["all"]);
    assert_eq!((host.running().close_stream("nobody"), host.running().close_streams()), (0, 0));
}

#[tokio::test]
async fn the_embedding_program_gets_an_error_for_what_cannot_be_sent() {
    let host = host().config(json!({ "limits": { "max": { "payload": "1KiB" } } })).start().await;
    let error = |key: &str, event: StreamEvent| host.running().publish(key, event).unwrap_err();
    for (error, text) in [
        (error(&"k".repeat(257), "x".into()), "found 257 bytes"),
        (error("a\n", "x".into()), "control characters"),
        (error("a", "x".repeat(1_025).into()), "the event has 1025 bytes, but limits.max.payload allows 1024"),
        (error("a", vec![0xff].into()), "not UTF-8"),
        (error("a", StreamEvent { event: Some("a\nb".into()), ..StreamEvent::default() }), "the type of the event"),
        (error("a", StreamEvent { id: Some("a\rb".into()), ..StreamEvent::default() }), "the id of the event"),
        (error("a", StreamEvent { id: Some("a\0b".into()), ..StreamEvent::default() }), "the id of the event"),
        (host.running().publish_all("x".repeat(1_025)).unwrap_err(), "limits.max.payload"),
    ] {
        assert_eq!(error.code(), "invalid");
        assert!(error.to_string().contains(text), "{error}");
    }
    assert_eq!(publish(&host, "a", &"x".repeat(1_024)), 0);
}
