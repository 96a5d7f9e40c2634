//! What a component sees of a request, and which responses it may send.

use std::time::Instant;

use serde_json::json;

use super::BOTH;
use crate::harness::{TestHost, eventually};

#[tokio::test]
async fn a_component_sees_the_path_below_its_module_and_the_prefix_as_a_field() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    for module in BOTH {
        let fields = [("x-forwarded-prefix", "/evil"), ("x-own", "1"), ("te", "trailers"), ("keep-alive", "a")];
        let path = format!("/api/{module}/facts//a%2Fb/../c?d=%20&e");
        let answer = host.request("GET", &path, &fields, "").await;
        let lines: Vec<&str> = answer.text().lines().collect();
        let seen = format!("GET http://{}/facts//a%2Fb/../c?d=%20&e", host.http);
        assert_eq!((answer.status, lines[0]), (200, seen.as_str()), "{module}");
        let prefix = format!("x-forwarded-prefix: /api/{module}");
        assert!(lines.contains(&prefix.as_str()) && lines.contains(&"x-own: 1"), "{lines:?}");
        for hidden in ["te:", "keep-alive:", "host:", "connection:", "/evil"] {
            assert!(!lines.iter().skip(1).any(|line| line.contains(hidden)), "{hidden} in {lines:?}");
        }
        // Any method, and the root in both forms.
        for method in ["DELETE", "PROPFIND"] {
            let answer = host.request(method, &format!("/api/{module}/facts"), &[], "").await;
            assert!(answer.text().starts_with(&format!("{method} http://")), "{}", answer.text());
        }
        assert!(host.post(&format!("/api/{module}"), "").await.text().starts_with("hello from wasi:http"));
        let redirected = host.get(&format!("/api/{module}?a=b")).await;
        let location = format!("/api/{module}/?a=b");
        assert_eq!((redirected.status, redirected.header("location")), (308, Some(location.as_str())));
        assert_eq!(host.get(&format!("/api/{module}/nowhere")).await.text(), "the guest has no such path");
        // The name of the module may be escaped, and the prefix shows what the client has sent.
        let escaped = format!("/api/%68{}", &module[1..]);
        let answer = host.get(&format!("{escaped}/facts")).await;
        assert!(answer.text().contains(&format!("/facts\nx-forwarded-prefix: {escaped}")), "{}", answer.text());
    }
}

#[tokio::test]
async fn statuses_and_errors_of_a_component_reach_the_client() {
    let host = TestHost::with("http-2").and("http-3").limit("http-2", "timeout", "300ms");
    let host = host.limit("http-3", "timeout", "300ms").start().await;
    for module in BOTH {
        let get = async |path: &str| host.get(&format!("/api/{module}/{path}")).await;
        for status in [200, 201, 204, 304, 418, 503, 599] {
            assert_eq!(get(&format!("status/{status}")).await.status, status, "{module}");
        }
        // wasmtime itself refuses 600 and above in version 0.3.
        for status in if module == "http-2" { &[101, 600, 999][..] } else { &[101] } {
            let answer = get(&format!("status/{status}")).await;
            assert_eq!((answer.status, answer.code()), (500, "invalid-reply".to_owned()), "{module} {status}");
        }
        let failed = get("fail").await;
        assert_eq!((failed.status, failed.code()), (500, "no-response".to_owned()), "{module}");
        assert!(failed.json()["detail"].as_str().unwrap().starts_with("wasi:http reported an error"), "{module}");
        let late = get("never").await;
        assert_eq!((late.status, late.code()), (504, "timeout".to_owned()), "{module}");
        let head = host.request("HEAD", &format!("/api/{module}/download/100"), &[], "").await;
        assert_eq!((head.status, head.body.len()), (200, 0), "{module}");
    }
    // Version 0.2 can return without a response.
    let left = host.get("/api/http-2/exit").await;
    assert_eq!((left.status, left.code()), (500, "crashed".to_owned()));
}

#[tokio::test]
async fn a_trap_fails_the_request_and_the_module_comes_back() {
    let host = TestHost::with("http-2").and("http-3").workers(1).start().await;
    for module in BOTH {
        for _ in 0..3 {
            let crashed = host.get(&format!("/api/{module}/trap")).await;
            assert_eq!((crashed.status, crashed.code()), (500, "crashed".to_owned()), "{module}");
            let detail = crashed.json()["detail"].as_str().unwrap().to_owned();
            assert!(detail.contains("ended while `wasi:http` ran"), "{detail}");
            let hello = host.get(&format!("/api/{module}/")).await;
            assert_eq!(hello.status, 200, "{}", hello.text());
        }
    }
    assert_eq!(host.ended("http-3", 0, "http", "crashed").await, 3.0);
    assert_eq!(host.ended("http-2", 0, "http", "ok").await, 3.0);
}

