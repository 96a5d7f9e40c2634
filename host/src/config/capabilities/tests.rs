//! Which requests a grant covers, and which imports need a capability.

use super::*;

fn named(modules: &[&str]) -> Modules {
    Modules(modules.iter().map(|name| (*name).to_owned()).collect())
}

fn broadcast(modules: &[&str]) -> Capabilities {
    Capabilities { broadcast: named(modules), ..Capabilities::default() }
}

#[test]
fn a_star_covers_every_module_and_needs_a_granted_star() {
    assert!(broadcast(&["flags"]).missing(&broadcast(&["*"])).is_empty());
    assert_eq!(broadcast(&["*"]).missing(&broadcast(&["flags"])), ["broadcast: *"]);
    assert!(broadcast(&["*"]).broadcast.allow("any"));
    assert!(!broadcast(&["flags"]).broadcast.allow("chat"));
    assert!(!broadcast(&["flags"]).rpc.allow("flags"));
}

#[test]
fn a_missing_capability_is_named_once() {
    let asked = Capabilities { rpc: named(&["chat", "chat"]), reload: true, ..broadcast(&["flags"]) };
    assert_eq!(asked.missing(&Capabilities::default()), ["broadcast: flags", "rpc: chat", "reload"]);
    assert!(asked.missing(&asked).is_empty());
}

#[test]
fn a_module_may_use_its_own_keys_and_those_that_it_has() {
    let has = Capabilities { sse: StreamKeys(vec!["news".into(), "orders/*".into()]), ..Capabilities::default() };
    for key in ["chat", "chat/1", "news", "orders/1"] {
        assert!(has.allows_key("chat", key), "{key}");
    }
    for key in ["", "chats", "newsletter", "orders", ALL] {
        assert!(!has.allows_key("chat", key), "{key}");
    }
    assert_eq!(has.missing(&Capabilities::default()), ["sse: news", "sse: orders/*"]);
    let error = forbidden("chat", "sse", Some("flags")).to_string();
    assert_eq!(
        error,
        "chat has no `sse` capability for flags: add \"flags\" to capabilities.sse in its module.json, then run `fanfare grant chat`"
    );
}

#[test]
fn a_module_may_use_its_own_channels_and_those_that_it_has() {
    let channels = ChannelNames(vec!["news".into(), "orders/*".into()]);
    let has = Capabilities { channels, ..Capabilities::default() };
    for channel in ["chat", "chat/1", "news", "orders/1", "presence/chat/1", "presence/orders/1"] {
        assert!(has.allows_channel("chat", channel), "{channel}");
    }
    for channel in ["", "chats", "newsletter", "orders", "presence/", "presence/orders", "presence/chats/1"] {
        assert!(!has.allows_channel("chat", channel), "{channel}");
    }
    assert_eq!(has.missing(&Capabilities::default()), ["channels: news", "channels: orders/*"]);
    assert_eq!(
        forbidden("chat", "channels", Some("flags")).to_string(),
        "chat has no `channels` capability for flags: add \"flags\" to capabilities.channels in its module.json, then run `fanfare grant chat`"
    );
}

#[test]
fn a_module_may_use_its_own_types_and_the_topics_that_it_has() {
    let topics = |entry: &str| Topics(vec![entry.into()]);
    let events = EventTypes(vec!["order/*".into()]);
    let (publish, subscribe) = (topics("redis:news*"), topics("redis.cache:a"));
    let has = Capabilities { events, publish, subscribe, ..Capabilities::default() };
    for wanted in ["chat/said", "chat/*", "order/paid", "order/*"] {
        assert!(has.allows_event("chat", wanted), "{wanted}");
    }
    for wanted in ["chat", "*", "order", "stock/1"] {
        assert!(!has.allows_event("chat", wanted), "{wanted}");
    }
    assert!(has.allows_publish("redis", "newsletter") && !has.allows_publish("redis", "new"));
    assert!(!has.allows_publish("redis.cache", "news") && !has.allows_publish("redis:news", "x"));
    assert!(has.allows_subscribe("redis", "cache", "a") && !has.allows_subscribe("redis", "default", "a"));
    assert_eq!(
        has.missing(&Capabilities::default()),
        ["events: order/*", "publish: redis:news*", "subscribe: redis.cache:a"]
    );
}

#[test]
fn an_import_needs_the_capability_of_its_row() {
    assert_eq!(of_import("fanfare:module/rpc-blocking@0.1.0"), Some("rpc"));
    assert_eq!(of_import("fanfare:module/sse@0.1.0"), Some("sse"));
    for name in ["channels", "channels-await", "channels-blocking"] {
        assert_eq!(of_import(&format!("fanfare:module/{name}@0.1.0")), Some("channels"));
    }
    assert_eq!(of_import("wasi:http/client@0.3.0"), Some("http"));
    assert_eq!(of_import("fanfare:module/host@0.1.0"), None);
}

#[test]
fn access_of_a_module_to_itself_needs_no_grant() {
    let own = Capabilities { rpc: named(&["chat", "flags"]), ..broadcast(&["flags"]) }.foreign("flags");
    assert_eq!(own, Capabilities { rpc: named(&["chat"]), ..Capabilities::default() });
}
