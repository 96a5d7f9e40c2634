use super::*;
use crate::config::Config;
use crate::registry::manifest::check_grants;
use crate::registry::manifest::subscriptions::{
    Action, Deliver, Feed, NatsSource, Overflow, RedisSource, RedisTopic, Source, SubscriptionSettings,
};

/// A manifest with the routes `POST on` and `POST test` (with the middleware `test`), and these
/// subscriptions.
fn subscribed(subscriptions: &str) -> String {
    let routes = r#"[{ "path": "on", "handler": "h" }, { "path": "test", "handler": "h", "middlewares": "test" }]"#;
    with(&format!("\"routes\": {routes}, \"subscriptions\": {subscriptions}"))
}

fn one(settings: &str) -> String {
    subscribed(&format!("{{ \"s\": {{ {settings} }} }}"))
}

/// The only fault of a subscription.
fn rule(settings: &str) -> String {
    let list = faults(&one(settings));
    assert_eq!(list.len(), 1, "{settings}: {list:?}");
    list[0].clone()
}

#[test]
fn every_setting_of_a_subscription_is_read() {
    let text = subscribed(
        r#"{
          "orders": { "event": "order/*", "path": "on", "deliver": "all", "queue": { "messages": 7, "bytes": "2KiB" }, "overflow": "wait", "concurrency": 3 },
          "news": { "redis": "news", "connection": "cache", "path": "POST on", "env": "production" },
          "prices": { "redisPattern": "price:*", "sse": { "key": "{topic}", "event": "data" } },
          "jobs": { "redisStream": "jobs", "group": "workers", "path": "on", "queue": {} },
          "stock": { "nats": "stock.*.eu", "path": "on" },
          "shared": { "nats": "stock.>", "group": "shop", "path": "on" },
          "kept": { "nats": "orders.new", "jetStream": "ORDERS", "path": "on" },
          "everyone": { "event": "*", "sse": { "key": null } },
        }"#,
    );
    let manifest = load(&text).unwrap();
    let get = |name: &str| manifest.subscriptions.get(name).unwrap().clone();
    let redis = |connection: &str, topic| Source::Redis(RedisSource { connection: connection.into(), topic });
    let orders = get("orders");
    assert_eq!((orders.source, orders.action), (Source::Event("order/*".into()), Action::Call(0)));
    let (deliver, overflow) = (Deliver::All, Overflow::Wait);
    assert_eq!(orders.settings, SubscriptionSettings { deliver, overflow, messages: 7, bytes: 2_048, concurrency: 3 });
    assert_eq!(get("news").source, redis("cache", RedisTopic::Channel("news".into())));
    assert_eq!(get("news").settings, SubscriptionSettings::default());
    let nats = |subject: &str, stream: Option<&str>, group: Option<&str>| {
        Source::Nats(NatsSource {
            subject: subject.into(),
            stream: stream.map(Into::into),
            group: group.map(Into::into),
        })
    };
    assert_eq!(get("stock").source, nats("stock.*.eu", None, None));
    assert_eq!(get("stock").settings.overflow, Overflow::DropOldest);
    assert_eq!(get("shared").source, nats("stock.>", None, Some("shop")));
    assert_eq!(get("kept").source, nats("orders.new", Some("ORDERS"), Some("fanfare")));
    assert_eq!(get("kept").settings.overflow, Overflow::Wait, "JetStream keeps what was not handled");
    let entries = ["stock", "shared", "kept"].map(|name| get(name).outside_topic().unwrap());
    assert_eq!(entries, ["nats:stock.*", "nats:stock.*", "nats:orders.new"]);
    let environments = ["production", "development"].map(|name| (get("news").is_in(name), get("jobs").is_in(name)));
    assert_eq!(environments, [(true, true), (false, true)]);
    assert_eq!(get("prices").source, redis("default", RedisTopic::Pattern("price:*".into())));
    let feed = Feed { key: Some("{topic}".into()), event: Some("data".into()) };
    assert_eq!(get("prices").action, Action::Feed(feed.clone()));
    assert_eq!(feed.key_for("price:eur").as_deref(), Some("price:eur"));
    let jobs = RedisTopic::Stream { key: "jobs".into(), group: "workers".into() };
    assert_eq!(get("jobs").source, redis("default", jobs));
    assert_eq!(get("jobs").settings.overflow, Overflow::Wait, "Redis keeps what was not handled");
    assert_eq!(get("everyone").action, Action::Feed(Feed { key: None, event: None }));
}

