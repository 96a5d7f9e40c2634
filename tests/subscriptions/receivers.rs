//! Which workers and streams receive messages, and what they see.

use serde_json::json;

use super::{GUEST, assert_in_order, by_topic, numbers, subscribed};
use crate::harness::{EventStream, eventually};
use crate::middlewares::behind;

#[tokio::test]
async fn a_handler_sees_the_event_its_type_and_its_position() {
    let host = subscribed(json!({ "orders": { "event": "order/*", "path": "on" } })).workers(1).start().await;
    host.emit_event("order/paid", json!({ "id": 7 })).await;
    host.emit_event("stock", json!(1)).await;
    host.emit_event("order/sent", json!("x")).await;
    host.until_handled("orders", 2).await;
    let got = host.got(0).await;
    let seen: Vec<_> = got.iter().map(|one| (&one["topic"], &one["text"])).collect();
    assert_eq!(seen, [(&json!("order/paid"), &json!("{\"id\":7}")), (&json!("order/sent"), &json!("\"x\""))]);
    let first = &got[0];
    assert_eq!(
        (&first["name"], &first["source"], &first["kind"]),
        (&json!("orders"), &json!("event"), &json!("subscription"))
    );
    assert!(first["origin"].as_str().unwrap().contains("Host"), "{first}");
    let number =
        |one: &serde_json::Value| -> u64 { one["id"].as_str().unwrap().split_once('-').unwrap().1.parse().unwrap() };
    assert_eq!(number(&got[1]), number(first) + 2, "all types are in one order");
    assert!(
        host.metric("fanfare_subscription_messages_total", &["subscription=\"orders\"", "outcome=\"ok\""]).await >= 2.0
    );
    assert!(host.metric("fanfare_calls_total", &["trigger=\"subscription\"", "outcome=\"ok\""]).await >= 2.0);
}

#[tokio::test]
async fn a_message_passes_the_middlewares_of_its_route() {
    for (does, texts) in [("change", vec!["1!", "2!"]), ("fail", vec![])] {
        let host = subscribed(json!({ "s": { "event": "t", "path": "on" } })).workers(1);
        let host = behind(host, GUEST, "on", does).start().await;
        host.emit_event("t", json!(1)).await;
        host.emit_event("t", json!(2)).await;
        let status = host.until_handled("s", 2).await;
        assert_eq!(status["failed"], 2 - texts.len(), "{status}");
        let got = host.got(0).await;
        assert_eq!(got.iter().map(|one| one["text"].as_str().unwrap()).collect::<Vec<_>>(), texts);
    }
}

