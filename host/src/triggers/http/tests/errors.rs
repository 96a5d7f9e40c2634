use super::*;
use crate::call::{CallError, Failure, Passed};

#[tokio::test]
async fn paths_that_lead_nowhere() {
    let host = host().echo("GET x").start().await;
    for path in
        ["/", "/x", "/api", "/api/", "/api//x", "/api/other/x", "/api/m/y", "/api/m/x/", "/api/m//x", "/API/m/x"]
    {
        host.get(path).await.is_problem(404, "not-found");
    }
    let detail = host.get("/x").await.json()["detail"].as_str().unwrap().to_owned();
    assert_eq!(detail, "`/x` is not served: routes are at `/api/<module>/<path>`");
    assert_eq!(host.get("/api/m/y").await.json()["module"], "m");
    host.get("/api/absent/x").await.is_problem(503, "unavailable");
    for path in ["/api/m/%", "/api/m/%zz", "/api/m/%ff"] {
        host.get(path).await.is_problem(400, "bad-request");
    }
}

#[tokio::test]
async fn inner_and_test_routes_are_closed() {
    for (environment, open) in [("production", false), ("staging", false), ("development", true), ("test", true)] {
        let host = host().environment(environment).echo("GET inner/x").echo("GET test/x").start().await;
        host.get("/api/m/inner/x").await.is_problem(403, "forbidden");
        let got = host.get("/api/m/test/x").await;
        if open { assert_eq!(got.status(), 200) } else { got.is_problem(403, "forbidden") }
    }
}

#[tokio::test]
async fn a_call_without_a_reply() {
    let errors = [
        (CallError::Timeout, 504, "timeout", None),
        (CallError::Overloaded("full".into()), 503, "overloaded", Some("1")),
        (CallError::Unavailable("failed".into()), 503, "unavailable", Some("1")),
        (CallError::Crashed("trapped".into()), 500, "crashed", None),
    ];
    for (error, status, code, retry) in errors {
        let host = host().route("GET x", move |_, _| Err(error.clone())).start().await;
        let got = host.get("/api/m/x").await;
        got.is_problem(status, code);
        assert_eq!(got.field("retry-after"), retry);
        assert_eq!(got.json()["module"], "m");
    }
}

#[tokio::test]
async fn a_failure_goes_out_as_it_is() {
    let failure = Failure {
        name: "no-such-flag".into(),
        message: "there is no flag `x`".into(),
        status: 404,
        data: Payload::Text(r#"{"flag":"x"}"#.into()),
        extra: Vec::new(),
    };
    let host = host().route("GET x", move |_, _| Err(CallError::Failure(failure.clone()))).start().await;
    let trace = "0000000000000000000000000000002a";
    let got = host.ask(&format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\ntraceparent: 00-{trace}-1-01\r\n\r\n")).await;
    got.is_problem(404, "no-such-flag");
    let expected = serde_json::json!({
        "type": "urn:fanfare:no-such-flag", "title": "Not Found", "status": 404, "detail": "there is no flag `x`",
        "code": "no-such-flag", "module": "m", "trace": trace, "data": {"flag": "x"},
    });
    assert_eq!(got.json(), expected);
}

#[tokio::test]
async fn a_traceparent_names_the_problem_too() {
    let host = host().route("GET x", |_, _| Err(CallError::Timeout)).start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let got = host.ask(&format!("GET /api/m/x HTTP/1.1\r\nhost: h\r\ntraceparent: 00-{trace}-1-01\r\n\r\n")).await;
    assert_eq!(got.json()["trace"], trace);
}

#[tokio::test]
async fn replies_that_cannot_be_sent() {
    let host = host()
        .route("GET status", |_, _| replied(700, &[], Payload::None))
        .route("GET early", |_, _| replied(103, &[], Payload::None))
        .route("GET name", |_, _| replied(200, &[("a b", "1")], Payload::None))
        .route("GET value", |_, _| replied(200, &[("a", "1\r\nb: 2")], Payload::None))
        .start()
        .await;
    for path in ["status", "early", "name", "value"] {
        let got = host.get(&format!("/api/m/{path}")).await;
        got.is_problem(500, "invalid-reply");
        assert_eq!(got.field("b"), None);
    }
    assert!(host.get("/api/m/status").await.body.contains("700"));
}

#[tokio::test]
async fn a_panic_costs_its_request_only() {
    let host = host().route("GET x", |_, _| panic!("host bug")).echo("GET y").start().await;
    let mut client = host.connect().await;
    client.send("GET /api/m/x HTTP/1.1\r\nhost: h\r\n\r\n").await;
    let got = client.receive().await;
    got.is_problem(500, "internal");
    assert!(got.json()["trace"].is_string(), "{got:?}");
    client.send("GET /api/m/y HTTP/1.1\r\nhost: h\r\n\r\n").await;
    assert_eq!(client.receive().await.status(), 200);
}

#[tokio::test]
async fn bare_replies() {
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
        let got = client.receive().await;
        assert_eq!((got.status(), got.body.as_str()), (status, body));
    }
}
