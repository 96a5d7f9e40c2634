//! The page for developers, and who may emit broadcasts with it.

use serde_json::json;

use crate::harness::{Answer, Started, TestHost};

const EMIT: &str = "/developer/modules/counts/broadcasts/append";

async fn emit(host: &Started, headers: &[(&str, &str)]) -> Answer {
    host.request("POST", EMIT, headers, "x").await
}

/// How many broadcasts the host has emitted: one more, to learn the number.
async fn emitted_before(host: &Started) -> u64 {
    host.emit("counts", "append", "").await["seq"].as_u64().unwrap() - 1
}

#[tokio::test]
async fn the_page_for_developers_is_served_in_development_only() {
    for environment in ["development", "dev"] {
        let host = TestHost::with("flags").environment(environment).start().await;
        let page = host.get("/").await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
        let curl = format!("curl &#39;http://{}/api/flags/&#39;", host.http);
        assert!(page.text().contains(&curl), "{}", page.text());
        let docs = host.get("/developer/docs/first-module.md").await;
        assert_eq!((docs.status, docs.header("content-type")), (200, Some("text/html; charset=utf-8")));
        assert!(docs.text().contains("<h1 id=\""), "{}", docs.text());
        let code = host.get("/developer/modules/limiter/src/lib.rs").await;
        assert_eq!((code.status, code.header("content-type")), (200, Some("text/plain; charset=utf-8")));
        let refused = host.request("PUT", "/", &[], "").await;
        assert_eq!((refused.status, refused.header("allow")), (405, Some("GET, HEAD, OPTIONS")));
    }
    for environment in ["production", "test", "staging"] {
        let host = TestHost::with("counts").environment(environment).start().await;
        for path in ["/", "/developer/page.js", "/developer/page.css", "/developer/docs/first-module.md"] {
            let answer = host.get(path).await;
            assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{environment} {path}");
        }
        let answer = emit(&host, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{environment}");
        assert_eq!(emitted_before(&host).await, 0, "{environment}");
    }
}

#[tokio::test]
async fn only_a_browser_on_this_machine_emits_broadcasts_with_the_page() {
    // CORS is for the routes of modules, so it opens nothing here.
    let cors = json!({ "http": { "cors": { "origins": ["*"] } } });
    let host = TestHost::with("counts").workers(2).config(cors).start().await;
    let own = format!("http://{}", host.http);
    let foreign = [
        ("host", "rebound.example.test"),
        ("host", "10.0.0.7:8080"),
        ("origin", "https://evil.example.test"),
        ("origin", "null"),
        ("sec-fetch-site", "cross-site"),
        ("sec-fetch-site", "same-site"),
        ("x-forwarded-for", "10.0.0.7"),
        ("forwarded", "for=10.0.0.7"),
    ];
    for header in foreign {
        let answer = emit(&host, &[header]).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"), "{header:?}");
        assert_eq!(answer.header("access-control-allow-origin"), None, "{header:?}");
        let page = host.request("GET", "/", &[header], "").await;
        assert_eq!(page.status, 200, "{header:?}");
        assert!(!page.text().contains("Last error") && !page.text().contains(EMIT), "{header:?}");
        assert_eq!(page.header("access-control-allow-origin"), None, "{header:?}");
    }
    let preflight = [("origin", "https://evil.example.test"), ("access-control-request-method", "POST")];
    let preflight = host.request("OPTIONS", EMIT, &preflight, "").await;
    assert_eq!((preflight.status, preflight.header("access-control-allow-methods")), (204, None));
    assert_eq!(emitted_before(&host).await, 0);
    for header in [("origin", own.as_str()), ("sec-fetch-site", "same-origin"), ("host", "localhost")] {
        let answer = emit(&host, &[header]).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{header:?}");
        assert_eq!(answer.json().as_array().map(Vec::len), Some(2));
    }
    assert_eq!(emitted_before(&host).await, 4);
    assert!(host.get("/").await.text().contains(EMIT));
}

#[tokio::test]
async fn a_broadcast_of_the_page_has_a_bounded_payload_and_a_known_name() {
    let host = TestHost::with("counts").config(json!({ "http": { "maxBody": 1_000 } })).start().await;
    let answer = host.post(EMIT, "x".repeat(1_001)).await;
    assert_eq!((answer.status, answer.code().as_str()), (413, "payload-too-large"));
    assert_eq!(host.post(EMIT, "x".repeat(1_000)).await.status, 200);
    let wrong = ["/developer/modules/none/broadcasts/append", "/developer/modules/counts/broadcasts/none"];
    for path in wrong {
        let answer = host.post(path, "").await;
        assert_eq!((answer.status, answer.code().as_str()), (404, "not-found"), "{path}");
    }
    let answer = host.get(EMIT).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("POST, OPTIONS")));
}