#[tokio::test]
async fn one_worker_receives_a_message_and_the_workers_take_turns_in_order() {
    let host = subscribed(json!({ "s": { "event": "t/*", "path": "on" } })).workers(2).start().await;
    for n in 0..40 {
        host.emit_event(&format!("t/{}", n % 3), json!(n)).await;
    }
    host.until_handled("s", 40).await;
    let (first, second) = (host.got(0).await, host.got(1).await);
    assert!(!first.is_empty() && !second.is_empty(), "{} and {}", first.len(), second.len());
    assert_in_order(&first);
    assert_in_order(&second);
    assert_eq!(numbers(&[first, second].concat()), (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn every_worker_receives_each_message_once_in_order() {
    let host = subscribed(json!({ "s": { "event": "*", "path": "on", "deliver": "all" } })).workers(2).start().await;
    for n in 0..40 {
        host.emit_event(&format!("t/{}", n % 3), json!(n)).await;
    }
    host.until_handled("s", 80).await;
    for worker in 0..2 {
        let got = host.got(worker).await;
        assert_in_order(&got);
        assert_eq!((numbers(&got), by_topic(&got).len()), ((0..40).collect::<Vec<_>>(), 3));
    }
}

#[tokio::test]
async fn a_failing_handler_and_one_that_traps_are_counted_and_the_next_message_follows() {
    let host = subscribed(json!({ "f": { "event": "f", "path": "fails" }, "t": { "event": "t", "path": "traps" } }))
        .workers(1)
        .start()
        .await;
    for kind in ["f", "t"] {
        host.emit_event(kind, json!("no")).await;
        host.emit_event(kind, json!("ok")).await;
        let status = host.until_handled(kind, 2).await;
        assert_eq!((&status["delivered"], &status["failed"]), (&json!(1), &json!(1)), "{status}");
    }
    assert_eq!(host.subscription("f").await["failure"], "this message fails on request");
    for (name, outcome) in [("f", "failure"), ("t", "crashed")] {
        let labels = [&*format!("subscription=\"{name}\""), &format!("outcome=\"{outcome}\"")];
        assert_eq!(host.metric("fanfare_subscription_messages_total", &labels).await, 1.0);
    }
}

#[tokio::test]
async fn a_feed_reaches_the_readers_of_its_key_and_of_all_keys_without_a_handler() {
    let host = subscribed(json!({
        "prices": { "event": "price/*", "sse": { "key": "subscriptions/{topic}", "event": "data" } },
        "all": { "event": "alarm", "sse": { "key": null } },
    }))
    .manifest(GUEST, json!({ "streams": { "subscriptions/*": {} } }))
    .grant(GUEST, json!({ "events": ["*"], "sse": ["*"] }))
    .workers(2)
    .start()
    .await;
    let mut eur = EventStream::open(host.http, "/stream?connectKey=subscriptions/price/eur").await;
    let mut usd = EventStream::open(host.http, "/stream?connectKey=subscriptions/price/usd").await;
    host.emit_event("price/eur", json!(12)).await;
    let event = eur.event().await.unwrap();
    assert_eq!((event.name(), event.text()), ("data", "12"));
    host.emit_event("alarm", json!("fire")).await;
    assert_eq!((eur.data().await, usd.data().await), ("\"fire\"".to_owned(), "\"fire\"".to_owned()));
    eventually("both are counted", || async {
        host.subscription("prices").await["delivered"] == 1 && host.subscription("all").await["delivered"] == 1
    })
    .await;
    assert!(host.got(0).await.is_empty() && host.got(1).await.is_empty());
}

#[tokio::test]
async fn subscriptions_are_shown_in_json_and_by_the_program() {
    let host = subscribed(json!({ "s": { "event": "order/*", "path": "on", "deliver": "all", "overflow": "wait" } }))
        .workers(1)
        .start()
        .await;
    host.emit_event("order/1", json!(1)).await;
    let status = host.until_handled("s", 1).await;
    assert_eq!(
        (&status["module"], &status["source"], &status["topic"]),
        (&json!(GUEST), &json!("event"), &json!("order/*"))
    );
    assert_eq!((&status["deliver"], &status["overflow"]), (&json!("all"), &json!("wait")));
    assert_eq!(host.running().subscriptions()[0].delivered, 1);
    assert_eq!(host.admin("POST", "/v1/subscriptions", "").await.status, 405);
}

#[tokio::test]
async fn a_module_without_a_grant_or_with_a_bad_subscription_is_rejected_with_the_reason() {
    for (subscription, expected) in [
        (
            json!({ "redis": "news", "path": "on" }),
            "asks to receive messages of redis:news, which is not granted: run `fanfare grant subscriptions`",
        ),
        (
            json!({ "event": "a", "sse": { "key": "news" } }),
            "asks to publish to streams of news, which is not granted: run `fanfare grant subscriptions`",
        ),
        (
            json!({ "event": "a", "path": "onn" }),
            "subscriptions.s.path: must be the path of a route of this module; did you mean \"on\"?",
        ),
        (json!({ "evnt": "a", "path": "on" }), "subscriptions.s.evnt: unknown key; did you mean \"event\"?"),
    ] {
        let host = subscribed(json!({ "s": subscription })).workers(1).start().await;
        let reasons = host.running().not_ready();
        assert!(
            reasons.len() == 1 && reasons[0].contains(expected) && reasons[0].contains("module.json:"),
            "{reasons:?}"
        );
    }
}
