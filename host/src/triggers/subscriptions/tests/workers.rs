//! Workers that cannot receive messages, and swaps that change which ones do.

use futures_util::poll;

use super::*;

const FAILED: (bool, bool) = (false, true);
const READY: (bool, bool) = (true, false);

fn waiting() -> SubscriptionSettings {
    SubscriptionSettings { overflow: Overflow::Wait, messages: 1, ..all() }
}

#[tokio::test]
async fn a_worker_where_the_module_has_failed_holds_up_no_other_one() {
    let test = Test::new(2);
    *test.fake.workers.lock() = vec![FAILED, READY];
    test.install("m", &[("s", handled("*", waiting()))]);
    let one = test.get("s");
    (1..=5).for_each(|n| test.emit("t", n));
    for calls in 1..=5 {
        test.calls(calls).await;
        test.ok();
    }
    until(|| one.counts().delivered() == 5).await;
    assert_eq!((test.seen_in(0), test.seen_in(1)), (vec![], texts(1..=5)));
    assert_eq!((one.counts().dropped, one.counts().missed, one.waiting()), (5, 0, (0, 0)));
    let skipped = HostEvent::SubscriptionSkipped {
        module: "m".into(),
        subscription: "s".into(),
        isolate: "worker-0".into(),
        dropped: 1,
    };
    assert_eq!(test.raised()[0], skipped);
    // It receives again once the module serves there.
    *test.fake.workers.lock() = vec![READY, READY];
    test.emit("t", 6);
    test.calls(7).await;
    assert_eq!(test.seen_in(0), ["6"]);
}

#[tokio::test]
async fn messages_for_all_workers_wait_while_the_module_has_failed_in_each() {
    let test = Test::new(2);
    *test.fake.workers.lock() = vec![FAILED, FAILED];
    test.install("m", &[("s", handled("*", waiting()))]);
    let one = test.get("s");
    test.emit("t", 1);
    until(|| one.waiting().0 == 2).await;
    let asked = test.fake.asked.load(Ordering::Relaxed);
    until(|| test.fake.asked.load(Ordering::Relaxed) > asked + 4).await;
    assert_eq!((one.counts().dropped, test.seen()), (0, vec![]));
    *test.fake.workers.lock() = vec![READY, READY];
    test.calls(2).await;
}

#[tokio::test]
async fn a_sender_waits_for_the_workers_that_can_receive_and_fails_if_none_has() {
    let test = Test::new(2);
    *test.fake.workers.lock() = vec![FAILED, READY];
    test.install("m", &[("s", handled("*", waiting()))]);
    let one = test.get("s");
    let run = || {
        let one = one.clone();
        tokio::spawn(async move { one.run(message(1)).await })
    };
    let first = run();
    test.calls(1).await;
    test.ok();
    until(|| first.is_finished()).await;
    assert_eq!(first.await.unwrap(), Ok(()));
    let second = run();
    test.calls(2).await;
    // Worker 0 has skipped the message, and now worker 1 cannot receive it any more.
    *test.fake.workers.lock() = vec![READY, FAILED];
    test.give_back(CallError::Unavailable("failed".into()));
    let error = second.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "the subscription `s` of m has dropped the message");
    assert!(matches!(error, CallError::Unavailable(_)), "the source offers it again");
}

#[tokio::test]
async fn a_swap_that_changes_who_receives_skips_no_worker() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", waiting()))]);
    let one = test.get("s");
    (1..=2).for_each(|n| test.emit("t", n));
    test.calls(2).await;
    test.end_all_of(0).await;
    // Worker 0 has room, and worker 1 does not.
    let mut run = std::pin::pin!(one.run(message(3)));
    assert!(poll!(&mut run).is_pending());
    test.install("m", &[("s", handled("*", settings()))]);
    // Worker 1 has nothing left to do before the sender looks again.
    test.end_all_of(0).await;
    test.end_all_of(1).await;
    assert!(poll!(&mut run).is_pending());
    test.end_all_of(1).await;
    assert_eq!(run.await, Ok(()));
    assert_eq!((test.seen_in(0), test.seen_in(1)), (texts(1..=3), texts(1..=3)));
    assert_eq!(one.counts().dropped, 0);
}

#[tokio::test]
async fn a_sender_whose_message_a_worker_never_gets_is_told() {
    let test = Test::new(2);
    test.install("m", &[("s", handled("*", waiting()))]);
    let one = test.get("s");
    (1..=2).for_each(|n| test.emit("t", n));
    test.calls(2).await;
    test.end_all_of(0).await;
    let mut run = std::pin::pin!(one.run(message(3)));
    assert!(poll!(&mut run).is_pending());
    // The next generation has no handler, so that nobody will take what waits.
    let feed = Action::Feed(Feed { key: Some("m".into()), event: None });
    test.install("m", &[("s", DeclaredSubscription { action: feed, ..handled("*", waiting()) })]);
    *test.fake.workers.lock() = Vec::new();
    test.end_all_of(1).await;
    let error = run.await.unwrap_err();
    assert!(matches!(error, CallError::Unavailable(_)), "{error}");
}
