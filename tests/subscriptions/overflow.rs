//! Full queues and slow handlers.

use serde_json::json;

use super::{GUEST, numbers, subscribed};
use crate::harness::eventually;

#[tokio::test]
async fn a_full_queue_drops_the_oldest_messages_and_reports_it() {
    let host = subscribed(json!({ "s": { "event": "*", "path": "waits", "queue": { "messages": 3 } } }))
        .limit(GUEST, "timeout", "20s")
        .workers(1)
        .start()
        .await;
    host.emit_event("t", json!(0)).await;
    eventually("the first message runs", || async { host.got(0).await.len() == 1 }).await;
    for n in 1..=5 {
        host.emit_event("t", json!(n)).await;
    }
    eventually("two were dropped", || async { host.subscription("s").await["dropped"] == 2 }).await;
    assert_eq!(host.subscription("s").await["waiting"], 3);
    assert_eq!(host.metric("fanfare_subscription_dropped_total", &["subscription=\"s\""]).await, 2.0);
    assert_eq!(host.metric("fanfare_subscription_waiting", &["subscription=\"s\""]).await, 3.0);
    for calls in 2..=4 {
        host.release_messages(0).await;
        eventually("the next message runs", || async { host.got(0).await.len() == calls }).await;
    }
    host.release_messages(0).await;
    host.until_handled("s", 4).await;
    assert_eq!(numbers(&host.got(0).await), [0, 3, 4, 5]);
    let events = host.events_named(&["subscriptionOverflow"]).await;
    assert_eq!((&events[0]["module"], &events[0]["subscription"]), (&json!(GUEST), &json!("s")), "{events:?}");
}

#[tokio::test]
async fn a_source_that_waits_drops_nothing() {
    let host =
        subscribed(json!({ "s": { "event": "*", "path": "on", "queue": { "messages": 1 }, "overflow": "wait" } }))
            .workers(1)
            .start()
            .await;
    for n in 0..200 {
        host.emit_event("t", json!(n)).await;
    }
    let status = host.until_handled("s", 200).await;
    assert_eq!((&status["dropped"], &status["missed"], &status["delivered"]), (&json!(0), &json!(0), &json!(200)));
    assert_eq!(numbers(&host.got(0).await), (0..200).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_stuck_handler_slows_neither_another_subscription_nor_requests() {
    let host = subscribed(json!({
        "stuck": { "event": "*", "path": "waits", "overflow": "wait", "queue": { "messages": 1 } },
        "quick": { "event": "*", "path": "on" },
    }))
    .limit(GUEST, "timeout", "20s")
    .workers(1)
    .start()
    .await;
    for n in 0..100 {
        host.emit_event("t", json!(n)).await;
    }
    let quick = host.until_handled("quick", 100).await;
    assert_eq!((&quick["delivered"], &quick["dropped"]), (&json!(100), &json!(0)));
    assert_eq!(host.subscription("stuck").await["delivered"], 0);
    host.release_messages(0).await;
}
