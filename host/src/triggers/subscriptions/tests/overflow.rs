use super::*;

fn bounded(messages: usize, bytes: u64) -> SubscriptionSettings {
    SubscriptionSettings { messages, bytes, ..settings() }
}

#[tokio::test]
async fn a_full_queue_drops_the_oldest_messages_and_says_so() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", bounded(3, 1 << 20)))]);
    let one = test.get("s");
    one.offer(message(0));
    test.calls(1).await;
    (1..=3).for_each(|n| one.offer(message(n)));
    assert_eq!((one.counts().dropped, one.waiting().0), (0, 3), "as many as allowed");
    (4..=5).for_each(|n| one.offer(message(n)));
    assert_eq!((one.counts().dropped, one.waiting().0), (2, 3));
    for calls in 2..=4 {
        test.ok();
        test.calls(calls).await;
    }
    assert_eq!(test.seen_in(0), ["0", "3", "4", "5"]);
    let event = |dropped| HostEvent::SubscriptionOverflow { module: "m".into(), subscription: "s".into(), dropped };
    assert_eq!(test.raised()[0], event(1));
}

#[tokio::test]
async fn the_bytes_of_a_queue_are_bounded() {
    let test = Test::new(1);
    let size = message("x".repeat(100)).size();
    assert_eq!(size, 100 + 1 + 256);
    test.install("m", &[("s", handled("*", bounded(1_000, 2 * size)))]);
    let one = test.get("s");
    one.offer(message(0));
    test.calls(1).await;
    one.offer(message("a".repeat(100)));
    one.offer(message("b".repeat(100)));
    assert_eq!((one.counts().dropped, one.waiting()), (0, (2, 2 * size)));
    one.offer(message("c"));
    assert_eq!((one.counts().dropped, one.waiting().0), (1, 2));
    one.offer(message("d".repeat(100_000)));
    assert_eq!((one.counts().dropped, one.waiting().0), (3, 1), "an empty queue accepts a message of any size");
    test.ok();
    test.calls(2).await;
    assert_eq!((test.seen_in(0)[1].len(), one.waiting()), (100_000, (0, 0)));
}

#[tokio::test]
async fn a_flood_into_a_stuck_handler_keeps_the_newest_messages_only() {
    let test = Test::new(2);
    test.install(
        "m",
        &[
            ("one", handled("*", bounded(100, 1 << 20))),
            ("all", handled("*", SubscriptionSettings { deliver: Deliver::All, ..bounded(100, 1 << 20) })),
        ],
    );
    let (one, every) = (test.get("one"), test.get("all"));
    for n in 0..1_000_000 {
        one.offer(message(n));
        every.offer(message(n));
        if n % 100_000 == 0 {
            settle().await;
            assert!(one.waiting().0 <= 100 && every.waiting().0 <= 200);
        }
    }
    assert_eq!((one.waiting().0, every.waiting().0), (100, 200));
    // Each worker runs one message of each subscription.
    assert_eq!((one.counts().dropped, every.counts().dropped), (1_000_000 - 102, 2 * (1_000_000 - 101)));
    assert!(test.raised().len() < 1_000, "few events");
}

#[tokio::test]
async fn a_source_that_waits_loses_nothing_and_keeps_its_order() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", SubscriptionSettings { overflow: Overflow::Wait, ..bounded(2, 1 << 20) }))]);
    let one = test.get("s");
    let sender = one.clone();
    let sent = tokio::spawn(async move {
        for n in 1..=10 {
            sender.send(message(n)).await.unwrap();
        }
    });
    test.calls(1).await;
    assert_eq!((one.waiting().0, sent.is_finished()), (2, false));
    for calls in 2..=10 {
        test.ok();
        test.calls(calls).await;
    }
    sent.await.unwrap();
    assert_eq!((test.seen_in(0), one.counts().dropped), (texts(1..=10), 0));
}

#[tokio::test]
async fn a_source_that_waits_is_told_when_the_subscription_ends() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", SubscriptionSettings { overflow: Overflow::Wait, ..bounded(1, 1 << 20) }))]);
    let one = test.get("s");
    one.send(message(1)).await.unwrap();
    test.calls(1).await;
    one.send(message(2)).await.unwrap();
    let sender = one.clone();
    let waiting = tokio::spawn(async move { sender.send(message(3)).await });
    settle().await;
    test.remove("m");
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the subscription `s` of m has ended and accepts no more messages");
}

#[tokio::test]
async fn all_subscriptions_together_raise_a_bounded_number_of_events() {
    let test = Test::new(1);
    let names: Vec<String> = (0..=EVENTS_PER_SECOND).map(|n| format!("s{n}")).collect();
    let all: Vec<_> = names.iter().map(|name| (name.as_str(), handled("*", settings()))).collect();
    test.install("m", &all);
    let before = bounds::SUBSCRIPTION_EVENTS.reached();
    names.iter().for_each(|name| test.get(name).missed(Some(1)));
    // A second may end meanwhile.
    assert!(test.raised().len() >= EVENTS_PER_SECOND as usize);
    assert!(bounds::SUBSCRIPTION_EVENTS.reached() > before || test.raised().len() > EVENTS_PER_SECOND as usize);
}