#[test]
fn a_subscription_has_one_source_and_one_receiver() {
    let sources = "must have exactly one of `event`, `redis`, `redisPattern`, `redisStream` and `nats`";
    let receivers = "must have either `path`, a route, or `sse`, live streams";
    for (settings, expected) in [
        (r#""path": "on""#, sources),
        (r#""event": "a", "redis": "b", "path": "on""#, sources),
        (r#""event": "a""#, receivers),
        (r#""event": "a", "path": "on", "sse": { "key": "k" }"#, receivers),
    ] {
        let fault = rule(settings);
        assert!(fault.ends_with(&format!("subscriptions.s: {expected}")), "{fault}");
    }
}

#[test]
fn a_setting_without_effect_is_rejected_by_its_key() {
    for (settings, key) in [
        (r#""event": "a", "path": "on", "group": "g""#, "group: has no effect without `redisStream` or `nats`"),
        (r#""redis": "a", "path": "on", "group": "g""#, "group: has no effect without `redisStream` or `nats`"),
        (r#""event": "a", "path": "on", "connection": "c""#, "connection: has no effect on events"),
        (r#""event": "a", "sse": { "key": "k" }, "deliver": "all""#, "deliver: has no effect with `sse`"),
        (r#""event": "a", "sse": { "key": "k" }, "queue": {}"#, "queue: has no effect with `sse`"),
        (r#""event": "a", "sse": { "key": "k" }, "overflow": "wait""#, "overflow: has no effect with `sse`"),
        (r#""event": "a", "sse": { "key": "k" }, "concurrency": 1"#, "concurrency: has no effect with `sse`"),
        (r#""redis": "a", "path": "on", "overflow": "wait""#, "overflow: must be `drop-oldest` for a channel"),
        (r#""redisPattern": "a", "path": "on", "overflow": "wait""#, "overflow: must be `drop-oldest` for a channel"),
        (r#""redisStream": "a", "path": "on", "overflow": "drop-oldest""#, "overflow: must be `wait` for a stream"),
        (
            r#""nats": "a", "jetStream": "S", "path": "on", "overflow": "drop-oldest""#,
            "overflow: must be `wait` for a stream",
        ),
        (r#""nats": "a", "path": "on", "overflow": "wait""#, "overflow: must be `drop-oldest` without `jetStream`"),
        (r#""nats": "a", "path": "on", "connection": "c""#, "connection: has no effect on `nats`"),
        (r#""nats": "a", "path": "on", "group": "a.b""#, "group: must be 1 to 128 bytes"),
        (r#""event": "a", "path": "on", "jetStream": "S""#, "jetStream: needs `nats`"),
    ] {
        let fault = rule(settings);
        assert!(fault.contains(&format!("subscriptions.s.{key}")), "{fault}");
    }
}

#[test]
fn a_malformed_subscription_is_rejected_with_its_place_and_the_nearest_key() {
    for (settings, expected) in [
        (r#""evnt": "a", "path": "on""#, "subscriptions.s.evnt: unknown key; did you mean \"event\"?"),
        (
            r#""event": "a", "path": "onn""#,
            "subscriptions.s.path: must be the path of a route of this module; did you mean \"on\"?",
        ),
        (r#""event": "a", "path": "test""#, "subscriptions.s.path: must be a route without the middleware `test`"),
        (r#""event": "", "path": "on""#, "subscriptions.s.event: must be \"*\" for all types, a type"),
        (r#""event": 1, "path": "on""#, "subscriptions.s.event: must be \"*\" for all types"),
        (r#""redis": "a\n", "path": "on""#, "subscriptions.s.redis: must be a name of 1 to 512 bytes"),
        (r#""nats": ">", "path": "on""#, "subscriptions.s.nats: must be a subject such as"),
        (r#""nats": "$JS.a", "path": "on""#, "subscriptions.s.nats: must be a subject such as"),
        (r#""nats": "a", "jetStream": "a.b", "path": "on""#, "subscriptions.s.jetStream: must be a name of 1 to 128"),
        (
            r#""redis": "a", "connection": "C", "path": "on""#,
            "subscriptions.s.connection: must be the name of a connection",
        ),
        (
            r#""event": "a", "path": "on", "deliver": "al""#,
            "subscriptions.s.deliver: must be one of \"one\" and \"all\", found \"al\"",
        ),
        (r#""event": "a", "path": "on", "overflow": "drop""#, "subscriptions.s.overflow: must be one of"),
        (
            r#""event": "a", "path": "on", "queue": { "messages": 0 }"#,
            "subscriptions.s.queue.messages: must be at least 1",
        ),
        (
            r#""event": "a", "path": "on", "queue": { "messages": 65537 }"#,
            "subscriptions.s.queue.messages: must be at most 65536",
        ),
        (
            r#""event": "a", "path": "on", "queue": { "bytes": "65MiB" }"#,
            "subscriptions.s.queue.bytes: must be at most 64MiB",
        ),
        (r#""event": "a", "path": "on", "concurrency": 0"#, "subscriptions.s.concurrency: must be at least 1"),
        (r#""event": "a", "path": "on", "concurrency": 1025"#, "subscriptions.s.concurrency: must be at most 1024"),
        (r#""event": "a", "sse": {}"#, "subscriptions.s.sse.key: is required"),
        (r#""event": "a", "sse": { "key": "a\n" }"#, "subscriptions.s.sse.key: must be a key of at most 256 bytes"),
        (r#""event": "a", "sse": { "key": "a", "event": "" }"#, "subscriptions.s.sse.event: must be a single line"),
    ] {
        let fault = rule(settings);
        assert!(fault.contains("module.json:1:") || fault.starts_with("subscriptions"), "{fault}");
        assert!(fault.contains(expected), "{fault}");
    }
    assert!(
        load(&one(
            r#""event": "a", "path": "on", "queue": { "messages": 65536, "bytes": "64MiB" }, "concurrency": 1024"#
        ))
        .is_ok()
    );
}

#[test]
fn outside_messages_and_foreign_streams_need_a_grant() {
    let text = subscribed(
        r#"{
          "a": { "redis": "news", "path": "on" },
          "b": { "redisPattern": "price:[a-z]*", "connection": "cache", "sse": { "key": "test-party/{topic}" } },
          "c": { "redisStream": "jobs", "path": "on" },
          "d": { "event": "*", "sse": { "key": "feed/x-{topic}" } },
          "e": { "event": "*", "sse": { "key": "{topic}" } },
          "f": { "event": "*", "sse": { "key": null } },
          "g": { "event": "order/*", "path": "on" },
          "h": { "event": "a", "sse": { "key": "test-party" } },
        }"#,
    );
    let manifest = load(&text).unwrap();
    assert_eq!(manifest.capabilities.subscribe.0, ["redis:news", "redis.cache:price:*", "redis:jobs"]);
    assert_eq!(manifest.capabilities.sse.0, ["feed/*", "*"]);
    let config = |grants: &str| {
        Config::from_text(&format!("{{\"modules\": {{\"test-party\": {{\"grants\": {grants}}}}}}}"), Path::new("/"))
            .unwrap()
    };
    let granted = config(r#"{ "subscribe": ["redis:*", "redis.cache:price*"], "sse": ["*"] }"#);
    assert!(check_grants(&manifest, &granted).is_ok());
    let lacking =
        check_grants(&manifest, &config(r#"{ "subscribe": ["redis:news*"], "sse": ["feed/*"] }"#)).unwrap_err();
    let lacking: Vec<String> = lacking.list().iter().map(|fault| format!("{}: {}", fault.key, fault.message)).collect();
    assert_eq!(
        lacking,
        [
            "subscriptions.e: asks to publish to streams of every key, which is not granted: run `fanfare grant test-party`",
            "subscriptions.b: asks to receive messages of redis.cache:price:*, which is not granted: run `fanfare grant test-party`",
            "subscriptions.c: asks to receive messages of redis:jobs, which is not granted: run `fanfare grant test-party`",
        ]
    );
}