#[tokio::test]
async fn the_page_shows_generation_grants_and_the_last_error_of_a_module() {
    let host = TestHost::with("lobby").grant("lobby", json!({ "sessions": true })).and("counts");
    let host = host.file("modules/broken/module.json", "{ \"component\": 1 }").start().await;
    host.gather("counts", "misbehave", r#"{ "worker": 0, "how": "trap" }"#).await;
    let page = host.get("/").await;
    let page = page.text();
    let generation = host.slot("counts", 0).await["generation"].as_str().unwrap().to_owned();
    for part in [
        format!("<code>{generation}</code>"),
        "<dt>Grants</dt><dd>sessions</dd>".to_owned(),
        "<dd class=\"bad\">worker-0, 20".to_owned(),
        "data-state=\"refused\">refused".to_owned(),
        "component".to_owned(),
    ] {
        assert!(page.contains(&part), "no {part} in {page}");
    }
}

#[tokio::test]
async fn the_page_shows_what_the_host_calls_by_itself_and_how_it_ended() {
    let own = json!({
        "schedules": { "s": { "path": "tick", "interval": "1h" } },
        "hooks": { "redisUp": { "path": "other" } },
        "startups": { "warm": { "path": "GET runs" } },
        "subscriptions": { "news": { "event": "news/*", "path": "other" } },
    });
    let host = TestHost::with("schedules").manifest("schedules", own).file("modules/loose.wasm", "");
    let host = host.config(json!({ "modules": { "schedule": {} } })).start().await;
    let page = async || host.get("/").await.text().to_owned();
    assert!(page().await.contains("<p>No run has ended yet.</p>"));
    let run = "/v1/schedules/run?module=schedules&name=s";
    let failed = host.admin("POST", run, r#"{ "how": "fails" }"#).await;
    assert_eq!(failed.status, 409, "{}", failed.text());
    let page = page().await;
    for part in [
        "0 succeeded and 1 failed.</p>\n<p class=\"bad\">this run fails on request</p>",
        "<dt>Hooks</dt><dd>redisUp: POST other</dd>",
        "<dt>Subscriptions</dt><dd>news: event news/*; 0 succeeded, 0 failed, 0 dropped</dd>",
        "<dt>Startups</dt><dd>GET runs</dd>",
        "modules/loose.wasm is not loaded",
        "modules.schedule: there is no such module in ",
    ] {
        assert!(page.contains(part), "no {part} in {page}");
    }
}

#[tokio::test]
async fn the_page_shows_that_a_generation_is_pinned() {
    let host = TestHost::with("echo").start().await;
    host.rewrite("echo", json!({ "routes": [{ "path": "new", "handler": "who" }] }));
    assert_eq!(host.reload("echo").await["outcome"], "swapped");
    assert_eq!(host.operate("modules/echo/rollback").await["pinned"], true);
    let page = host.get("/").await;
    assert!(page.text().contains("<dt>Note</dt><dd>pinned by a rollback to generation "), "{}", page.text());
}
