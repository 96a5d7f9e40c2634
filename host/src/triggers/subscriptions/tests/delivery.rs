use std::sync::atomic::Ordering;

use super::*;

#[tokio::test]
async fn workers_take_turns_and_each_handles_one_message_at_a_time_in_order() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=6).for_each(|n| one.offer(message(n)));
    test.calls(2).await;
    assert_eq!(test.seen(), [(0, "1".into()), (1, "2".into())]);
    // Worker 1 is quicker, so that it gets what waits.
    test.end_of("2");
    test.calls(3).await;
    test.end_of("3");
    test.calls(4).await;
    test.end_of("1");
    test.calls(5).await;
    assert_eq!(
        (test.seen_in(0), test.seen_in(1)),
        (vec!["1".into(), "5".into()], vec!["2".into(), "3".into(), "4".into()])
    );
    test.end_of("4");
    test.calls(6).await;
    test.ok();
    test.ok();
    until(|| one.counts().delivered() == 6).await;
    assert_eq!((one.waiting(), one.counts().failed(), one.counts().dropped), ((0, 0), 0, 0));
}

#[tokio::test]
async fn workers_that_are_all_free_take_turns() {
    let test = Test::new(3);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    for n in 1..=4 {
        one.offer(message(n));
        test.calls(n as usize).await;
        test.ok();
        until(|| one.counts().delivered() == n).await;
    }
    let workers: Vec<u32> = test.seen().into_iter().map(|(worker, _)| worker).collect();
    assert_eq!(workers, [0, 1, 2, 0]);
}

#[tokio::test]
async fn every_worker_receives_all_messages_in_order_at_its_own_pace() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", all()))]);
    let one = test.get("s");
    (1..=3).for_each(|n| one.offer(message(n)));
    test.calls(2).await;
    for expected in 3..=4 {
        let index = test.fake.open.lock().iter().position(|open| open.seen.worker == 1).unwrap();
        let open = test.fake.open.lock().remove(index).unwrap();
        open.end.send(CallEnd::Ended(Ok(Reply::default()))).ok().unwrap();
        test.calls(expected).await;
    }
    assert_eq!((test.seen_in(0), test.seen_in(1)), (texts(1..=1), texts(1..=3)));
}

#[tokio::test]
async fn a_worker_handles_as_many_messages_at_once_as_the_manifest_allows() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", SubscriptionSettings { concurrency: 3, ..settings() }))]);
    let one = test.get("s");
    (1..=10).for_each(|n| one.offer(message(n)));
    test.calls(6).await;
    assert_eq!((test.seen_in(0).len(), test.seen_in(1).len()), (3, 3));
    test.ok();
    test.calls(7).await;
}

#[tokio::test]
async fn a_failing_handler_is_counted_and_the_next_message_follows() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=4).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    test.end(Err(CallError::Crashed("trapped".into())));
    test.calls(2).await;
    test.end(Ok(Reply { status: 500, ..Reply::default() }));
    test.calls(3).await;
    test.end(Err(CallError::Failure(Failure { message: "no\nstock".into(), ..Failure::default() })));
    test.calls(4).await;
    test.ok();
    until(|| one.counts().delivered() == 1).await;
    let counts = one.counts();
    let outcomes: Vec<_> = counts.outcomes.into_iter().collect();
    assert_eq!(outcomes, [("crashed", 1), ("failure", 1), ("ok", 1), ("status", 1)]);
    assert_eq!(counts.failure.as_deref(), Some("no\\nstock"));
    assert_eq!(test.seen_in(0), texts(1..=4));
}

#[tokio::test]
async fn a_message_that_no_isolate_could_take_is_offered_again_before_the_others() {
    let test = Test::new(1);
    let refusals = [
        CallError::Overloaded("the mailbox is full".into()),
        CallError::Unavailable("failed".into()),
        CallError::NotFound("a swap installs the route".into()),
    ];
    test.fake.refusals.lock().extend(refusals);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=3).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    // The module failed while the call waited for the next instance.
    test.give_back(CallError::Unavailable("failed".into()));
    test.calls(2).await;
    test.give_back(CallError::Overloaded("no memory for the instance".into()));
    for calls in 3..=5 {
        test.calls(calls).await;
        test.ok();
    }
    until(|| one.counts().delivered() == 3).await;
    assert_eq!(test.seen_in(0), ["1", "1", "1", "2", "3"]);
    assert_eq!((one.counts().failed(), one.counts().dropped), (0, 0));
}

#[tokio::test]
async fn a_message_that_the_module_never_accepts_counts_as_failed() {
    let test = Test::new(1);
    test.fake.refusals.lock().push_back(CallError::Invalid("too large".into()));
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=2).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    assert_eq!((test.seen_in(0), one.counts().failed()), (vec!["2".into()], 1));
}

#[tokio::test]
async fn ready_workers_are_preferred_and_messages_wait_while_all_have_failed() {
    let test = Test::new(3);
    *test.fake.workers.lock() = vec![(false, true), (false, false), (true, false)];
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=4).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    assert_eq!(test.seen(), [(2, "1".into())]);
    // No worker is ready: one that restarts gets the next message, and a failed one never does.
    *test.fake.workers.lock() = vec![(false, true), (false, false), (false, true)];
    test.ok();
    test.calls(2).await;
    assert_eq!(test.seen_in(1), ["2"]);
    *test.fake.workers.lock() = vec![(false, true); 3];
    test.ok();
    let asked = test.fake.asked.load(Ordering::Relaxed);
    until(|| test.fake.asked.load(Ordering::Relaxed) > asked + 3).await;
    assert_eq!((test.seen().len(), one.waiting().0), (2, 2));
    *test.fake.workers.lock() = vec![(true, false); 3];
    test.calls(4).await;
}

