//! Errors are problem documents.

use serde_json::{Value, json};

use crate::harness::{Answer, Connection, TestHost, eventually};

fn problem(answer: &Answer) -> (u16, String) {
    (answer.status, answer.code())
}

/// Asserts that an answer has all the fields of a problem document of a call, and returns it.
fn well_formed(answer: &Answer, module: &str) -> Value {
    let document = answer.json();
    assert_eq!(document["status"], answer.status);
    assert_eq!(document["type"], format!("urn:fanfare:{}", answer.code()));
    assert_eq!(document["module"], module);
    assert!(!document["title"].as_str().unwrap().is_empty() && !document["detail"].as_str().unwrap().is_empty());
    let trace = document["trace"].as_str().unwrap();
    assert!(trace.len() == 32 && trace.bytes().all(|byte| byte.is_ascii_hexdigit()), "{trace}");
    document
}

#[tokio::test]
async fn a_failure_of_a_guest_keeps_its_name_message_status_and_data() {
    let host = TestHost::with("echo").start().await;
    let fail =
        json!({ "name": "out-of-tea", "message": "There is none.", "status": 418, "data": { "pots": [1, 2.50] } });
    let answer = host.post("/api/echo/fail", fail.to_string()).await;
    assert_eq!(problem(&answer), (418, "out-of-tea".to_owned()));
    let document = well_formed(&answer, "echo");
    assert_eq!(document["detail"], "There is none.");
    assert_eq!(document["data"], json!({ "pots": [1, 2.5] }), "{document}");

    let answer = host.post("/api/echo/fail", json!({ "name": "x", "message": "y" }).to_string()).await;
    assert_eq!(problem(&answer), (500, "x".to_owned()), "without a status");
}

#[tokio::test]
async fn the_trace_of_the_client_is_in_the_problem_and_in_the_log() {
    let host = TestHost::with("traps").start().await;
    let trace = format!("{:032x}", 0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736_u128);
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let answer = host.request("POST", "/api/traps/panics", &[("traceparent", &parent)], "so it says").await;
    assert_eq!(problem(&answer), (500, "crashed".to_owned()));
    assert_eq!(well_formed(&answer, "traps")["trace"], trace);
    assert!(host.log.contains(&["so it says", &trace]), "the output of the guest has the trace too");
}

#[tokio::test]
async fn a_long_name_or_message_of_a_failure_is_shortened() {
    let host = TestHost::with("echo").start().await;
    let fail = |name: usize, message: usize| {
        json!({ "name": "n".repeat(name), "message": "m".repeat(message), "status": 418 }).to_string()
    };
    let longest = host.post("/api/echo/fail", fail(128, 4_096)).await;
    assert_eq!((longest.code().len(), longest.json()["detail"].as_str().unwrap().len()), (128, 4_096));
    let document = host.post("/api/echo/fail", fail(129, 1_900_000)).await.json();
    assert_eq!(document["code"], format!("{}… (1 more bytes)", "n".repeat(128)));
    assert_eq!(document["detail"], format!("{}… (1895904 more bytes)", "m".repeat(4_096)));
}

#[tokio::test]
async fn a_path_longer_than_any_route_is_rejected() {
    let host = TestHost::with("echo").start().await;
    let deep = |segments: usize| format!("/api/echo/{}", vec!["a"; segments].join("/"));
    let answer = host.get(&deep(65)).await;
    assert_eq!(problem(&answer), (404, "not-found".to_owned()), "a request may have this path, a route cannot");
    let answer = host.get(&deep(31_000)).await;
    assert_eq!(problem(&answer), (414, "uri-too-long".to_owned()));
    let expected = "the path after the module name has 61999 bytes, but may have at most 4096";
    assert_eq!(well_formed(&answer, "echo")["detail"], expected);
    assert_eq!(host.get(&format!("/api/echo/params/1/{}", "2".repeat(4_087))).await.status, 200);
    assert_eq!(host.get(&format!("/api/echo/params/1/{}", "2".repeat(4_088))).await.status, 414);
}

#[tokio::test]
async fn a_request_that_is_rejected_before_it_becomes_a_call_has_a_trace_too() {
    let host = TestHost::with("echo").config(json!({ "http": { "maxBody": 9 } }));
    let host = host.file("modules/broken/module.json", "{ not json").start().await;
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    for (method, path, status) in [
        ("POST", "/api/echo/inner", 403),
        ("GET", "/api/nobody/x", 404),
        ("GET", "/api/echo/nothing", 404),
        ("GET", "/api/echo/%zz", 400),
        ("PUT", "/api/echo/who", 405),
        ("POST", "/api/echo/echo", 413),
        ("GET", "/api/broken/x", 503),
    ] {
        let answer = host.request(method, path, &[("traceparent", &parent)], "ten bytes.").await;
        assert_eq!((answer.status, &answer.json()["trace"]), (status, &json!(trace)), "{path}");
        let own = host.request(method, path, &[], "ten bytes.").await.json()["trace"].clone();
        assert!(own.as_str().is_some_and(|own| own.len() == 32 && own != trace), "{path}: {own}");
    }
}

