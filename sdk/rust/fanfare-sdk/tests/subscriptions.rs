//! Handlers that receive events and messages, and emit them.

use fanfare_sdk::prelude::*;

#[handler]
fn on(from: Subscription, body: Payload) -> Json<Value> {
    let text = body.as_text().unwrap_or_default();
    info!("{} {} {} {:?} {text}", from.name, from.source, from.topic, from.id);
    Json(json!({ "isolate": host::isolate(), "topic": from.topic, "id": from.id, "text": text }))
}

#[handler]
fn either(from: Option<Subscription>, cx: Context) -> Json<Value> {
    Json(json!([from.is_some(), cx.trigger().kind(), cx.subscription().is_some()]))
}

#[derive(Deserialize)]
struct Event {
    name: Option<String>,
    value: Value,
}

#[handler]
fn emit(event: Json<Event>) -> Result<()> {
    Ok(events::emit(event.name.as_deref(), event.value.clone())?)
}

#[handler]
fn emit_bytes() -> Result<()> {
    Ok(events::emit(None, vec![255_u8])?)
}

#[handler]
fn subscribe(pattern: Json<Option<String>>) -> Result<String> {
    Ok(events::subscribe(pattern.as_deref(), "on")?)
}

#[handler]
fn subscribe_nowhere() -> Result<String> {
    Ok(events::subscribe("a", "nowhere")?)
}

#[handler]
fn unsubscribe(name: Text) -> Result<()> {
    Ok(events::unsubscribe(&name)?)
}

#[handler]
fn publish(topic: Text) -> Result<()> {
    Ok(messages::publish("redis.cache", &topic, json!([1]))?)
}

fanfare_sdk::module!(on, either, emit, emit_bytes, subscribe, subscribe_nowhere, unsubscribe, publish);

fn host() -> TestHost {
    let manifest = r#"{
        "routes": [
            { "path": "on", "handler": "on", "middlewares": "inner" },
            { "path": "either", "handler": "either" },
            { "path": "emit", "handler": "emit" },
            { "path": "emit-bytes", "handler": "emit_bytes" },
            { "path": "subscribe", "handler": "subscribe" },
            { "path": "subscribe-nowhere", "handler": "subscribe_nowhere" },
            { "path": "unsubscribe", "handler": "unsubscribe" },
            { "path": "publish", "handler": "publish" },
        ],
        "subscriptions": {
            "orders": { "event": "order/*", "path": "on" },
            "every": { "event": "order/paid", "path": "POST on", "deliver": "all" },
            "news": { "redis": "news", "path": "on" },
            "jobs": { "redisStream": "jobs", "path": "on" },
            "bids": { "nats": "bids.>", "path": "on" },
            "sold": { "nats": "sold.>", "jetStream": "SOLD", "path": "on" },
            "prices": { "redisPattern": "price:*", "sse": { "key": "{topic}" } },
            "alarms": { "event": "alarm", "sse": { "key": null, "event": "alarm" } },
        },
    }"#;
    TestHost::builder(Module).manifest(manifest).workers(2).start()
}

fn lines(host: &TestHost) -> Vec<(String, String)> {
    host.settle();
    host.logs().into_iter().map(|line| (line.isolate.to_string(), line.message)).collect()
}

fn line(worker: u32, text: &str) -> (String, String) {
    (format!("worker-{worker}"), text.to_owned())
}

/// Returns the name of the failure that a handler returned.
fn failed(result: Result<Reply, CallError>) -> String {
    result.unwrap_err().failure().unwrap().name.clone()
}

