use super::*;
use crate::config::{Config, Limits};

#[test]
fn every_limit_may_be_as_low_as_its_minimum() {
    for key in Limits::KEYS {
        let least = match *key {
            "memory" => 65_536,
            "hostcallFuel" => 1_024,
            "disk" => 4_096,
            "nested" => 2,
            _ => 1,
        };
        assert!(load(&with(&format!("\"limits\": {{\"{key}\": {least}}}"))).is_ok(), "{key}");
        let fault = fault(&format!("\"limits\": {{\"{key}\": {}}}", least - 1));
        assert!(fault.starts_with(&format!("limits.{key}: must be at least ")), "{fault}");
    }
}

#[test]
fn a_limit_above_the_ceiling_is_rejected_with_both_places() {
    let manifest = |memory: &str| load(&with(&format!("\"limits\": {{\"memory\": \"{memory}\"}}"))).unwrap();
    let config = |text: &str| Config::from_text(text, Path::new("/")).unwrap();
    let plain = config("{}");
    assert_eq!(effective_limits(&manifest("256MiB"), &plain).unwrap().memory, 256 << 20);
    let error = effective_limits(&manifest("257MiB"), &plain).unwrap_err().to_string();
    assert_eq!(
        error,
        "/modules/test-party/module.json:1:46: limits.memory: must be at most 256MiB, the operator's ceiling limits.max.memory (default), found 257MiB: ask for less, or raise the ceiling"
    );
    let low = config("{\"limits\": {\"max\": {\"memory\": \"1MiB\", \"concurrency\": 2}}}");
    let error = effective_limits(&manifest("2MiB"), &low).unwrap_err().to_string();
    assert!(error.contains("limits.max.memory (fanfare.json:1:31), found 2MiB"), "{error}");
    assert_eq!(effective_limits(&manifest("1MiB"), &low).unwrap().concurrency, 2, "a default is lowered");
    let own = config("{\"modules\": {\"test-party\": {\"limits\": {\"memory\": \"128KiB\"}}}}");
    assert_eq!(
        effective_limits(&manifest("257MiB"), &own).unwrap().memory,
        128 << 10,
        "the operator's settings take precedence"
    );
}

