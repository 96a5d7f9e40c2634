//! A module that answers requests outside `/api/`.

use serde_json::json;

use crate::harness::{Started, TestHost};

async fn reason(host: &Started, name: &str) -> String {
    let status = host.status().await;
    let module = status["modules"].as_array().unwrap().iter().find(|module| module["name"] == name).cloned();
    module.unwrap()["reason"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn the_module_that_the_operator_names_answers_what_nothing_else_serves() {
    let host = TestHost::with("http-3").and("http-2").and("echo").manifest("http-3", json!({ "mount": "/" }));
    let host = host.config(json!({ "http": { "mount": "http-3" }, "sse": {} })).start().await;
    for path in ["/facts/a/b?c", "/facts//x", "/apifacts", "/"] {
        let answer = host.get(path).await;
        if path.starts_with("/facts") {
            assert_eq!(answer.text().lines().next(), Some(&*format!("GET http://{}{path}", host.http)));
            assert!(!answer.text().contains("x-forwarded-prefix"), "{}", answer.text());
        } else {
            assert!(answer.text().contains("the guest") || answer.text().contains("hello"), "{path}");
        }
    }
    let claims = host.request("GET", "/facts", &[("x-forwarded-prefix", "/admin")], "").await;
    assert!(!claims.text().contains("x-forwarded-prefix"), "{}", claims.text());
    assert!(host.get("/api/http-3/facts").await.text().contains("x-forwarded-prefix: /api/http-3"));
    // Modules and routes of the host come first.
    assert_eq!(host.post("/api/echo/echo", "hi").await.text(), "hi");
    assert_eq!(host.get("/api/nothing/").await.code(), "not-found");
    assert_eq!(host.post("/stream", "").await.code(), "method-not-allowed");
    let status = host.status().await;
    let mounted: Vec<_> =
        status["modules"].as_array().unwrap().iter().map(|module| module["mounted"] == true).collect();
    assert_eq!(mounted, [false, false, true]);
}

#[tokio::test]
async fn a_module_mounts_only_where_the_operator_has_named_it() {
    let asks = json!({ "mount": "/" });
    let host = TestHost::with("http-3").and_as("http-2", "other").and("echo");
    let host = host.manifest("http-3", asks.clone()).manifest("other", asks.clone());
    let host = host.config(json!({ "http": { "mount": "other" } })).start().await;
    let why = reason(&host, "http-3").await;
    assert!(why.contains("mount: asks for `/`, which `http.mount` of fanfare.json gives to other"), "{why}");
    assert_eq!(host.get("/").await.text(), "hello from wasi:http 0.2");
    host.stop().await;

    let host = TestHost::with("http-3").manifest("http-3", asks.clone()).start().await;
    let why = reason(&host, "http-3").await;
    assert!(why.contains("gives to no module: remove `mount`, or set `http.mount` to \"http-3\""), "{why}");
    assert_eq!(host.get("/facts").await.code(), "not-found");
    host.stop().await;

    // A module that does not ask, and one that cannot.
    let host = TestHost::with("http-3").and("echo").manifest("echo", asks);
    let host = host.config(json!({ "http": { "mount": "echo" } })).start().await;
    let why = reason(&host, "echo").await;
    assert!(why.contains("exports no wasi:http, but module.json has `mount`"), "{why}");
    assert_eq!(host.get("/").await.code(), "unavailable");
    host.stop().await;
    let host = TestHost::with("http-3").config(json!({ "http": { "mount": "http-3" } })).start().await;
    assert_eq!(host.get("/facts").await.code(), "not-found");
}