#[test]
fn an_event_reaches_one_worker_in_turns_or_all_of_them() {
    let host = host();
    host.emit_event("order/new", json!({ "id": 1 })).unwrap();
    host.emit_event("order/new", "two").unwrap();
    host.emit_event("stock", ()).unwrap();
    host.settle();
    let mut seen = lines(&host);
    seen.sort();
    let first = r#"orders event order/new Some("test-1") {"id":1}"#;
    assert_eq!(seen, [line(0, first), line(1, r#"orders event order/new Some("test-2") "two""#)]);
    host.emit_event("order/paid", json!(7)).unwrap();
    let mut seen = lines(&host).split_off(2);
    seen.sort();
    let every = r#"every event order/paid Some("test-4") 7"#;
    assert_eq!(seen, [line(0, every), line(0, &every.replace("every", "orders")), line(1, every)]);
    assert!(host.events().is_empty(), "the module has emitted nothing");
}

#[test]
fn what_a_module_emits_reaches_its_own_subscriptions() {
    let host = host();
    host.call("emit", json!({ "name": "order/new", "value": [1] })).unwrap();
    host.call("emit", json!({ "value": "plain" })).unwrap();
    assert_eq!(lines(&host).len(), 1);
    let emitted: Vec<_> = host.events().into_iter().map(|event| (event.event_type, event.value)).collect();
    assert_eq!(emitted, [("order/new".to_owned(), json!([1])), ("message".to_owned(), json!("plain"))]);
    for (route, body) in [("emit", json!({ "name": "", "value": 1 })), ("emit-bytes", json!(null))] {
        assert_eq!(failed(host.call(route, body)), "invalid", "{route}");
    }
    assert_eq!(host.events().len(), 2);
}

#[test]
fn a_subscription_made_while_running_outlasts_a_restart_and_ends_when_told() {
    let host = host();
    let subscribe = |body: Value| host.request("subscribe").on(1).body(body).send().unwrap().text().to_owned();
    let name = subscribe(json!("stock/*"));
    assert_eq!(subscribe(json!("stock/*")), name, "the same pattern and route");
    let all = subscribe(json!(null));
    assert_ne!(all, name);
    host.restart(1);
    host.emit_event("stock/1", json!(1)).unwrap();
    let mut seen = lines(&host);
    seen.sort();
    let mut expected = [&name, &all].map(|name| line(1, &format!("{name} event stock/1 Some(\"test-1\") 1")));
    expected.sort();
    assert_eq!(seen, expected);
    assert_eq!(failed(host.call("unsubscribe", &name)), "not-found", "another worker");
    host.request("unsubscribe").on(1).body(&name).send().unwrap();
    assert_eq!(failed(host.request("unsubscribe").on(1).body(&name).send()), "not-found");
    host.emit_event("stock/1", json!(2)).unwrap();
    assert_eq!(lines(&host).len(), 3);
    assert_eq!(failed(host.call("subscribe-nowhere", ())), "not-found");
}

#[test]
fn a_test_delivers_messages_of_redis_and_nats() {
    let host = host();
    let run = |name: &str, topic: &str| -> Value {
        host.receive(name, topic, "hi").unwrap().remove(0).outcome.unwrap().json().unwrap()
    };
    assert_eq!(run("news", "news"), json!({ "isolate": "worker-0", "topic": "news", "id": null, "text": "hi" }));
    assert_eq!(run("jobs", "jobs"), json!({ "isolate": "worker-0", "topic": "jobs", "id": "1-0", "text": "hi" }));
    assert_eq!(run("bids", "bids.a"), json!({ "isolate": "worker-0", "topic": "bids.a", "id": null, "text": "hi" }));
    assert_eq!(run("sold", "sold.a")["id"], "SOLD-1");
    assert_eq!(run("orders", "order/new")["text"], "\"hi\"", "the value of an event is JSON");
    assert_eq!(host.receive("every", "order/paid", json!(1)).unwrap().len(), 2);
    assert_eq!(host.receive("gone", "a", ()).unwrap_err().kind(), "not-found");
}

#[test]
fn a_subscription_without_a_route_feeds_the_streams_that_are_open() {
    let host = host();
    let reader = |key: &str| host.stream(key).on(1).open().unwrap();
    let (price, other) = (reader("price:1"), reader("other"));
    assert!(host.receive("prices", "price:1", "7").unwrap().is_empty(), "no handler runs");
    host.emit_event("alarm", json!({ "level": 2 })).unwrap();
    let events = |reader: &fanfare_sdk::testing::Reader| -> Vec<_> {
        reader.events().iter().map(|event| (event.event().map(str::to_owned), event.text().to_owned())).collect()
    };
    let alarm = (Some("alarm".to_owned()), r#"{"level":2}"#.to_owned());
    assert_eq!(events(&price), [(None, "7".to_owned()), alarm.clone()]);
    assert_eq!(events(&other), [alarm]);
    assert!(host.published().is_empty(), "the module has published nothing");
    assert_eq!(host.receive("prices", &"x".repeat(257), "7").unwrap_err().kind(), "invalid");
}

#[test]
fn published_messages_are_recorded() {
    let host = host();
    host.call("publish", "news").unwrap();
    let sent = &host.messages()[0];
    assert_eq!((&*sent.connection, &*sent.topic, sent.payload.as_text()), ("redis.cache", "news", Some("[1]")));
    assert_eq!(failed(host.call("publish", "x".repeat(513))), "invalid");
}

#[test]
fn only_a_subscription_reaches_a_handler_with_a_subscription() {
    let host = host();
    assert_eq!(host.call("on", ()).unwrap_err().kind(), "forbidden");
    assert_eq!(host.call("either", ()).unwrap().json::<Value>().unwrap(), json!([false, "http", false]));
    let host = TestHost::new(Module);
    let failure = host.call("on", ()).unwrap_err();
    assert_eq!(failure.failure().map(|failure| (&*failure.name, failure.status)), Some(("not-a-subscription", 400)));
}
