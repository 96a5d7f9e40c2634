//! Kills that the host refuses.

use fanfare::KillError;
use fanfare::api::KillMode;
use serde_json::json;

use super::isolates;
use crate::failures::steps::assert_names;
use crate::harness::TestHost;

#[tokio::test]
async fn an_unknown_isolate_is_named_with_the_number_of_those_that_exist() {
    let host = TestHost::with("echo").config(json!({ "brokers": 0 })).start().await;
    let refused = host.kill(2, false).await;
    assert_eq!((&refused["status"], &refused["code"]), (&json!(404), &json!("not-found")), "{refused}");
    assert_eq!(refused["detail"], "there is no worker 2: the host has 2 workers, numbers 0 to 1");
    let refused = host.admin("POST", "/v1/brokers/kill", r#"{"id":0}"#).await;
    assert_eq!((refused.status, refused.code()), (404, "not-found".to_owned()));
    assert_eq!(refused.json()["detail"], "there is no broker 0: the host has no brokers");
    let none = host.admin("POST", "/v1/brokers/kill", "").await;
    assert_eq!((none.status, none.json()), (200, json!([])));

    let running = host.running();
    let refused = running.kill_workers(Some(7), KillMode::Immediate).await;
    assert_eq!(refused, Err(KillError::NoWorker { id: 7, count: 2 }));
    let refused = running.kill_brokers(Some(1), KillMode::Graceful).await;
    assert_eq!(refused, Err(KillError::NoBroker { id: 1, count: 0 }));
    assert_eq!(running.kill_brokers(None, KillMode::Graceful).await, Ok(Vec::new()));
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 0);
}

#[tokio::test]
async fn a_body_that_is_no_kill_request_is_named() {
    let host = TestHost::with("echo").start().await;
    for (body, why) in [
        ("nonsense", "expected"),
        (r#"{"id":"0"}"#, "invalid type: string \"0\""),
        (r#"{"id":-1}"#, "invalid value: integer `-1`"),
        (r#"{"imediate":true}"#, "unknown field `imediate`, expected `id` or `immediate`"),
    ] {
        let refused = host.admin("POST", "/v1/workers/kill", body).await;
        assert_eq!((refused.status, refused.code()), (400, "invalid".to_owned()), "{body}");
        let example = r#"JSON such as {"id": 0, "immediate": true}"#;
        assert_names(&refused.json()["detail"], &["the body must be empty or", example, why]);
    }
    let bytes = host.admin("POST", "/v1/workers/kill", b"\xff".to_vec()).await;
    assert_names(&bytes.json()["detail"], &["it is not UTF-8"]);
    let method = host.admin("GET", "/v1/workers/kill", "").await;
    assert_eq!((method.status, method.header("allow")), (405, Some("POST")));
    assert_eq!(host.events_named(&["workerExit"]).await.len(), 0, "nothing was killed");
}

#[tokio::test]
async fn without_a_body_every_worker_is_killed_gracefully() {
    let host = TestHost::with("echo").start().await;
    let killed = host.admin("POST", "/v1/workers/kill", "").await;
    assert_eq!((killed.status, isolates(&killed.json())), (200, vec!["worker-0".to_owned(), "worker-1".to_owned()]));
    let exit = host.events_named(&["workerExit"]).await;
    assert_eq!((exit.len(), &exit[0]["reason"]), (2, &json!("killed")));
}

#[tokio::test]
async fn a_host_without_modules_can_be_killed() {
    let host = TestHost::empty().start().await;
    assert_eq!(host.kill(1, true).await, json!([{ "isolate": "worker-1", "modules": [] }]));
    assert_eq!(host.events_named(&["workerExit", "workerStart"]).await.len(), 4);
}
