//! Which parts of a request reach a guest, and which parts of its reply reach the client.

use serde_json::{Value, json};

use crate::harness::{Answer, Started, TestHost};

/// Sends a body to `echo`. The content type of the answer shows the kind of payload that the guest
/// got.
async fn echoed(host: &Started, content_type: &str, body: &[u8]) -> Answer {
    let headers = [("content-type", content_type)];
    let headers = if content_type.is_empty() { &headers[..0] } else { &headers[..] };
    host.request("POST", "/api/echo/echo", headers, body).await
}

const TEXT: Option<&str> = Some("text/plain; charset=utf-8");
const BYTES: Option<&str> = Some("application/octet-stream");

#[tokio::test]
async fn the_content_type_decides_between_text_and_bytes() {
    let host = TestHost::with("echo").start().await;
    let cases = [
        ("text/html", TEXT),
        ("application/json", TEXT),
        ("application/problem+json; charset=utf-8", TEXT),
        ("application/xml", TEXT),
        ("application/x-www-form-urlencoded", TEXT),
        ("", TEXT),
        ("application/octet-stream", BYTES),
        ("image/png", BYTES),
    ];
    for (sent, kind) in cases {
        let answer = echoed(&host, sent, b"{\"a\" : 1.50}").await;
        assert_eq!((answer.status, answer.header("content-type")), (200, kind), "{sent}");
        assert_eq!(answer.text(), "{\"a\" : 1.50}", "the text is unchanged");
    }
}

#[tokio::test]
async fn a_body_that_is_not_utf8_is_bytes_unless_its_content_type_is_text() {
    let host = TestHost::with("echo").start().await;
    let answer = echoed(&host, "", b"\xff\xfe").await;
    assert_eq!((answer.header("content-type"), &*answer.body), (BYTES, &b"\xff\xfe"[..]));
    for text in ["text/plain", "application/json"] {
        let answer = echoed(&host, text, b"ab\xff").await;
        assert_eq!((answer.status, answer.code().as_str()), (400, "bad-request"), "{text}");
    }
}

#[tokio::test]
async fn an_empty_body_becomes_no_payload() {
    let host = TestHost::with("echo").start().await;
    for content_type in ["", "text/plain", "application/octet-stream"] {
        let answer = echoed(&host, content_type, b"").await;
        assert_eq!((answer.status, answer.header("content-type")), (204, None), "{content_type}");
    }
}

#[tokio::test]
async fn params_are_decoded_segment_by_segment_and_the_query_stays_encoded() {
    let host = TestHost::with("echo").start().await;
    let answer = host.get("/api/echo/params/a%2Fb/c%20d%C3%A9?x=1&x=%32&y").await.json();
    assert_eq!(answer["params"], json!([["one", "a/b"], ["two", "c dé"]]));
    assert_eq!(answer["query"], "x=1&x=%32&y");
    assert_eq!(answer["pairs"], json!([["x", "1"], ["x", "2"], ["y", ""]]));
    for path in ["/api/echo/params/%zz/2", "/api/echo/params/%ff/2"] {
        assert_eq!(host.get(path).await.status, 400, "{path}");
    }
    for path in ["/api/echo/params/1", "/api/echo/params//2", "/api/echo//params/1/2", "/api/echo/./params/1/2"] {
        assert_eq!(host.get(path).await.status, 404, "paths are not normalised: {path}");
    }
}

