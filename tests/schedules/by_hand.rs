//! Runs by hand: over the admin listener and by the embedding program.

use std::time::Duration;

use fanfare::tooling::CallError;
use fanfare::{CallOptions, Payload};
use serde_json::{Value, json};

use super::scheduled;
use crate::harness::json_of;

fn disabled(more: Value) -> Value {
    let mut schedule = json!({ "path": "tick", "interval": "1h", "disable": true, "data": { "from": "manifest" } });
    schedule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    schedule
}

#[tokio::test]
async fn a_disabled_schedule_runs_by_hand_and_returns_the_reply() {
    let host = scheduled(json!({ "s": disabled(json!({})) })).start().await;
    let reply = host.run_by_hand("name=s", "").await;
    let run = json_of(&reply);
    assert_eq!(
        (&reply["status"], &run["data"], &run["name"]),
        (&json!(200), &json!({ "from": "manifest" }), &json!("s"))
    );
    let reply = host.run_by_hand("name=s", r#"{"from":"operator"}"#).await;
    assert_eq!(json_of(&reply)["data"], json!({ "from": "operator" }));
    let ended = host.until_ended(2).await;
    assert!(ended.iter().all(|run| run["success"] == true), "{ended:?}");
    let status = host.schedule("s").await;
    assert_eq!(
        (&status["succeeded"], &status["state"], &status["next"]),
        (&json!(2), &json!("disabled"), &json!(null))
    );
}

#[tokio::test]
async fn a_schedule_of_the_type_all_returns_an_entry_for_each_worker() {
    let host = scheduled(json!({ "s": disabled(json!({ "type": "all" })) })).start().await;
    let entries = host.run_by_hand("name=s", "").await;
    let isolates: Vec<_> = entries.as_array().unwrap().iter().map(|entry| entry["isolate"].clone()).collect();
    assert_eq!(isolates, ["worker-0", "worker-1"]);
    assert_eq!(json_of(&entries[1]["reply"])["isolate"], "worker-1");
}

#[tokio::test]
async fn a_run_that_fails_returns_its_error() {
    let host = scheduled(json!({ "s": disabled(json!({})) })).limit("schedules", "timeout", "100ms").start().await;
    let failed = host.run_by_hand("name=s", r#"{"how":"fails"}"#).await;
    assert_eq!((&failed["status"], &failed["code"]), (&json!(409), &json!("on-request")));
    let late = host.run_by_hand("name=s", r#"{"how":"waits"}"#).await;
    assert_eq!(late["code"], "timeout");
    let status = host.run_by_hand("name=s", r#"{"how":"status"}"#).await;
    assert_eq!(status["status"], 500);
    assert_eq!(host.schedule("s").await["failed"], 3);
    let shown = host.status().await["schedules"][0].clone();
    let why = json!("the handler replied with status 500");
    assert_eq!((&shown["name"], &shown["failed"], &shown["last"]["message"]), (&json!("s"), &json!(3), &why));
}

#[tokio::test]
async fn unknown_names_are_rejected() {
    let host = scheduled(json!({ "s": disabled(json!({})) })).and("echo").start().await;
    for (query, status, detail) in [
        ("module=schedules&name=x", 404, "schedules has no schedule `x`; it has: s"),
        ("module=echo&name=x", 404, "echo has no schedules"),
        ("module=none&name=x", 404, "there is no module none"),
        ("module=schedules&name=s&subdomain=a", 404, "does not run for the subdomain a"),
        ("module=schedules", 400, "the query must have `module` and `name`"),
    ] {
        let answer = host.admin("POST", &format!("/v1/schedules/run?{query}"), "").await;
        let problem = answer.json();
        assert_eq!(answer.status, status, "{query}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{query}: {problem}");
    }
    for (method, path) in [("POST", "/v1/schedules"), ("GET", "/v1/schedules/run")] {
        assert_eq!(host.admin(method, path, "").await.status, 405, "{path}");
    }
    let large = host.run_by_hand("name=s", &format!("\"{}\"", "x".repeat(2 << 20))).await;
    assert!(matches!(large["code"].as_str(), Some("invalid" | "payload-too-large")), "{large}");
}

#[tokio::test]
async fn the_embedding_program_lists_and_runs_schedules() {
    let host = scheduled(json!({ "s": disabled(json!({ "type": "all" })), "t": { "path": "tick", "interval": "1h" } }))
        .config(json!({ "modules": { "schedules": { "subdomains": { "acme": { "schedules": { "t": {} } } } } } }))
        .start()
        .await;
    let listed = host.running().schedules();
    let names: Vec<_> = listed.iter().map(|one| (one.name.as_str(), one.subdomain.as_deref())).collect();
    assert_eq!(names, [("s", None), ("t", None), ("t", Some("acme"))]);
    let running = host.running();
    let entries = running.run_schedule("schedules", "s", (), CallOptions::default()).await.unwrap();
    assert_eq!(entries.len(), 2);
    let options = CallOptions { subdomain: Some("acme".to_owned()), ..CallOptions::default() };
    let entries = running.run_schedule("schedules", "t", Payload::from("[1]"), options).await.unwrap();
    let reply: Value = serde_json::from_str(&entries[0].outcome.as_ref().unwrap().payload.to_text()).unwrap();
    assert_eq!((&reply["subdomain"], &reply["data"]), (&json!("acme"), &json!([1])));
    let soon = CallOptions { timeout: Some(Duration::from_millis(50)), ..CallOptions::default() };
    let entries = running.run_schedule("schedules", "t", r#"{"how":"waits"}"#, soon).await.unwrap();
    assert_eq!(entries[0].outcome, Err(CallError::Timeout(None)));
    let error = running.run_schedule("schedules", "x", (), CallOptions::default()).await.unwrap_err();
    assert!(matches!(&error, CallError::NotFound(why) if why.contains("no schedule `x`")), "{error}");
    running.shutdown().await;
    let error = running.run_schedule("schedules", "s", (), CallOptions::default()).await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
}