#[tokio::test]
async fn a_component_of_0_3_is_resident_and_one_of_0_2_is_new_for_each_request() {
    let host = TestHost::with("http-2").and("http-3").and_as("http-3", "fresh").workers(1);
    let host = host.manifest("fresh", json!({ "isolation": "fresh" })).start().await;
    for count in 0..3 {
        let counted = async |module: &str| host.get(&format!("/api/{module}/count")).await.text().to_owned();
        assert_eq!(counted("http-3").await, count.to_string());
        assert_eq!((counted("http-2").await, counted("fresh").await), ("0".to_owned(), "0".to_owned()));
    }
    let status = host.status().await;
    let exports: Vec<_> = status["modules"].as_array().unwrap().iter().map(|module| &module["wasiHttp"]).collect();
    assert!(exports[0].as_str().unwrap().starts_with("wasi:http/handler@0.3."), "{exports:?}");
    assert!(exports[1].as_str().unwrap().starts_with("wasi:http/incoming-handler@0.2."), "{exports:?}");
}

#[tokio::test]
async fn many_requests_wait_at_once_in_one_worker() {
    let host = TestHost::with("http-2").and("http-3").workers(1).start().await;
    for module in BOTH {
        let begun = Instant::now();
        let path = format!("/api/{module}/wait/300");
        let answers = futures_util::future::join_all((0..40).map(|_| host.get(&path))).await;
        assert!(answers.iter().all(|answer| answer.text() == "waited"), "{module}");
        assert!(begun.elapsed().as_secs() < 6, "{module}: {:?}", begun.elapsed());
    }
}

#[tokio::test]
async fn routes_go_to_the_handler_and_all_other_requests_to_wasi_http() {
    let host = TestHost::with("http-both").start().await;
    assert_eq!(host.post("/api/http-both/emit", "the news").await.status, 204);
    // Both workers have heard it, and tell so through wasi:http.
    eventually("both workers have heard", || async {
        let answers = futures_util::future::join_all((0..8).map(|_| host.get("/api/http-both/any/path"))).await;
        answers.iter().all(|answer| answer.text() == "the news")
    })
    .await;
    // Another method than that of the route, and a malformed escape.
    for path in ["emit", "a%zz"] {
        assert_eq!(host.get(&format!("/api/http-both/{path}")).await.text(), "the news", "{path}");
    }
    assert_eq!(host.post("/api/http-both/hear", "forged").await.code(), "forbidden");
}

#[tokio::test]
async fn the_status_has_the_last_crash_of_a_component_that_gets_an_instance_for_each_request() {
    let host = TestHost::with("http-2").workers(1).start().await;
    assert_eq!(host.get("/api/http-2/trap").await.code(), "crashed");
    let slot = host.slot("http-2", 0).await;
    assert!(slot["reason"].as_str().is_some_and(|why| why.contains("unreachable")), "{slot}");
    assert!(slot["endedAt"].is_u64() && slot["state"] == "ready", "{slot}");
}

#[tokio::test]
async fn a_call_of_the_operator_says_why_such_a_module_has_no_route() {
    let host = TestHost::with("http-2").and("http-3").start().await;
    for module in BOTH {
        let refused = host.call("any", module, "facts", "").await;
        let why = format!(
            "there is no route {module}/facts: its module answers HTTP requests through wasi:http, which only requests \
             reach"
        );
        assert_eq!((&refused["code"], &refused["detail"]), (&json!("not-found"), &json!(why)));
    }
}

#[tokio::test]
async fn a_module_that_contradicts_its_component_is_refused() {
    let host = TestHost::with("http-3").and_as("http-3", "routes").and_as("wrong-exports", "neither");
    let host = host.manifest("routes", json!({ "routes": [{ "path": "a", "handler": "a" }] })).start().await;
    let reason = async |name: &str| {
        let status = host.status().await;
        let module = status["modules"].as_array().unwrap().iter().find(|module| module["name"] == name).cloned();
        module.unwrap()["reason"].as_str().unwrap_or_default().to_owned()
    };
    let routes = reason("routes").await;
    assert!(routes.contains("module.json has routes, which only a handler can serve"), "{routes}");
    let neither = reason("neither").await;
    assert!(neither.contains("nor wasi:http/handler@0.3.x or wasi:http/incoming-handler@0.2.x nor"), "{neither}");
    assert_eq!(reason("http-3").await, "");
}

#[tokio::test]
async fn cors_of_the_host_answers_preflight_requests_and_marks_responses() {
    let cors = json!({ "http": { "cors": { "origins": ["https://a.test"] } } });
    let host = TestHost::with("http-3").config(cors).start().await;
    let origin = ("origin", "https://a.test");
    let asked = [origin, ("access-control-request-method", "POST")];
    let preflight = host.request("OPTIONS", "/api/http-3/facts", &asked, "").await;
    let allowed = Some("https://a.test");
    assert_eq!((preflight.status, preflight.header("access-control-allow-origin")), (204, allowed));
    let options = host.request("OPTIONS", "/api/http-3/facts", &[origin], "").await;
    assert!(options.text().contains("ptions http://"), "another OPTIONS request reaches the component");
    assert_eq!(options.header("access-control-allow-origin"), allowed);
}
