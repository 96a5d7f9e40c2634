use super::*;
use crate::registry::{RedisSource, RedisTopic};

#[tokio::test]
async fn events_reach_the_subscriptions_whose_pattern_covers_their_type() {
    let test = Test::new(1);
    test.fake.quick.lock().push("m");
    test.install(
        "m",
        &[
            ("any", handled("*", settings())),
            ("paid", handled("order/paid", settings())),
            ("orders", handled("order/*", settings())),
            ("none", handled("stock", settings())),
        ],
    );
    for kind in ["order/paid", "order/sent", "order", "x"] {
        test.emit(kind, format!("{kind:?}"));
    }
    test.calls(7).await;
    let topics = |name: &str| {
        let seen = test.fake.seen.lock();
        seen.iter().filter(|seen| seen.name == name).map(|seen| seen.topic.clone()).collect::<Vec<_>>()
    };
    assert_eq!(topics("any"), ["order/paid", "order/sent", "order", "x"]);
    assert_eq!(
        (topics("paid"), topics("orders")),
        (vec!["order/paid".into()], vec!["order/paid".into(), "order/sent".into()])
    );
}

#[tokio::test]
async fn a_subscription_receives_the_events_from_its_beginning_on() {
    let test = Test::new(1);
    test.fake.quick.lock().push("m");
    test.emit("t", 1);
    test.install("m", &[("s", handled("*", settings()))]);
    test.emit("t", 2);
    test.calls(1).await;
    // A swap neither skips nor repeats an event.
    test.emit("t", 3);
    test.install("m", &[("s", handled("*", SubscriptionSettings { overflow: Overflow::Wait, ..settings() }))]);
    test.emit("t", 4);
    test.install("m", &[("s", handled("*", all()))]);
    test.emit("t", 5);
    test.calls(4).await;
    assert_eq!(test.seen_in(0), texts(2..=5));
}

#[tokio::test]
async fn a_subscription_that_falls_behind_the_log_is_told_how_much_it_missed() {
    let test = Test::keeping(1, 10);
    test.install(
        "m",
        &[("s", handled("*", SubscriptionSettings { overflow: Overflow::Wait, messages: 1, ..settings() }))],
    );
    let one = test.get("s");
    test.emit("t", 1);
    test.calls(1).await;
    for n in 2..=100 {
        test.emit("t", n);
        settle().await;
    }
    for calls in 2..=13 {
        test.ok();
        test.calls(calls).await;
    }
    // One ran, one waited in the queue, one waited for room in it, and the log kept ten.
    let expected: Vec<String> = texts(1..=3).into_iter().chain(texts(91..=100)).collect();
    assert_eq!(test.seen_in(0), expected);
    assert_eq!((one.counts().missed, one.counts().gaps, one.counts().dropped), (87, 1, 0));
    let gap = HostEvent::SubscriptionGap { module: "m".into(), subscription: "s".into(), missed: Some(87) };
    assert_eq!(test.raised(), [gap]);
}

#[tokio::test]
async fn a_million_types_cost_a_subscription_nothing() {
    let test = Test::keeping(1, 100);
    test.fake.quick.lock().push("m");
    test.install("m", &[("s", handled("kind/7", settings()))]);
    for n in 0..1_000_000 {
        test.emit(&format!("kind/{n}"), n);
        if n % 50 == 0 {
            tokio::task::yield_now().await;
        }
    }
    let one = test.get("s");
    until(|| one.counts().delivered() + one.counts().gaps > 0).await;
    assert_eq!((test.seen_in(0), one.waiting()), (vec!["7".into()], (0, 0)));
    assert_eq!(one.counts().gaps, 0);
}

#[tokio::test]
async fn a_feed_publishes_to_the_key_of_its_topic() {
    let test = Test::new(1);
    let feed = |key: Option<&str>, event: Option<&str>| DeclaredSubscription {
        action: Action::Feed(Feed { key: key.map(Arc::from), event: event.map(Arc::from) }),
        ..handled("*", settings())
    };
    test.install("m", &[("a", feed(Some("m/{topic}"), Some("data"))), ("b", feed(None, None))]);
    test.emit("price:eur", 12);
    until(|| test.fake.fed.lock().len() == 2).await;
    let fed = test.fake.fed.lock().clone();
    let event = |name: Option<&str>| StreamEvent { event: name.map(str::to_owned), ..StreamEvent::from("12") };
    assert!(fed.contains(&(Some("m/price:eur".into()), event(Some("data")))), "{fed:?}");
    assert!(fed.contains(&(None, event(None))), "{fed:?}");
    assert_eq!(test.get("a").counts().delivered(), 1);
    assert_eq!(test.get("a").run(message(1)).await, Ok(()));
}

#[tokio::test]
async fn a_subscription_is_told_of_a_gap_before_between_and_after_the_events_that_it_reads_at_once() {
    for overflow in [Overflow::DropOldest, Overflow::Wait] {
        let test = Test::new(1);
        test.fake.quick.lock().push("m");
        test.install("m", &[("s", handled("*", SubscriptionSettings { overflow, ..settings() }))]);
        let one = test.get("s");
        // The reader does not run before all of them are there.
        test.log.gap();
        test.emit("t", 1);
        test.log.gap();
        test.emit("t", 2);
        test.log.gap();
        test.emit("t", 3);
        test.calls(3).await;
        assert_eq!((test.seen_in(0), one.counts().gaps), (texts(1..=3), 3), "{overflow:?}");
    }
}

#[tokio::test]
async fn outside_sources_are_wanted_as_long_as_a_module_subscribes() {
    let test = Test::new(1);
    let redis = |name: &str| DeclaredSubscription {
        source: Source::Redis(RedisSource { connection: "default".into(), topic: RedisTopic::Channel(name.into()) }),
        ..handled("*", settings())
    };
    test.install("m", &[("a", redis("news")), ("b", handled("*", settings()))]);
    let wanted = test.subscriptions.wanted(SourceKind::Redis);
    assert_eq!(wanted.iter().map(|one| (&**one.module(), &**one.name())).collect::<Vec<_>>(), [("m", "a")]);
    let mut changes = test.subscriptions.changes();
    test.install("m", &[("a", redis("news")), ("b", handled("*", settings()))]);
    assert!(!changes.has_changed().unwrap(), "a swap without a change");
    test.install("m", &[("b", handled("*", settings()))]);
    changes.changed().await.unwrap();
    assert!(test.subscriptions.wanted(SourceKind::Redis).is_empty());
    wanted[0].ended().await;
}

#[tokio::test]
async fn the_status_shows_every_subscription() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("order/*", all()))]);
    test.get("s").offer(message(1));
    test.get("s").missed(None);
    test.calls(1).await;
    let status = test.subscriptions.status();
    let expected = SubscriptionStatus {
        module: "m".into(),
        name: "s".into(),
        source: "event".into(),
        topic: "order/*".into(),
        deliver: Some("all".into()),
        overflow: Some("drop-oldest".into()),
        gaps: 1,
        ..SubscriptionStatus::default()
    };
    assert_eq!(status, [expected]);
}
