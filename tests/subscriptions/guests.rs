//! Subscriptions that guests make at run time, and what they may emit and receive.

use serde_json::{Value, json};

use super::{GUEST, subscribed};
use crate::harness::{Gate, Started, TestHost, eventually, json_of};

impl Started {
    async fn subscribe(&self, worker: u32, pattern: Option<&str>, route: &str) -> Value {
        let body = json!({ "pattern": pattern, "route": route }).to_string();
        self.call(&format!("worker-{worker}"), GUEST, "subscribe", body).await
    }

    async fn until_got(&self, worker: u32, count: usize) -> Vec<Value> {
        eventually("the messages were recorded", || async { self.got(worker).await.len() >= count }).await;
        self.got(worker).await
    }
}

#[tokio::test]
async fn a_guest_receives_in_its_own_worker_what_it_has_subscribed_to() {
    let host = subscribed(json!({})).workers(2).start().await;
    let first = host.subscribe(1, Some("order/*"), "on").await;
    assert_eq!(first["status"], 200, "{first}");
    assert_eq!(host.subscribe(1, Some("order/*"), "on").await["payload"], first["payload"], "the same name");
    host.emit_event("order/paid", json!(1)).await;
    host.emit_event("stock", json!(2)).await;
    let got = host.until_got(1, 1).await;
    assert_eq!((&got[0]["text"], &got[0]["name"]), (&json!("1"), &first["payload"]));
    let shown = host.all_subscriptions().await;
    assert_eq!((shown.len(), &shown[0]["isolate"]), (1, &json!("worker-1")));
    let ended = host.call("worker-1", GUEST, "unsubscribe", first["payload"].as_str().unwrap()).await;
    assert!(ended["status"].as_u64() < Some(300), "{ended}");
    assert!(host.all_subscriptions().await.is_empty());
    let again = host.call("worker-1", GUEST, "unsubscribe", first["payload"].as_str().unwrap()).await;
    assert_eq!(again["code"], "not-found", "{again}");
    assert!(host.got(0).await.is_empty());
}

#[tokio::test]
async fn a_subscription_of_a_guest_lasts_over_swaps_and_crashes() {
    let host = subscribed(json!({})).workers(1).start().await;
    host.subscribe(0, None, "on").await;
    host.swap_to_version(1).await;
    host.emit_event("a", json!(1)).await;
    host.until_got(0, 1).await;
    host.call("worker-0", GUEST, "crash", "").await;
    host.until(GUEST, 0, "state", "ready").await;
    host.emit_event("b", json!(2)).await;
    // The crash has lost what was recorded before.
    let got = host.until_got(0, 1).await;
    assert_eq!(got[0]["text"], "2", "{got:?}");
}

#[tokio::test]
async fn a_subscription_of_a_guest_ends_with_its_route_and_with_its_module() {
    let host = subscribed(json!({})).workers(1).start().await;
    host.subscribe(0, None, "on").await;
    host.subscribe(0, None, "other").await;
    assert_eq!(host.all_subscriptions().await.len(), 2);
    let routes = json!([
        { "path": "other", "handler": "other", "middlewares": "inner" },
        { "method": "get", "path": "got", "handler": "got" },
    ]);
    host.rewrite(GUEST, json!({ "routes": routes }));
    assert_eq!(host.reload(GUEST).await["outcome"], "swapped");
    let left = host.all_subscriptions().await;
    assert_eq!((left.len(), &left[0]["name"]), (1, &json!("* -> other")), "{left:?}");
    std::fs::remove_dir_all(host.dir.path().join("modules").join(GUEST)).unwrap();
    let removed = host.reload(GUEST).await;
    assert_eq!(removed["outcome"], "removed", "{removed}");
    assert!(host.all_subscriptions().await.is_empty());
}

