//! What only JavaScript has: global names of the web, timers, random numbers, `fetch`.

use std::sync::atomic::Ordering;

use serde_json::{Value, json};

use super::sdk::built;
use crate::harness::{Started, TestHost, WebServer, eventually};

const MANIFEST: &str = include_str!("../../sdk/js/conformance/web.json");

/// The origin in the manifest, which has no port.
const ORIGIN: &str = "http://127.0.0.1";

/// Starts a host with two workers and the module, if it is built.
async fn start(change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
    start_granted(&[ORIGIN.to_owned()], change).await
}

/// The same with a module that may reach these origins.
async fn start_granted(origins: &[String], change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
    let component = built("javascript-sdk", "web")?;
    let host = TestHost::empty()
        .file("modules/web/module.json", MANIFEST.replace(&format!("[\"{ORIGIN}\"]"), &json!(origins).to_string()))
        .file("modules/web/web.wasm", component)
        .grant("web", json!({ "http": origins }))
        .limit("web", "memory", "128MiB")
        .limit("web", "timeout", "30s");
    Some(change(host).start().await)
}

#[tokio::test]
async fn global_names_of_the_web_work() {
    let Some(host) = start(|host| host).await else { return };
    let checks = host.post("/api/web/checks", "").await.json();
    let all = checks.as_object().unwrap();
    assert!(all.len() > 20, "{checks}");
    for (name, result) in all {
        assert_eq!(result, &json!(true), "{name}");
    }
}

#[tokio::test]
async fn each_instance_has_its_own_random_numbers() {
    let Some(host) = start(|host| host).await else { return };
    let numbers = host.post("/api/web/random", "").await.json();
    let each: Vec<&Value> = numbers.as_array().unwrap().iter().collect();
    assert_eq!(each.len(), 2, "one list for each worker: {numbers}");
    assert_ne!(each[0], each[1]);
}

/// A timer of one call delays no other call, and fires in its own call.
#[tokio::test]
async fn timers_hold_up_no_other_call() {
    let Some(host) = start(|host| host.workers(1)).await else { return };
    let trace = format!("{:032x}", u128::from(std::process::id()) << 64 | 8);
    let parent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("traceparent", parent.as_str())];
    let wait = host.request("POST", "/api/web/sleep", &headers, "until stopped");
    let others = async {
        let sleeping = || async { host.post("/api/web/sleeping", "").await.text() == "1" };
        eventually("the call sleeps", sleeping).await;
        host.post("/api/web/stop", "").await
    };
    let (slept, stopped) = tokio::join!(wait, others);
    assert_eq!((slept.text(), stopped.status), ("stopped", 204));
    let logged = || async { host.log.contains(&["module=web", "a timer fired", &trace]) };
    eventually("the line of the timer, with its trace", logged).await;
    assert_eq!(host.slot("web", 0).await["restarts"], 0);
}

#[tokio::test]
async fn an_error_in_a_timer_is_logged_and_ends_nothing() {
    let Some(host) = start(|host| host.workers(1)).await else { return };
    assert_eq!(host.post("/api/web/late", "").await.text(), "later");
    let logged = || async { host.log.contains(&["module=web", "ERROR", "thrown by a timer", "web.js:"]) };
    eventually("the line of the error", logged).await;
    assert_eq!(host.slot("web", 0).await["restarts"], 0);
}

async fn fetched(host: &Started, url: &str, options: Value) -> Value {
    host.post("/api/web/fetched", json!({ "url": url, "options": options }).to_string()).await.json()
}

