//! What only JavaScript has: global names of the web, timers, random numbers.

use serde_json::{Value, json};

use super::sdk::built;
use crate::harness::{Started, TestHost, eventually};

const MANIFEST: &str = include_str!("../../sdk/js/conformance/web.json");

/// Starts a host with two workers and the module, if it is built.
async fn start(change: impl FnOnce(TestHost) -> TestHost) -> Option<Started> {
    let component = built("javascript-sdk", "web")?;
    let host = TestHost::empty()
        .file("modules/web/module.json", MANIFEST)
        .file("modules/web/web.wasm", component)
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
