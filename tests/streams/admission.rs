//! Modules that decide who may listen.

use std::time::Duration;

use serde_json::{Value, json};

use super::{count, path};
use crate::harness::{EventStream, Started, TestHost, eventually};

fn host() -> TestHost {
    TestHost::with("streams")
}

async fn request(host: &Started, key: &str, headers: &[(&str, &str)]) -> crate::harness::Answer {
    let mut all = vec![("accept", "text/event-stream")];
    all.extend(headers);
    let path = path(key);
    let answer = host.request("GET", &path, &all, "");
    // A stream that opens by mistake never ends.
    tokio::time::timeout(Duration::from_secs(10), answer).await.expect("a response that ends")
}

/// The calls of the route that admits clients, in all workers.
async fn asked(host: &Started) -> Vec<Value> {
    let mut all = Vec::new();
    for worker in ["worker-0", "worker-1"] {
        let answer = host.call(worker, "streams", "asked", "").await;
        let text = answer["payload"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        all.extend(serde_json::from_str::<Vec<Value>>(&text).unwrap());
    }
    all
}

#[tokio::test]
async fn a_route_that_passes_or_replies_below_300_opens_the_stream() {
    let host = host().start().await;
    for key in ["streams/guarded/pass", "streams/guarded/reply", "streams/guarded/none"] {
        let mut stream = EventStream::open(host.http, &path(key)).await;
        host.running().publish(key, "x").unwrap();
        assert_eq!(stream.data().await, "x", "{key}");
    }
    assert_eq!(asked(&host).await.len(), 3);
    assert!(
        host.metric("fanfare_calls_total", &["module=\"streams\"", "trigger=\"stream\"", "outcome=\"ok\""]).await
            >= 3.0
    );
    // A key that no module declares opens without a question.
    EventStream::open(host.http, &path("streams/open")).await;
    EventStream::open(host.http, &path("anything")).await;
    assert_eq!(asked(&host).await.len(), 3);
}

#[tokio::test]
async fn the_route_sees_the_key_the_last_event_id_and_the_request() {
    let host = host().config(json!({ "http": { "domain": "example.test" } })).start().await;
    let url = format!("{}&x=1", path("streams/guarded/a%20b"));
    let request = format!(
        "GET {url} HTTP/1.1\r\nhost: acme.example.test\r\nx-user: me\r\nlast-event-id: 7-7\r\nconnection: x-gone\r\nx-gone: 1\r\n\r\n"
    );
    assert_eq!(EventStream::send(host.http, &request).await.status, 200);
    let asked = asked(&host).await;
    let [asked] = asked.as_slice() else { panic!("{asked:?}") };
    assert_eq!(asked["key"], "streams/guarded/a b");
    assert_eq!((&asked["lastEventId"], &asked["user"]), (&json!("7-7"), &json!("me")));
    assert_eq!((&asked["path"], &asked["subdomain"]), (&json!("/stream"), &json!("acme")));
    assert_eq!(asked["query"], "connectKey=streams/guarded/a%20b&x=1");
    assert!(asked["origin"].as_str().unwrap().contains("Client"), "{asked}");
}

#[tokio::test]
async fn a_refusal_is_the_response() {
    let host = host().start().await;
    let answer = request(&host, "streams/guarded/refuse", &[]).await;
    assert_eq!((answer.status, answer.code().as_str()), (401, "no-user"));
    assert!(answer.text().contains("log in first"));
    let answer = request(&host, "streams/guarded/redirect", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (302, Some("/login")));
    assert_eq!((count(&host, None), host.status().await["modules"].as_array().unwrap().len()), (0, 1));
    let answer = host.request("HEAD", &path("streams/guarded/refuse"), &[], "").await;
    assert_eq!((answer.status, answer.body.len()), (401, 0));
}

#[tokio::test]
async fn a_request_with_a_body_is_rejected_before_the_module_is_asked() {
    let host = host().config(json!({ "sse": { "headers": { "Access-Control-Allow-Origin": "*" } } })).start().await;
    let assert_rejected = |status: u16, origin: Option<&str>, text: &str| {
        assert_eq!((status, origin), (400, Some("*")), "{text}");
        assert!(text.contains("a request for a stream has no body"), "{text}");
    };
    for method in ["GET", "HEAD"] {
        let answer = host.request(method, &path("streams/guarded/pass"), &[], "body").await;
        assert_eq!(answer.status, 400);
        if method == "GET" {
            assert_rejected(answer.status, answer.header("access-control-allow-origin"), answer.text());
        }
    }
    let (status, origin, text) = super::http2::get_with_body(&host, &path("streams/guarded/pass")).await;
    assert_rejected(status, origin.as_deref(), &text);
    assert_eq!((asked(&host).await.len(), count(&host, None)), (0, 0));
}

#[tokio::test]
async fn a_route_that_cannot_run_now_makes_the_client_come_back() {
    let host = host().limit("streams", "timeout", "100ms").start().await;
    for key in ["streams/guarded/trap", "streams/guarded/wait"] {
        let mut stream = EventStream::try_resume(host.http, &path(key), "").await;
        assert_eq!(stream.status, 200);
        let event = stream.event().await.unwrap();
        assert_eq!((event.name(), event.data.as_deref(), event.retry), ("unavailable", Some(""), Some(5_000)));
        assert!(stream.rest().await.is_empty());
    }
    let answer = host.request("GET", &path("streams/guarded/trap"), &[], "").await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "crashed"));
    eventually("no stream counts", || async { count(&host, None) == 0 }).await;
}

#[tokio::test]
async fn only_declared_keys_open_if_the_settings_say_so() {
    let host = host().config(json!({ "sse": { "keys": "declared" } })).start().await;
    EventStream::open(host.http, &path("streams/guarded/pass")).await;
    for key in ["anything", "streams", "streams/open", ""] {
        let answer = request(&host, key, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{key}");
    }
}

#[tokio::test]
async fn the_keys_of_a_module_that_is_not_loaded_do_not_open() {
    let host = host().manifest_text("streams", |text| text.replace("may_listen", "missing_handler"));
    let host = host.config(json!({ "sse": {} })).start().await;
    for key in ["streams", "streams/guarded/refuse"] {
        let mut stream = EventStream::try_resume(host.http, &path(key), "").await;
        assert_eq!(stream.event().await.unwrap().name(), "unavailable", "{key}");
        assert_eq!(host.request("GET", &path(key), &[], "").await.status, 503);
    }
    EventStream::open(host.http, &path("other")).await;
}