#[tokio::test]
async fn fetch_reaches_servers_that_are_granted() {
    let server = WebServer::plain().await;
    let (origin, nobody) = (format!("http://{}", server.addr), "http://127.0.0.1:9".to_owned());
    let settings = json!({ "outgoing": { "maxRequest": "128KiB", "maxResponse": "1MiB" } });
    let Some(host) = start_granted(&[origin.clone(), nobody.clone()], |host| host.workers(1).config(settings)).await
    else {
        return;
    };
    let hello = json!({ "status": 200, "ok": true, "redirected": false, "length": "17", "text": "hello over HTTP/1" });
    assert_eq!(fetched(&host, &format!("{origin}/?a=b#c"), json!({})).await, hello);
    let sent = json!({ "method": "post", "body": "é".repeat(40_000), "headers": { "X-A": "1" }, "cache": "no-store" });
    assert_eq!(fetched(&host, &format!("{origin}/size"), sent).await["text"], "80000");
    let manual = fetched(&host, &format!("{origin}/redirect"), json!({ "redirect": "manual" })).await;
    assert_eq!((&manual["status"], &manual["ok"]), (&json!(302), &json!(false)), "{manual}");

    let large = json!({ "method": "PUT", "body": "x".repeat(140_000) });
    for (url, options, kind, why) in [
        // Also where a redirect leads to.
        (format!("{origin}/redirect"), json!({}), "forbidden", "web lacks the grant \"http\" for http://127.0.0.1:1"),
        ("http://10.0.0.1/".into(), json!({}), "forbidden", "web lacks the grant \"http\" for http://10.0.0.1"),
        (nobody, json!({}), "unavailable", "127.0.0.1:9: the server refuses the connection"),
        (format!("{origin}/never"), json!({ "timeout": 50 }), "timeout", "no answer by the deadline"),
        (format!("{origin}/endless"), json!({}), "crashed", "the body of the response is larger than 1048576 bytes"),
        (format!("{origin}/size"), large, "invalid", "the body of the request is larger than 131072 bytes"),
        ("/relative".into(), json!({}), "invalid", "the URL `/relative` is not valid"),
        (origin.clone(), json!({ "headers": { "host": "other" } }), "invalid", "the header `host` is not valid"),
    ] {
        let error = fetched(&host, &url, options).await;
        assert_eq!((&error["name"], &error["kind"]), (&json!("CallError"), &json!(kind)), "{url}: {error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{url}: {error}");
    }
    for (options, why) in [
        (json!({ "method": "PUT", "body": { "a": 1 } }), "use JSON.stringify"),
        (json!({ "signal": {} }), "set `timeout`"),
        (json!({ "metod": "PUT" }), "`fetch` has no option metod"),
        (json!({ "body": "a" }), "a GET request has no body"),
    ] {
        let error = fetched(&host, &origin, options).await;
        assert_eq!(error["name"], "TypeError", "{error}");
        assert!(error["message"].as_str().unwrap().contains(why), "{error}");
    }
    assert_eq!(host.slot("web", 0).await["restarts"], 0);
    assert_eq!(host.log.lines(&["web", "add \"http://10.0.0.1\" to capabilities.http", "web"]).len(), 1);
}

#[tokio::test]
async fn requests_of_fetch_hold_up_no_other_call() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let Some(host) = start_granted(std::slice::from_ref(&origin), |host| host.workers(1)).await else { return };
    let stalls = format!("{origin}/stalls");
    let stalled = fetched(&host, &stalls, json!({}));
    let others = async {
        let later = format!("{origin}/later");
        let all = (0..16).map(|_| fetched(&host, &later, json!({})));
        futures_util::future::join_all(all).await
    };
    tokio::select! {
        answer = stalled => panic!("{answer}"),
        all = others => assert!(all.iter().all(|answer| answer["text"] == "later"), "{all:?}"),
    }
}

/// The host waits for no server longer than for the call, and then drops the connection.
#[tokio::test]
async fn requests_of_fetch_end_with_the_deadline_of_their_call() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let limit = |host: TestHost| host.workers(1).limit("web", "timeout", "300ms");
    let Some(host) = start_granted(std::slice::from_ref(&origin), limit).await else { return };
    for path in ["never", "stalls"] {
        let late = fetched(&host, &format!("{origin}/{path}"), json!({})).await;
        assert_eq!(late["code"], "timeout", "{path}: {late}");
        eventually("the connection closes", || async { server.open.load(Ordering::SeqCst) == 0 }).await;
    }
    assert_eq!(host.slot("web", 0).await["restarts"], 0);
}

/// The host reads a response into memory of its own, before the instance gets it.
#[tokio::test]
async fn responses_of_fetch_are_at_most_as_large_as_the_memory() {
    let server = WebServer::plain().await;
    let origin = format!("http://{}", server.addr);
    let change = |host: TestHost| {
        host.workers(1).config(json!({ "outgoing": { "maxResponse": "1GiB" } })).limit("web", "memory", "32MiB")
    };
    let Some(host) = start_granted(std::slice::from_ref(&origin), change).await else { return };
    let error = fetched(&host, &format!("{origin}/endless"), json!({})).await;
    assert_eq!(error["kind"], "overloaded", "{error}");
    assert!(error["message"].as_str().unwrap().contains("larger than its limits.memory"), "{error}");
    assert_eq!(fetched(&host, &origin, json!({})).await["status"], 200);
    assert_eq!(host.slot("web", 0).await["restarts"], 0);
}
