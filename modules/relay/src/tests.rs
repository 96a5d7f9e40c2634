use fanfare_sdk::prelude::*;

use super::{KEY, Module};

fn relay(workers: u32) -> TestHost {
    TestHost::builder(Module).name("relay").manifest(include_str!("../module.json")).workers(workers).start()
}

#[test]
fn every_worker_publishes_that_it_has_handled_an_event() {
    let host = relay(3);
    let reader = host.stream(KEY).open().unwrap();
    host.emit_event("relay/order", json!({ "id": 7 })).unwrap();
    host.settle();
    let events = reader.events();
    assert!(events.iter().all(|event| event.event() == Some("handled")));
    let mut handled: Vec<Value> = events.iter().map(|event| event.json().unwrap()).collect();
    handled.sort_by_key(|one| one["worker"].to_string());
    let expected = ["worker-0", "worker-1", "worker-2"]
        .map(|worker| json!({ "position": "test-1", "type": "relay/order", "value": { "id": 7 }, "worker": worker }));
    assert_eq!(handled, expected);
}

#[test]
fn a_message_of_redis_reaches_the_readers_without_a_handler() {
    let host = relay(2);
    let reader = host.stream(KEY).open().unwrap();
    assert!(host.receive("news", "news", "hello").unwrap().is_empty());
    let events = reader.events();
    assert_eq!((events.len(), events[0].event(), events[0].text()), (1, Some("news"), "hello"));
}

#[test]
fn events_of_other_types_are_not_handled() {
    let host = relay(1);
    host.emit_event("order/paid", ()).unwrap();
    host.emit_event(None, "a message").unwrap();
    host.settle();
    assert!(host.published().is_empty());
}

#[test]
fn a_text_that_is_posted_is_an_event_with_this_text() {
    let host = relay(1);
    for text in ["hello", "7", "{}"] {
        host.call("said", text).unwrap();
        let events = host.events();
        let event = events.last().unwrap();
        assert_eq!((&*event.event_type, &event.value), ("relay/said", &json!(text)));
    }
}

#[test]
fn only_the_subscription_reaches_the_inner_route() {
    let host = relay(1);
    assert_eq!(host.call("inner/event", ()).unwrap_err().kind(), "forbidden");
    let inside = host.request("inner/event").inside().send().unwrap_err();
    assert_eq!(inside.failure().unwrap().name, "not-a-subscription");
    assert!(host.published().is_empty());
}

#[test]
fn the_page_may_load_only_its_own_files() {
    let host = relay(1);
    for (path, content_type, part) in [
        ("", "text/html; charset=utf-8", "<main>"),
        ("style.css", "text/css; charset=utf-8", "prefers-color-scheme"),
        ("relay.js", "text/javascript; charset=utf-8", "new EventSource"),
    ] {
        let file = host.call(&format!("GET {path}"), ()).unwrap();
        assert_eq!(file.header("content-type"), Some(content_type));
        assert!(file.header("content-security-policy").unwrap().starts_with("default-src 'none';"));
        assert!(file.text().contains(part), "{path}");
    }
}