#[tokio::test]
async fn a_guest_subscribes_only_routes_that_its_module_has() {
    let host = subscribed(json!({})).workers(1).start().await;
    for route in ["nope", "on/more", "GET on", "got?x=1"] {
        let refused = host.subscribe(0, None, route).await;
        let expected = if route.starts_with("got") { json!(null) } else { json!("not-found") };
        assert_eq!(refused["code"], expected, "{route}: {refused}");
    }
    let refused = host.subscribe(0, None, "nope").await;
    assert_eq!(refused["detail"], "subscriptions has no route `nope`: name a route of its module.json", "{refused}");
    assert_eq!(host.subscribe(0, None, "PUSH on").await["code"], "invalid");
    let all = host.all_subscriptions().await;
    assert_eq!((all.len(), &all[0]["name"]), (1, &json!("* -> got")));
}

#[tokio::test]
async fn a_guest_cannot_subscribe_a_route_that_no_subscription_may_call() {
    let routes = json!([
        { "path": "subscribe", "handler": "subscribe" },
        { "path": "of-clients", "handler": "on", "middlewares": "session" },
        { "path": "of-tests", "handler": "on", "middlewares": "test" },
    ]);
    let host = subscribed(json!({})).manifest(GUEST, json!({ "routes": routes })).workers(1);
    let host = host.environment("production").start().await;
    for route in ["of-clients", "of-tests"] {
        let refused = host.subscribe(0, None, route).await;
        assert_eq!(refused["code"], "forbidden", "{route}: {refused}");
        assert!(refused["detail"].as_str().unwrap().contains("no subscription may call it"), "{refused}");
    }
    assert!(host.all_subscriptions().await.is_empty());
}

#[tokio::test]
async fn a_guest_whose_module_is_being_removed_cannot_subscribe() {
    let gate = Gate::before(|call| &*call.route.handler == "subscribe");
    let host = subscribed(json!({})).workers(1).probe(gate.probe()).start().await;
    let (reply, ()) = tokio::join!(host.subscribe(0, None, "on"), async {
        eventually("the call has begun", || async { gate.reached() == 1 }).await;
        std::fs::remove_dir_all(host.dir.path().join("modules").join(GUEST)).unwrap();
        assert_eq!(host.reload(GUEST).await["outcome"], "removed");
        gate.open();
    });
    assert_eq!(reply["code"], "unavailable", "{reply}");
    assert!(host.all_subscriptions().await.is_empty());
}

#[tokio::test]
async fn types_of_others_need_a_grant() {
    let host = TestHost::with(GUEST).workers(1).start().await;
    let emit = |kind: Value| host.call("worker-0", GUEST, "emit", json!({ "type": kind, "value": 1 }).to_string());
    assert_eq!(emit(json!("subscriptions/a")).await["status"], 200);
    for kind in [json!("order"), json!(null), json!("*")] {
        assert_eq!(emit(kind.clone()).await["code"], "forbidden", "{kind}");
    }
    assert_eq!(emit(json!("")).await["code"], "invalid");
    assert_eq!(host.subscribe(0, Some("subscriptions/*"), "on").await["status"], 200);
    for pattern in [None, Some("order"), Some("order/*")] {
        assert_eq!(host.subscribe(0, pattern, "on").await["code"], "forbidden", "{pattern:?}");
    }
}

#[tokio::test]
async fn values_without_a_type_and_without_json_arrive() {
    let host = subscribed(json!({ "s": { "event": "message", "path": "on" } })).workers(1).start().await;
    host.emit_events(json!({ "type": null, "value": { "a": 1 } })).await;
    host.emit_events(json!({ "type": null, "text": "no json" })).await;
    host.until_handled("s", 2).await;
    let got = host.got(0).await;
    let seen: Vec<_> = got.iter().map(|one| (&one["topic"], &one["text"])).collect();
    assert_eq!(seen, [(&json!("message"), &json!("{\"a\":1}")), (&json!("message"), &json!("\"no json\""))]);
    let bytes = host.call("worker-0", GUEST, "emit", json!({ "type": "message", "bytes": [255] }).to_string()).await;
    assert_eq!(bytes["code"], "invalid", "{bytes}");
    assert_eq!(
        json_of(&host.call("worker-0", GUEST, "emit", json!({ "type": "message", "count": 3 }).to_string()).await),
        3
    );
}
