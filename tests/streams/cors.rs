//! Access by pages from other origins.

use serde_json::json;

use super::{host, with};
use crate::harness::EventStream;

const ORIGIN: &str = "https://app.example.test";

fn request(origin: &str) -> String {
    format!("GET /stream HTTP/1.1\r\nhost: h\r\naccept: text/event-stream\r\norigin: {origin}\r\n\r\n")
}

#[tokio::test]
async fn the_allowed_origin_follows_http_cors() {
    let cors = json!({ "http": { "cors": { "origins": [ORIGIN], "credentials": true } } });
    let host = host().config(cors).start().await;
    let stream = EventStream::send(host.http, &request(ORIGIN)).await;
    assert_eq!(stream.header("access-control-allow-origin"), Some(ORIGIN));
    assert_eq!(stream.header("access-control-allow-credentials"), Some("true"));
    assert_eq!((stream.header("vary"), stream.status), (Some("origin"), 200));
    let stream = EventStream::send(host.http, &request("https://other.test")).await;
    assert_eq!((stream.header("access-control-allow-origin"), stream.status), (None, 200));
    let preflight = [("origin", ORIGIN), ("access-control-request-method", "GET")];
    let answer = host.request("OPTIONS", "/stream", &preflight, "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some(ORIGIN)));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    let allowed: Vec<_> = answer.headers.get_all("access-control-allow-headers").iter().collect();
    assert_eq!(allowed, ["cache-control, last-event-id", "content-type"]);
    let answer = host.request("OPTIONS", "/stream", &[("origin", "https://other.test"), preflight[1]], "").await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn an_origin_of_the_streams_replaces_that_of_http_cors() {
    let settings = |value: serde_json::Value| {
        with(json!({ "headers": { "access-control-allow-origin": value } }))
            .config(json!({ "http": { "cors": { "origins": [ORIGIN] } } }))
    };
    let any = settings(json!("*")).start().await;
    let stream = EventStream::send(any.http, &request("https://other.test")).await;
    assert_eq!((stream.header("access-control-allow-origin"), stream.header("vary")), (Some("*"), None));
    // Errors have it, too, so that scripts can read them.
    let answer = any.request("GET", "/stream?connectKey=%ff", &[("origin", "https://other.test")], "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (400, Some("*")));
    let preflight = [("origin", "https://other.test"), ("access-control-request-method", "GET")];
    let answer = any.request("OPTIONS", "/stream", &preflight, "").await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-methods"), Some("GET, HEAD, OPTIONS"));
    let none = settings(json!(null)).start().await;
    let stream = EventStream::send(none.http, &request(ORIGIN)).await;
    assert_eq!((stream.header("access-control-allow-origin"), stream.status), (None, 200));
    assert_eq!(any.get("/stream?connectKey=%ff").await.status, 400);
}