#[tokio::test]
async fn a_slow_handler_never_slows_another_subscription() {
    let test = Test::new(1);
    test.fake.quick.lock().push("quick");
    test.install(
        "slow",
        &[("a", handled("*", SubscriptionSettings { overflow: Overflow::Wait, messages: 1, ..settings() }))],
    );
    test.install("quick", &[("b", handled("*", settings()))]);
    for n in 1..=500 {
        test.emit("t", n);
        if n % 50 == 0 {
            settle().await;
        }
    }
    let quick = test.get("b");
    until(|| quick.counts().delivered() == 500).await;
    assert_eq!(test.fake.open.lock().len(), 1, "the slow handler still has its first message");
    assert_eq!((quick.counts().dropped, test.get("a").counts().dropped), (0, 0));
}

#[tokio::test]
async fn a_swap_keeps_what_waits_and_takes_over_the_settings() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=4).for_each(|n| one.offer(message(n)));
    test.calls(2).await;
    test.install("m", &[("s", handled("*", SubscriptionSettings { concurrency: 2, messages: 2, ..settings() }))]);
    assert!(Arc::ptr_eq(&one, &test.get("s")), "the subscription stays");
    test.ok();
    test.calls(4).await;
    for n in 5..=8 {
        one.offer(message(n));
        settle().await;
    }
    assert_eq!(one.counts().dropped, 1, "one runs beside the other three, and two may wait");
}

#[tokio::test]
async fn what_waits_is_delivered_before_a_swap_changes_who_receives() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=4).for_each(|n| one.offer(message(n)));
    test.calls(2).await;
    test.install("m", &[("s", handled("*", all()))]);
    one.offer(message(5));
    settle().await;
    assert_eq!(test.seen().len(), 2);
    for calls in 3..=4 {
        test.ok();
        test.calls(calls).await;
    }
    test.ok();
    settle().await;
    assert_eq!(test.seen().len(), 4, "the last of the old messages still runs");
    test.ok();
    test.calls(6).await;
    assert_eq!((test.seen()[4].1.as_str(), test.seen()[5].1.as_str()), ("5", "5"));
}

#[tokio::test]
async fn messages_of_a_handler_that_a_swap_has_replaced_with_streams_are_dropped() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=3).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    let feed = Action::Feed(Feed { key: Some("m".into()), event: None });
    test.install("m", &[("s", DeclaredSubscription { action: feed, ..handled("*", settings()) })]);
    *test.fake.workers.lock() = Vec::new();
    one.offer(message(4));
    assert_eq!(test.fake.fed.lock().len(), 1);
    test.ok();
    until(|| one.counts().dropped == 2).await;
}

#[tokio::test]
async fn removing_a_module_ends_its_subscriptions_and_drops_what_waits() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=3).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    let mut changes = test.subscriptions.changes();
    test.remove("m");
    assert!(changes.has_changed().unwrap() && test.subscriptions.all().is_empty());
    changes.mark_unchanged();
    one.ended().await;
    assert_eq!((one.counts().dropped, one.waiting()), (2, (0, 0)));
    assert!(matches!(one.send(message(4)).await, Err(CallError::Unavailable(_))));
    test.ok();
    settle().await;
    assert_eq!(test.seen().len(), 1);
    assert_eq!(Arc::strong_count(&one), 1, "no task has it any more");
}

#[tokio::test]
async fn another_source_is_another_subscription() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("a", settings()))]);
    let one = test.get("s");
    test.install("m", &[("s", handled("b", settings()))]);
    one.ended().await;
    test.emit("a", 1);
    test.emit("b", 2);
    test.calls(1).await;
    assert_eq!(test.seen_in(0), ["2"]);
}

#[tokio::test]
async fn a_host_that_stops_starts_no_more_calls() {
    let test = Test::new(1);
    test.install("m", &[("s", handled("*", settings()))]);
    let one = test.get("s");
    (1..=3).for_each(|n| one.offer(message(n)));
    test.calls(1).await;
    test.stopping.cancel();
    test.ok();
    until(|| one.counts().delivered() == 1).await;
    settle().await;
    assert_eq!(test.seen().len(), 1);
    test.install("n", &[("t", handled("*", settings()))]);
    assert_eq!(test.subscriptions.all().len(), 1);
}

#[tokio::test]
async fn a_sender_that_waits_for_the_handler_gets_its_outcome() {
    let test = Test::new(2);
    test.install("m", &[("one", handled("*", settings())), ("all", handled("*", all()))]);
    let (one, every) = (test.get("one"), test.get("all"));
    let run = |subscription: &Arc<Subscription>| {
        let subscription = subscription.clone();
        tokio::spawn(async move { subscription.run(message(1)).await })
    };
    let first = run(&one);
    test.calls(1).await;
    test.ok();
    until(|| first.is_finished()).await;
    assert_eq!(first.await.unwrap(), Ok(()));
    let second = run(&every);
    test.calls(3).await;
    test.ok();
    test.end(Err(CallError::Crashed("trapped".into())));
    assert_eq!(second.await.unwrap(), Err(CallError::Crashed("trapped".into())), "each worker must succeed");
    let third = run(&one);
    test.calls(4).await;
    let fourth = run(&one);
    test.calls(5).await;
    let fifth = run(&one);
    settle().await;
    test.remove("m");
    assert!(matches!(fifth.await.unwrap(), Err(CallError::Unavailable(_))), "its message was dropped");
    test.ok();
    test.ok();
    assert_eq!((third.await.unwrap(), fourth.await.unwrap()), (Ok(()), Ok(())));
}
