//! Route names of calls.

use serde_json::{Value, json};

use super::{end, message, replied};
use crate::harness::{Started, TestHost};

async fn called(host: &Started, route: &str) -> Value {
    host.nested(0, json!({ "route": route, "payload": "sent" })).await
}

#[tokio::test]
async fn dots_and_slashes_name_the_same_route() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    for route in ["echo/echo", "echo.echo", "POST echo/echo", "POST echo.echo"] {
        assert_eq!(called(&host, route).await["ok"]["payload"], "sent", "{route}");
    }
    for route in ["echo/params/1/2?a=b&a=c", "echo.params.1.2?a=b&a=c", "GET echo/params/1/2?a=b&a=c"] {
        let replied = replied(&called(&host, route).await);
        assert_eq!(replied["params"], json!([["one", "1"], ["two", "2"]]), "{route}");
        assert_eq!(replied["query"], "a=b&a=c", "{route}");
    }
    let with_dot = replied(&called(&host, "echo/params/v1.2/a%2Fb").await);
    assert_eq!(with_dot["params"], json!([["one", "v1.2"], ["two", "a/b"]]));
}

#[tokio::test]
async fn a_leading_slash_means_the_callers_own_module() {
    let host = TestHost::waits_for(&[]).start().await;
    assert_eq!(called(&host, "/ok").await["ok"]["payload"], "ok");
    assert_eq!(called(&host, "waits/ok").await["ok"]["payload"], "ok", "the own module needs no grant by name either");
}

#[tokio::test]
async fn without_a_method_a_call_uses_post_or_the_only_method() {
    let both = json!({ "routes": [
        { "method": "get", "path": "both", "handler": "headers" },
        { "path": "both", "handler": "echo" },
        { "method": "delete", "path": "only", "handler": "echo" },
        { "method": "get", "path": "neither", "handler": "echo" },
        { "method": "put", "path": "neither", "handler": "echo" },
    ] });
    let host = TestHost::waits_for(&["echo"]).manifest("echo", both).start().await;
    assert_eq!(called(&host, "echo/both").await["ok"]["payload"], "sent", "POST");
    assert_eq!(called(&host, "echo/only").await["ok"]["payload"], "sent", "DELETE");
    assert_eq!(called(&host, "PUT echo/neither").await["ok"]["payload"], "sent");
    let ended = called(&host, "echo/neither").await;
    assert_eq!(end(&ended), "not-found");
    assert_eq!(message(&ended), "echo/neither has the methods GET, PUT; name one of them");
}

#[tokio::test]
async fn a_route_that_is_too_deep_or_too_long_is_invalid() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    for (separator, piece, size, rule) in [
        ("/", "a", 65, "the path has 65 segments: at most 64 are allowed"),
        (".", "a", 65, "the path has 65 segments: at most 64 are allowed"),
        ("/", "abc", 64_000, "the path has 255999 bytes: at most 4096 are allowed"),
    ] {
        let ended = called(&host, &format!("echo{separator}{}", vec![piece; size].join(separator))).await;
        assert_eq!((end(&ended), message(&ended)), ("invalid", rule));
    }
}

#[tokio::test]
async fn malformed_routes_are_invalid_and_unknown_ones_not_found() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    let cases = [
        ("", "invalid"),
        ("put echo/echo", "invalid"),
        ("echo/params/%zz/2", "invalid"),
        ("echo/nothing", "not-found"),
        ("PUT echo/echo", "not-found"),
        ("echo", "not-found"),
        ("/nothing", "not-found"),
    ];
    for (route, kind) in cases {
        assert_eq!(end(&called(&host, route).await), kind, "{route}");
    }
}

#[tokio::test]
async fn an_unknown_module_is_not_found() {
    let rights = json!({ "rpc": ["*"] });
    let host = TestHost::waits_for(&[])
        .manifest("waits", json!({ "capabilities": rights }))
        .grant("waits", rights)
        .start()
        .await;
    let ended = called(&host, "ghost/echo").await;
    assert_eq!((end(&ended), message(&ended)), ("not-found", "there is no module ghost"));
}

#[tokio::test]
async fn inner_routes_are_open_to_calls_and_closed_to_clients() {
    let host = TestHost::waits_for(&["echo"]).start().await;
    assert_eq!(called(&host, "echo/inner").await["ok"]["payload"], "sent");
    assert_eq!(host.call("any", "echo", "inner", "sent").await["payload"], "sent");
    assert_eq!(host.post("/api/echo/inner", "sent").await.status, 403);
}

#[tokio::test]
async fn test_routes_are_open_in_development_and_test_only() {
    for (environment, open) in [("development", true), ("test", true), ("production", false), ("staging", false)] {
        let host = TestHost::waits_for(&["echo"]).environment(environment).start().await;
        let ended = called(&host, "echo/test").await;
        let outside = host.post("/api/echo/test", "sent").await;
        match open {
            true => assert_eq!((end(&ended), outside.status), ("ok", 200), "{environment}"),
            false => {
                assert_eq!((end(&ended), outside.status), ("forbidden", 403), "{environment}");
                assert!(message(&ended).contains("--env"), "{}", message(&ended));
            }
        }
    }
}