#[test]
fn queues_beyond_subscription_queues_are_rejected_with_their_sum() {
    let manifest = |second: &str| {
        let one = |queue: &str| format!(r#"{{ "event": "test-party/a", "path": "on", {queue} }}"#);
        load(&with(&format!(
            r#""routes": [{{ "path": "on", "handler": "on" }}], "subscriptions": {{ "a": {}, "b": {}, "fed": {{ "event": "test-party/a", "sse": {{ "key": "test-party" }} }} }}"#,
            one(r#""queue": { "bytes": "32MiB" }"#),
            one(second)
        )))
        .unwrap()
    };
    let config = |text: &str| Config::from_text(text, Path::new("/")).unwrap();
    let check = |second: &str, text: &str| effective_limits(&manifest(second), &config(text)).map(drop);
    let (fits, over) = (r#""queue": { "bytes": "32MiB" }"#, r#""queue": { "bytes": "33554433B" }"#);
    assert!(check(fits, "{}").is_ok());
    let error = check(over, "{}").unwrap_err().to_string();
    assert!(
        error.ends_with(
            "subscriptions: have queues of 67108865B together, but limits.subscriptionQueues is 64MiB: make \
             `queue.bytes` smaller, or raise the limit"
        ) && error.starts_with("/modules/test-party/module.json:1:"),
        "{error}"
    );
    let operator = |bytes: &str| {
        format!("{{\"modules\": {{\"test-party\": {{\"limits\": {{\"subscriptionQueues\": \"{bytes}\"}}}}}}}}")
    };
    assert!(check(over, &operator("65MiB")).is_ok() && check(fits, &operator("63MiB")).is_err());
    assert!(check(fits, "{\"limits\": {\"max\": {\"subscriptionQueues\": \"63MiB\"}}}").is_err());
    let elsewhere = format!("{over}, \"env\": [\"other\"]");
    assert!(check(&elsewhere, "{}").is_ok(), "this environment does not have the queue");
}

#[test]
fn a_capability_without_a_grant_is_a_fault_with_the_command() {
    let manifest =
        load(&with("\"capabilities\": {\"broadcast\": [\"flags\", \"chat\"], \"rpc\": [\"*\"], \"reload\": true, \"sse\": [\"*\", \"a/*\"]}, \"streams\": {\"news\": {}}"))
            .unwrap();
    let config = |grants: &str| {
        Config::from_text(&format!("{{\"modules\": {{\"test-party\": {{\"grants\": {grants}}}}}}}"), Path::new("/"))
            .unwrap()
    };
    assert!(
        check_grants(
            &manifest,
            &config("{\"broadcast\": [\"*\"], \"rpc\": [\"*\"], \"reload\": true, \"sse\": [\"*\"]}")
        )
        .is_ok()
    );
    let list = check_grants(&manifest, &config("{\"broadcast\": [\"flags\"], \"rpc\": [\"chat\"], \"sse\": [\"b\"]}"))
        .unwrap_err();
    let list: Vec<String> = list.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
    assert_eq!(
        list,
        [
            "capabilities.broadcast[1]: asks to emit broadcasts of chat, which is not granted: run `fanfare grant test-party`",
            "capabilities.rpc[0]: asks to call routes of every module, which is not granted: run `fanfare grant test-party`",
            "capabilities.reload: asks to reload modules, which is not granted: run `fanfare grant test-party`",
            "capabilities.sse[0]: asks to publish to streams of every key, which is not granted: run `fanfare grant test-party`",
            "capabilities.sse[1]: asks to publish to streams of a/*, which is not granted: run `fanfare grant test-party`",
            "streams.news: asks to publish to streams of news, which is not granted: run `fanfare grant test-party`",
        ]
    );
}

#[test]
fn a_channel_of_another_name_needs_the_grant() {
    let manifest = load(&with(r#""capabilities": {"channels": ["*"]}, "channels": {"test-party/*": {}, "news": {}}"#));
    let manifest = manifest.unwrap();
    let config = |grants: &str| {
        Config::from_text(&format!("{{\"modules\": {{\"test-party\": {{\"grants\": {grants}}}}}}}"), Path::new("/"))
            .unwrap()
    };
    let list = check_grants(&manifest, &config("{}")).unwrap_err();
    let list: Vec<String> = list.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
    assert_eq!(
        list,
        [
            "capabilities.channels[0]: asks to use the channels of every name, which is not granted: run `fanfare grant test-party`",
            "channels.news: asks to use the channels news, which is not granted: run `fanfare grant test-party`",
        ]
    );
    assert!(check_grants(&manifest, &config(r#"{"channels": ["*"]}"#)).is_ok());
}

#[test]
fn a_channel_with_a_route_needs_a_broker() {
    let text = r#"{ "component": "a.wasm", "routes": [{ "path": "ask", "handler": "ask" }],
        "channels": { "test-party/a": {}, "test-party/b": { "path": "ask" } } }"#;
    let manifest = load(text).unwrap();
    let config = |brokers: u32| Config::from_text(&format!("{{\"brokers\": {brokers}}}"), Path::new("/")).unwrap();
    assert!(check_brokers(&manifest, &config(1)).is_ok());
    let faults = check_brokers(&manifest, &config(0)).unwrap_err().to_string();
    assert_eq!(
        faults,
        "/modules/test-party/module.json:2:69: channels.test-party/b.path: needs a broker to run the route in, but `brokers` is 0 (fanfare.json:1:13): set `brokers` to 1 or more in fanfare.json, or remove `path`"
    );
}

#[test]
fn values_of_the_operator_override_those_of_the_module() {
    let manifest = load(&with("\"config\": {\"a\": {\"b\": 1, \"c\": 2}, \"d\": [1], \"e\": 1}")).unwrap();
    let text = r#"{"modules": {"test-party": {"config": {"a": {"c": null, "x": 3}, "d": [2]}, "subdomains": {"acme": {"config": {"a": null, "e": 2}}}}}}"#;
    let operator = Config::from_text(text, Path::new("/")).unwrap().module("test-party");
    assert_eq!(effective_config(&manifest, &operator, None), json!({"a": {"b": 1, "x": 3}, "d": [2], "e": 1}));
    assert_eq!(effective_config(&manifest, &operator, Some("acme")), json!({"d": [2], "e": 2}));
    assert_eq!(effective_config(&manifest, &operator, Some("other")), effective_config(&manifest, &operator, None));
}
