//! Handlers that fail.

use super::*;

/// The events of this type.
async fn events(host: &Started, name: &str) -> Vec<Value> {
    let events = host.admin("GET", "/v1/events?follow=false", "").await.json();
    events.as_array().unwrap().iter().filter(|event| event["type"] == name).cloned().collect()
}

#[tokio::test]
async fn a_durable_broadcast_that_fails_runs_again_before_those_behind_it() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    for text in ["first", "fail2 x", "trap1 y", "last"] {
        // The operator emits them, because a crash ends the calls of the guest, too.
        assert!(a.emit(GUEST, "told", text).await["position"].is_u64());
    }
    let expected = ["first", "fail2 x", "trap1 y", "last"].map(str::to_owned);
    for worker in [0, 1] {
        let heard = || async { texts(&a, worker).await.contains(&"last".to_owned()) };
        eventually("it hears the last", heard).await;
        // A crash loses what the worker has recorded in memory.
        assert_eq!(texts(&a, worker).await, expected[2..]);
        assert_eq!(recorded_in(a.dir.path(), "a-1", worker), expected);
        let deliveries: Vec<Value> = records(&a, worker).await.iter().map(|one| one["delivery"].clone()).collect();
        assert_eq!(deliveries, [json!("2"), json!("1")]);
    }
    assert_eq!(a.metric("fanfare_durable_retried_total", &[]).await, 6.0);
    assert_eq!(events(&a, "broadcastParked").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_durable_broadcast_that_fails_too_often_is_parked_and_holds_up_no_other() {
    let Some(nats) = Nats::start().await else { return };
    let a = start(&nats, "a-1").await;
    for text in ["first", "fail3 x", "last"] {
        keep(&a, text).await;
    }
    all_hear(&a, &["first", "last"].map(str::to_owned)).await;
    let parked = events(&a, "broadcastParked").await;
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!(
        (&parked[0]["module"], &parked[0]["broadcast"], &parked[0]["position"], &parked[0]["tries"]),
        (&json!(GUEST), &json!("told"), &json!(2), &json!(3)),
    );
    assert!(parked[0]["reason"].as_str().unwrap().contains("delivery 3 of fail3 x is refused"), "{parked:?}");
    assert_eq!(a.metric("fanfare_durable_parked_total", &[]).await, 1.0);
    let stream = jetstream(&nats).await.get_stream("fanfare_parked").await.unwrap();
    assert_eq!(stream.cached_info().state.messages, 1);
}

#[tokio::test]
async fn a_worker_in_which_the_module_has_failed_gets_its_durable_broadcasts_after_a_reload() {
    let Some(nats) = Nats::start().await else { return };
    let patient = json!({ "isolate": { "maxRestarts": 0 } });
    let a = host(&nats.url(), "a-1").config(patient).start().await;
    reads(&a).await;
    a.emit(GUEST, "told", "trap1 x").await;
    let failed = || async { durable(&a).await["modules"][0]["reason"].to_string().contains("has failed") };
    eventually("the module has failed", failed).await;
    let receipt = a.emit(GUEST, "told", "y").await;
    assert_eq!(receipt["position"], 2, "{receipt}");
    assert_eq!(a.metric("fanfare_durable_run_total", &[]).await, 0.0);
    let reloaded = a.admin("POST", &format!("/v1/modules/{GUEST}/reload?force=true"), "").await;
    assert_eq!(reloaded.status, 200, "{}", reloaded.text());
    all_hear(&a, &["trap1 x", "y"].map(str::to_owned)).await;
}
