//! The example module `relay`: its stream, and its page in Chromium.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::assert_fits_and_is_readable;
use crate::event_service::Client;
use crate::harness::{Browser, EventStream, Redis, TestHost, eventually};

/// The host of a fresh checkout, which has no Redis and no listener for events.
fn relay() -> TestHost {
    TestHost::with("relay").grant("relay", json!({ "subscribe": ["redis:news"] }))
}

async fn until_open(browser: &Browser) {
    eventually("the stream opens", || async { browser.text("#state").await == "open" }).await;
}

/// The rows of the table as sender, message and number of workers, the newest first.
async fn rows(browser: &Browser) -> Value {
    let script = "return [...document.querySelectorAll('#messages tr')]
        .map((row) => [...row.cells].slice(1).map((cell) => cell.textContent))";
    browser.run(script, json!([])).await
}

#[tokio::test]
async fn an_event_of_another_process_is_handled_in_every_worker_of_relay_over_swaps() {
    let host = relay().workers(3).config(json!({ "events": { "listen": "127.0.0.1:0" } })).start().await;
    let mut stream = EventStream::open(host.http, "/stream?connectKey=relay").await;
    for number in 0..5 {
        host.event("relay/order", json!({ "number": number })).await;
        let mut workers = BTreeSet::new();
        while workers.len() < 3 {
            let event = stream.event().await.unwrap();
            let handled: Value = serde_json::from_str(event.text()).unwrap();
            assert_eq!(
                (event.name(), &handled["type"], &handled["value"]["number"]),
                ("handled", &json!("relay/order"), &json!(number))
            );
            assert!(workers.insert(handled["worker"].as_str().unwrap().to_owned()), "twice in a worker: {handled}");
        }
        assert_eq!(host.reload("relay").await["outcome"], "swapped");
    }
}

#[tokio::test]
async fn the_page_of_relay_shows_what_redis_cli_publishes_and_how_many_workers_handle_an_event() {
    let Some(redis) = Redis::start().await else { return };
    let Some(browser) = Browser::start().await else { return };
    let outside = json!({ "redis": redis.settings(), "events": { "listen": "127.0.0.1:0" } });
    let host = relay().environment("relay").config(outside).start().await;
    redis.until_subscribed("news", 1).await;
    browser.open(&format!("http://{}/api/relay/", host.http)).await;
    until_open(&browser).await;

    assert_eq!(redis.publish("news", "hello"), 1);
    let news = json!(["Redis: news", "hello", ""]);
    eventually("the message arrives", || async { rows(&browser).await == json!([news]) }).await;

    host.event("relay/order", json!({ "id": 7 })).await;
    let order = json!(["relay/order", r#"{"id":7}"#, "2"]);
    eventually("both workers have handled it", || async { rows(&browser).await == json!([order, news]) }).await;
    let last = [browser.text("#type").await, browser.text("#workers").await, browser.text("#names").await];
    assert_eq!(last, ["relay/order", "2 workers", "worker-0, worker-1"]);
    assert_fits_and_is_readable(&browser, "relay").await;
}

#[tokio::test]
async fn the_page_of_relay_emits_events_in_a_host_without_redis_and_without_a_listener_for_events() {
    let Some(browser) = Browser::start().await else { return };
    let host = relay().and("flags").start().await;
    assert_eq!(host.events_named(&["warning"]).await, Vec::<Value>::new());

    browser.open(&format!("http://{}/api/relay/", host.http)).await;
    until_open(&browser).await;
    browser.click("button").await;
    let said = json!([["relay/said", "hello", "2"]]);
    eventually("both workers have handled it", || async { rows(&browser).await == said }).await;
    assert_eq!(browser.text("#failure").await, "");
}
