use super::*;
use crate::call::{CallError, Failure, Passed};

#[tokio::test]
async fn an_unknown_path_is_not_found() {
    let host = host().echo("GET x").start().await;
    for path in
        ["/", "/x", "/api", "/api/", "/api//x", "/api/other/x", "/api/m/y", "/api/m/x/", "/api/m//x", "/API/m/x"]
    {
        host.get(path).await.assert_problem(404, "not-found");
    }
    let detail = host.get("/x").await.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "the path `/x` does not exist: use a path like `/api/<module>/<path>`");
    assert_eq!(host.get("/api/m/y").await.json()["module"], "m");
    host.get("/api/absent/x").await.assert_problem(503, "unavailable");
    for path in ["/api/m/%", "/api/m/%zz", "/api/m/%ff"] {
        host.get(path).await.assert_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn inner_routes_are_forbidden_and_test_routes_outside_development_and_test_too() {
    for (environment, open) in [("production", false), ("staging", false), ("development", true), ("test", true)] {
        let host = host().environment(environment).echo("GET inner/x").echo("GET test/x").start().await;
        host.get("/api/m/inner/x").await.assert_problem(403, "forbidden");
        let received = host.get("/api/m/test/x").await;
        if open { assert_eq!(received.status(), 200) } else { received.assert_problem(403, "forbidden") }
    }
}

#[tokio::test]
async fn a_failed_call_is_a_problem_document_with_its_status() {
    let errors = [
        (CallError::Timeout(None), 504, "timeout", None),
        (CallError::Overloaded("full".into()), 503, "overloaded", Some("1")),
        (CallError::Unavailable("failed".into()), 503, "unavailable", Some("1")),
        (CallError::Crashed("trapped".into()), 500, "crashed", None),
    ];
    for (error, status, code, retry) in errors {
        let host = host().route("GET x", move |_, _| Err(error.clone())).start().await;
        let received = host.get("/api/m/x").await;
        received.assert_problem(status, code);
        assert_eq!(received.field("retry-after"), retry);
        assert_eq!(received.json()["module"], "m");
    }
}

#[tokio::test]
async fn a_failure_of_the_guest_is_sent_unchanged() {
    let failure = Failure {
        name: "no-such-flag".into(),
        message: "there is no flag `x`".into(),
        status: 404,
        data: Payload::Text(r#"{"flag":"x"}"#.into()),
        extra: Vec::new(),
    };
    let host = host().route("GET x", move |_, _| Err(CallError::Failure(failure.clone()))).start().await;
    let trace = "0000000000000000000000000000002a";
    let received =
        host.send(&format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\ntraceparent: 00-{trace}-1-01\r\n\r\n")).await;
    received.assert_problem(404, "no-such-flag");
    let expected = serde_json::json!({
        "type": "urn:fanfare:no-such-flag", "title": "Not Found", "status": 404, "detail": "there is no flag `x`",
        "code": "no-such-flag", "module": "m", "trace": trace, "data": {"flag": "x"},
    });
    assert_eq!(received.json(), expected);
}

#[tokio::test]
async fn a_problem_has_the_trace_of_the_client() {
    let host = host().route("GET x", |_, _| Err(CallError::Timeout(None))).start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let received =
        host.send(&format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\ntraceparent: 00-{trace}-1-01\r\n\r\n")).await;
    assert_eq!(received.json()["trace"], trace);
}

#[tokio::test]
async fn a_reply_that_cannot_be_sent_is_an_error() {
    let host = host()
        .route("GET status", |_, _| replied(700, &[], Payload::None))
        .route("GET early", |_, _| replied(103, &[], Payload::None))
        .route("GET name", |_, _| replied(200, &[("a b", "1")], Payload::None))
        .route("GET value", |_, _| replied(200, &[("a", "1\r\nb: 2")], Payload::None))
        .start()
        .await;
    for path in ["status", "early", "name", "value"] {
        let received = host.get(&format!("/api/m/{path}")).await;
        received.assert_problem(500, "invalid-reply");
        assert_eq!(received.field("b"), None);
    }
    assert!(host.get("/api/m/status").await.body.contains("700"));
}

#[tokio::test]
async fn a_panic_fails_one_request_only() {
    let host = host().route("GET x", |_, _| panic!("host bug")).echo("GET y").start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let received = client.receive().await;
    received.assert_problem(500, "internal");
    assert!(received.json()["trace"].is_string(), "{received:?}");
    assert_eq!(*host.panics.lock(), ["host bug"]);
    client.send("GET /api/m/y HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn replies_without_content_and_passed_payloads_are_sent() {
    let host = host()
        .route("GET none", |_, _| replied(0, &[], Payload::None))
        .route("GET same", |_, _| replied(304, &[("etag", "\"a\"")], Payload::Text("gone".into())))
        .route("GET pass", |_, _| {
            let payload = Some(Payload::Bytes(b"through".to_vec()));
            Ok(Outcome::Pass(Passed { payload, extra: vec![("fact".into(), "1".into())] }))
        })
        .start()
        .await;
    let mut client = host.connect().await;
    for (path, status, body) in [("none", 204, ""), ("same", 304, ""), ("pass", 200, "through")] {
        client.send(&format!("GET /api/m/{path} HTTP/1.1\r\nhost: h\r\n\r\n")).await;
        let received = client.receive().await;
        assert_eq!((received.status(), received.body.as_str()), (status, body));
    }
}