#[tokio::test]
async fn the_trace_of_a_rejected_call_is_in_the_log() {
    let host = TestHost::with("traps").workers(1).config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    host.post("/api/traps/trap", "").await;
    eventually("it has failed", || async { host.slot("traps", 0).await["state"] == "failed" }).await;
    let trace = "0af7651916cd43dd8448eb211c80319d";
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    // The host logs at most one such line per second.
    eventually("it is logged", || async {
        let answer = host.request("GET", "/api/traps/ok", &[("traceparent", &parent)], "").await;
        assert_eq!((answer.status, &answer.json()["trace"]), (503, &json!(trace)));
        host.log.contains(&["a call failed", "unavailable", trace])
    })
    .await;
    let answer = host.get("/api/traps/ok").await;
    well_formed(&answer, "traps");
}

#[tokio::test]
async fn a_call_past_its_deadline_is_a_504() {
    let host = TestHost::with("never").limit("never", "timeout", "200ms").start().await;
    let answer = host.post("/api/never/never", "").await;
    assert_eq!(problem(&answer), (504, "timeout".to_owned()));
    well_formed(&answer, "never");
}

#[tokio::test]
async fn a_503_of_an_overloaded_or_failed_module_has_retry_after() {
    let host = TestHost::with("serial").and("traps").workers(1).limit("serial", "mailbox", 1);
    let host = host.config(json!({ "isolate": { "maxRestarts": 0 } })).start().await;
    for status in ["inFlight", "waiting"] {
        let mut connection = Connection::open(host.http).await;
        tokio::spawn(async move { connection.send("POST", "/api/serial/hold", &[], "").await });
        eventually(status, || async { host.slot("serial", 0).await[status] == 1 }).await;
    }
    let answer = host.get("/api/serial/ok").await;
    assert_eq!(problem(&answer), (503, "overloaded".to_owned()));
    assert!(answer.header("retry-after").is_some());

    host.post("/api/traps/trap", "").await;
    eventually("it has failed", || async { host.slot("traps", 0).await["state"] == "failed" }).await;
    let answer = host.get("/api/traps/ok").await;
    assert_eq!(problem(&answer), (503, "unavailable".to_owned()));
    assert!(answer.header("retry-after").is_some());
    assert!(answer.json()["detail"].as_str().unwrap().contains("unreachable"), "the reason: {}", answer.text());
}

#[tokio::test]
async fn unknown_paths_methods_and_inner_routes_have_different_codes() {
    let host = TestHost::with("echo").start().await;
    for path in ["/nothing", "/api/", "/api/nobody/x", "/api/echo/nothing"] {
        assert_eq!(problem(&host.get(path).await), (404, "not-found".to_owned()), "{path}");
    }
    let answer = host.request("PUT", "/api/echo/who", &[], "").await;
    assert_eq!(problem(&answer), (405, "method-not-allowed".to_owned()));
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
    assert_eq!(problem(&host.post("/api/echo/inner", "x").await), (403, "forbidden".to_owned()));
}

#[tokio::test]
async fn a_call_without_its_grant_is_a_403_that_prints_the_command() {
    let host = TestHost::with("ungranted").and("echo").start().await;
    let answer = host.post("/api/ungranted/reload", r#""echo""#).await;
    assert_eq!(problem(&answer), (403, "forbidden".to_owned()), "{}", answer.text());
    let document = answer.json();
    assert_eq!(document["title"], "Forbidden");
    assert!(document["detail"].as_str().unwrap().contains("fanfare grant ungranted"), "{document}");
}

#[tokio::test]
async fn a_body_up_to_the_limit_reaches_the_guest_and_a_larger_one_is_a_413() {
    let host = TestHost::with("echo").config(json!({ "http": { "maxBody": 100_000 } })).start().await;
    let answer = host.post("/api/echo/echo", "x".repeat(100_000)).await;
    assert_eq!((answer.status, answer.body.len()), (200, 100_000));
    let answer = host.post("/api/echo/echo", "x".repeat(100_001)).await;
    assert_eq!(problem(&answer), (413, "payload-too-large".to_owned()));
    assert!(answer.json()["detail"].as_str().unwrap().contains("http.maxBody"));
}