#[tokio::test]
async fn repeated_header_fields_keep_their_order() {
    let host = TestHost::with("echo").start().await;
    let headers = [
        ("cookie", "a=1"),
        ("x-first", "1"),
        ("Cookie", "b=2"),
        ("connection", "x-private"),
        ("x-private", "for the next hop only"),
        ("te", "trailers"),
    ];
    let answer = host.request("GET", "/api/echo/headers?q", &headers, "").await.json();
    assert_eq!(answer["cookie"], json!(["a=1", "b=2"]));
    let names: Vec<&str> = answer["headers"].as_array().unwrap().iter().map(|pair| pair[0].as_str().unwrap()).collect();
    assert!(names.contains(&"x-first"), "{names:?}");
    for hop in ["connection", "x-private", "te"] {
        assert!(!names.contains(&hop), "the host removes {hop}: {names:?}");
    }
    let head = &answer["head"];
    assert_eq!((&head["path"], &head["scheme"]), (&json!("/api/echo/headers"), &json!("http")));
    assert_eq!(head["authority"], host.http.to_string());
    assert!(head["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{head}");
}

async fn replied(host: &Started, wanted: Value) -> Answer {
    host.post("/api/echo/status", wanted.to_string()).await
}

#[tokio::test]
async fn the_client_gets_the_status_and_the_header_fields_of_a_reply() {
    let host = TestHost::with("echo").start().await;
    let headers = json!([
        ["set-cookie", "a=1"],
        ["set-cookie", "b=2"],
        ["content-type", "application/x-own"],
        ["content-length", "9999"],
        ["connection", "x-private, close"],
        ["x-private", "1"],
        ["transfer-encoding", "chunked"],
    ]);
    let answer = replied(&host, json!({ "status": 201, "headers": headers, "body": "made" })).await;
    assert_eq!((answer.status, answer.text()), (201, "made"));
    let cookies: Vec<_> = answer.headers.get_all("set-cookie").iter().collect();
    assert_eq!(cookies, ["a=1", "b=2"]);
    assert_eq!(answer.header("content-type"), Some("application/x-own"));
    assert_eq!(answer.header("content-length"), Some("4"), "the host sets it");
    assert_eq!((answer.header("x-private"), answer.header("transfer-encoding")), (None, None));

    for (given, effective) in [(0, 200), (200, 200), (404, 404), (599, 599)] {
        assert_eq!(replied(&host, json!({ "status": given, "body": "x" })).await.status, effective);
    }
    assert_eq!(replied(&host, json!({ "status": 0 })).await.status, 204);
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_is_a_500() {
    let host = TestHost::with("echo").start().await;
    let wrong = [
        json!({ "status": 199 }),
        json!({ "status": 600 }),
        json!({ "status": 200, "headers": [["bad name", "x"]] }),
        json!({ "status": 200, "headers": [["x-split", "a\r\nset-cookie: b=1"]] }),
    ];
    for wanted in wrong {
        let answer = replied(&host, wanted.clone()).await;
        assert_eq!((answer.status, answer.code().as_str()), (500, "invalid-reply"), "{wanted}");
        assert_eq!(answer.header("set-cookie"), None);
    }
}

#[tokio::test]
async fn a_head_runs_the_route_of_get_and_has_no_body() {
    let host = TestHost::with("echo").start().await;
    let (get, head) =
        (host.get("/api/echo/big?bytes=123").await, host.request("HEAD", "/api/echo/big?bytes=123", &[], "").await);
    assert_eq!((get.status, get.body.len()), (200, 123));
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("123"), 0));
    assert_eq!(head.header("content-type"), get.header("content-type"));
    let context = host.request("HEAD", "/api/echo/context", &[], "").await;
    assert_eq!(context.status, 200);
    assert_eq!(host.metric("fanfare_calls_total", &["trigger=\"http\"", "outcome=\"ok\""]).await, 3.0);
}

#[tokio::test]
async fn options_and_cors_never_reach_a_guest() {
    let origin = "https://app.example.test";
    let host = TestHost::with("echo").config(json!({ "http": { "cors": { "origins": [origin] } } })).start().await;
    let plain = host.request("OPTIONS", "/api/echo/who", &[], "").await;
    assert_eq!((plain.status, plain.header("allow")), (204, Some("GET, HEAD, POST, OPTIONS")));
    let preflight = [("origin", origin), ("access-control-request-method", "POST")];
    let allowed = host.request("OPTIONS", "/api/echo/who", &preflight, "").await;
    assert_eq!(allowed.header("access-control-allow-origin"), Some(origin));
    assert!(allowed.header("access-control-allow-methods").unwrap().contains("POST"));
    let foreign = [("origin", "https://evil.example.test"), ("access-control-request-method", "POST")];
    let refused = host.request("OPTIONS", "/api/echo/who", &foreign, "").await;
    assert_eq!(refused.header("access-control-allow-origin"), None);
    assert_eq!(host.metric("fanfare_calls_total", &["module=\"echo\""]).await, 0.0);
    let answer = host.request("GET", "/api/echo/who", &[("origin", origin)], "").await;
    assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, Some(origin)));
}

#[tokio::test]
async fn the_root_of_a_module_without_a_slash_redirects() {
    let routes = json!({ "routes": [{ "path": "", "handler": "echo" }] });
    let host = TestHost::with("flags").and("echo").manifest("echo", routes).start().await;
    for method in ["GET", "HEAD"] {
        let answer = host.request(method, "/api/flags?a=1", &[], "").await;
        assert_eq!((answer.status, answer.header("location")), (308, Some("/api/flags/?a=1")));
        let body = if method == "GET" { "the module's root is /api/flags/?a=1\n" } else { "" };
        assert_eq!(answer.text(), body);
    }
    assert_eq!(host.get("/api/flags/").await.status, 200);
    // Other methods have no relative links.
    let answer = host.post("/api/echo", "hello").await;
    assert_eq!((answer.status, answer.text()), (200, "hello"));
    let root = host.get("/api/echo/").await.json();
    assert_eq!(root["detail"], "this route does not accept `GET`: use one of POST, OPTIONS");
    let detail = |answer: &Answer| answer.json()["detail"].clone();
    let answer = host.post("/api/echo/none", "").await;
    assert_eq!(detail(&answer), "echo has no route `none`");
    assert!(answer.text().ends_with("}\n"), "the prompt of a shell begins a new line");
}

#[tokio::test]
async fn a_module_without_a_root_says_so() {
    let host = TestHost::with("echo").start().await;
    assert_eq!(host.get("/api/echo/").await.json()["detail"], "echo has no route at its root, /api/echo/");
}
