//! The order of messages, and the limits of what waits.

use super::*;
use crate::triggers::channels::lines::{Kind, Lines, WAITING};

const PUBLISH: &[ChannelAction] = &[ChannelAction::Publish];

#[tokio::test]
async fn calls_start_in_order_and_their_messages_are_published_in_order() {
    let bench = Bench::new();
    bench.route(PUBLISH, published());
    ["1", "2", "3"].into_iter().for_each(|text| bench.publish(text));
    let texts: Vec<_> = bench.calls().into_iter().map(|(_, payload)| payload.to_text().into_owned()).collect();
    assert_eq!((texts, bench.service.waiting()), (vec!["1".to_owned(), "2".to_owned(), "3".to_owned()], 3));
    bench.end(2, pass(None));
    bench.end(1, pass(Some("two")));
    // What another channel does takes several turns, and nothing is released meanwhile.
    bench.publish_to("beside", "x", Actor::operator());
    bench.until_done(&["x: ok"]).await;
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.heard(), [""; 0]);
    bench.end(0, status(200));
    bench.until_done(&["1: ok", "2: ok", "3: ok"]).await;
    assert_eq!(bench.heard(), ["1", "two", "3"]);
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    assert_eq!(bench.service.waiting(), 0);
}

#[tokio::test]
async fn a_message_that_is_refused_or_crashes_is_the_only_one_that_is_not_published() {
    let bench = Bench::new();
    bench.route(PUBLISH, published());
    ["1", "2", "3", "4", "5", "6"].into_iter().for_each(|text| bench.publish(text));
    bench.end(0, pass(None));
    bench.end(0, failure());
    bench.end(0, status(403));
    bench.end(0, Err(CallError::Crashed("trap".to_owned())));
    bench.end(0, Err(CallError::Timeout(None)));
    bench.end(0, pass(None));
    bench.until_done(&["1: ok", "2: failure", "3: failure", "4: crashed", "5: timeout", "6: ok"]).await;
    assert_eq!(bench.heard(), ["1", "6"]);
    let refused: Vec<u64> = bench.service.counters().refused().map(|(_, count)| count).collect();
    assert_eq!(refused, [0, 0, 4, 0, 0, 0]);
    // A call that cannot be queued is refused at once.
    *bench.modules.rejects.lock() = Some(CallError::Overloaded("full".to_owned()));
    bench.publish("7");
    assert_eq!(bench.done(), ["7: overloaded"]);
    assert!(!bench.service.is_busy(CHANNEL));
}

#[tokio::test]
async fn at_most_64_requests_of_a_channel_wait() {
    let bench = Bench::new();
    bench.route(PUBLISH, published());
    (0..WAITING).for_each(|number| bench.publish(&number.to_string()));
    assert_eq!((bench.done().len(), bench.service.waiting()), (0, WAITING));
    bench.publish("over");
    assert_eq!(bench.done(), ["over: overloaded"]);
    assert_eq!(bench.calls().len(), WAITING, "the route is not asked");
    let (session, _) = bench.client();
    bench.subscribe("subscribe", &session, Payload::None);
    assert_eq!(bench.done(), ["subscribe: overloaded"]);
    bench.publish_to("beside", "other", Actor::operator());
    assert_eq!(bench.done(), ["other: ok"]);
    bench.end(0, pass(None));
    bench.until_done(&["0: ok"]).await;
    until("room", || bench.service.waiting() < WAITING).await;
    bench.publish("again");
    for _ in 0..WAITING {
        bench.end(0, pass(None));
    }
    until("all messages", || bench.heard.0.lock().len() == WAITING + 1).await;
    let mut expected: Vec<String> = (0..WAITING).map(|number| number.to_string()).collect();
    expected.push("again".to_owned());
    assert_eq!(bench.heard(), expected);
}

#[tokio::test]
async fn subscriptions_and_messages_keep_the_order_of_their_arrival() {
    use ChannelAction::{Publish, Subscribe, Unsubscribe};
    let bench = Bench::new();
    bench.route(&[Publish, Subscribe, Unsubscribe], published());
    let (session, wire) = bench.client();
    bench.publish("before");
    bench.subscribe("subscribe", &session, Payload::None);
    bench.publish("during");
    bench.unsubscribe("unsubscribe", &session);
    bench.publish("after");
    let actions: Vec<_> = bench.calls().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Publish, Subscribe, Publish, Unsubscribe, Publish]);
    while !bench.calls().is_empty() {
        let last = bench.calls().len() - 1;
        bench.end(last, pass(None));
    }
    bench.until_done(&["before: ok", "subscribe: ok", "during: ok", "unsubscribe: ok", "after: ok"]).await;
    until("the message", || wire.lock().contains("during")).await;
    bench.service.hub.channels.subscribe(CHANNEL, &session, None, &published()).unwrap();
    bench.route(&[], published());
    bench.publish("last");
    until("the last message", || wire.lock().contains("last")).await;
    assert!(!wire.lock().contains("before") && !wire.lock().contains("after"), "{}", wire.lock());
}

#[tokio::test]
async fn what_needs_no_route_waits_behind_what_does() {
    let bench = Bench::new();
    bench.route(PUBLISH, published());
    bench.publish("1");
    // A swap has installed a generation without the route.
    bench.rule(CHANNEL, ChannelRule::Open(published()));
    bench.publish("2");
    assert_eq!((bench.done().len(), bench.calls().len()), (0, 1));
    bench.end(0, pass(None));
    bench.until_done(&["1: ok", "2: ok"]).await;
    assert_eq!(bench.heard(), ["1", "2"]);
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    bench.publish("3");
    assert_eq!((bench.done(), bench.heard()), (vec!["3: ok".to_owned()], vec!["3".to_owned()]));
}

#[tokio::test]
async fn a_call_about_a_channel_must_not_wait_for_its_own_channel() {
    let bench = Bench::new();
    bench.route(PUBLISH, published());
    bench.rule(
        "beside",
        ChannelRule::Routed { module: "m".into(), settings: published(), on: PUBLISH.iter().copied().collect() },
    );
    let deadline = Deadline::At(Instant::now() + Duration::from_secs(60));
    let mut above = CallContext::root(1, "m".into(), IsolateId::Broker(0), Origin::Host, deadline);
    above.channel = Some(CHANNEL.into());
    let mut below = CallContext::root(2, "m".into(), IsolateId::Worker(0), Origin::Host, deadline);
    below.parent = Some(Arc::new(above));
    let caller = Caller {
        module: "m".into(),
        isolate: IsolateId::Worker(0),
        capabilities: Arc::default(),
        default_timeout: Duration::ZERO,
        max_payload: 9,
        max_subscriptions: 1,
        context: Some(Arc::new(below)),
    };
    bench.publish_to(CHANNEL, "waits", Actor::guest(caller.clone(), true));
    assert_eq!(bench.done(), ["waits: would-deadlock"]);
    bench.publish_to(CHANNEL, "later", Actor::guest(caller.clone(), false));
    bench.publish_to("beside", "other", Actor::guest(caller, true));
    assert_eq!((bench.done().len(), bench.calls().len()), (0, 2));
}

#[tokio::test]
async fn a_line_ends_with_the_runtime_that_runs_it() {
    let lines = Lines::new(Handle::current());
    let channel: Arc<str> = CHANNEL.into();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    let handle = runtime.handle().clone();
    let enter = || {
        let place = lines.place(&channel, &"m".into(), Kind::Request, 9, None).unwrap();
        place.enter(Some(&handle), Box::pin(std::future::pending()));
    };
    enter();
    assert!(lines.is_busy(CHANNEL) && lines.waiting() == 1);
    runtime.shutdown_background();
    until("the end of the line", || !lines.is_busy(CHANNEL)).await;
    assert_eq!(lines.waiting(), 0);
    // A line that begins afterwards ends at once.
    enter();
    assert!(!lines.is_busy(CHANNEL) && lines.waiting() == 0);
}

#[test]
fn what_the_route_is_only_told_waits_besides_requests_and_is_bounded() {
    // Nothing runs on it.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lines = Lines::new(runtime.handle().clone());
    let channel: Arc<str> = CHANNEL.into();
    let enter = |kind| match lines.place(&channel, &"m".into(), kind, 0, None) {
        Ok(place) => {
            place.enter(None, Box::pin(std::future::pending()));
            "ok"
        }
        Err(error) => error.code(),
    };
    let all = |kind, count| (0..count).all(|_| enter(kind) == "ok");
    assert!(all(Kind::Request, WAITING / 2) && all(Kind::Notice, 10_000));
    assert_eq!((enter(Kind::Notice), lines.waiting()), ("overloaded", WAITING / 2));
    assert!(all(Kind::Request, WAITING / 2));
    assert_eq!((enter(Kind::Request), enter(Kind::Notice)), ("overloaded", "overloaded"));
    drop(runtime);
    assert!(!lines.is_busy(CHANNEL) && lines.waiting() == 0);
}

#[tokio::test]
async fn the_bytes_that_wait_in_all_lines_are_bounded_and_one_module_leaves_room_for_others() {
    let bench = Bench::new();
    let routed = |module: &str| ChannelRule::Routed {
        module: module.into(),
        settings: published(),
        on: PUBLISH.iter().copied().collect(),
    };
    bench.route(PUBLISH, published());
    bench.rule("beside", routed("m"));
    bench.rule("other", routed("n"));
    let publish = |channel: &str, what: &str, bytes: usize| {
        let (note, payload) = (bench.note(what), Payload::Text("x".repeat(bytes)));
        bench.service.publish(&channel.into(), payload, Actor::operator(), move |done| note(said(done)));
    };
    // A module has four fifths of the 64 MiB, in all of its channels.
    publish(CHANNEL, "first", 26 << 20);
    publish("beside", "second", 26 << 20);
    assert_eq!(bench.done(), [""; 0]);
    publish("beside", "over", 2 << 20);
    assert_eq!(bench.done(), ["over: overloaded"]);
    publish("other", "fits", 10 << 20);
    publish("other", "over", 2 << 20);
    assert_eq!(bench.done(), ["over: overloaded"]);
    bench.end(0, pass(None));
    bench.until_done(&["first: ok"]).await;
    until("room", || !bench.service.is_busy(CHANNEL)).await;
    publish("beside", "again", 2 << 20);
    assert_eq!(bench.calls().len(), 3);
    (0..3).for_each(|_| _ = bench.end(0, pass(None)));
    until("the end of all messages", || bench.done.lock().len() == 3).await;
    let mut done = bench.done();
    done.sort();
    assert_eq!(done, ["again: ok", "fits: ok", "second: ok"]);
    until("the end of all lines", || !bench.service.is_busy("beside") && !bench.service.is_busy("other")).await;
    // A message that is larger than the bound is accepted alone.
    publish(CHANNEL, "huge", 96 << 20);
    bench.end(0, pass(None));
    bench.until_done(&["huge: ok"]).await;
}

#[test]
fn steps_without_a_message_count_too() {
    // Nothing runs on it.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lines = Lines::new(runtime.handle().clone());
    let enter = |channel: usize, module: &str| {
        let channel: Arc<str> = format!("{module}/{channel}").into();
        let place = lines.place(&channel, &module.into(), Kind::Notice, 0, None);
        place.map(|place| place.enter(None, Box::pin(std::future::pending()))).is_ok()
    };
    // 512 bytes for each step, and four fifths of 64 MiB for a module.
    let accepted = (0..200_000).take_while(|number| enter(number / 1_000, "m")).count();
    assert_eq!(accepted, ((64usize << 20) / 512 * 4).div_ceil(5));
    assert!((0..10_000).all(|number| enter(number / 1_000, "n")), "another module has room");
    drop(runtime);
}

#[tokio::test]
async fn a_channel_that_nobody_may_use_yet_refuses_everything_but_to_leave() {
    let bench = Bench::new();
    let (session, _) = bench.client();
    bench.subscribe("subscribe", &session, Payload::None);
    bench.rule(CHANNEL, ChannelRule::Unavailable(CallError::Unavailable("loading".to_owned())));
    bench.publish("1");
    bench.subscribe("again", &session, Payload::None);
    bench.unsubscribe("unsubscribe", &session);
    bench.unsubscribe("twice", &session);
    assert_eq!(
        bench.done(),
        ["subscribe: ok", "1: unavailable", "again: unavailable", "unsubscribe: ok", "twice: not-found"]
    );
}

#[tokio::test]
async fn clients_use_only_declared_channels_if_the_operator_says_so() {
    for (only_declared, expected) in [(false, "1: ok"), (true, "1: forbidden")] {
        let bench = Bench::with(only_declared);
        let (session, _) = bench.client();
        let client = || Actor::client(&session, Duration::from_secs(1));
        bench.publish_to(CHANNEL, "1", client());
        bench.publish_to(CHANNEL, "2", Actor::operator());
        bench.rule(CHANNEL, ChannelRule::Open(published()));
        bench.publish_to(CHANNEL, "3", client());
        bench.publish_to("presence/room", "4", Actor::operator());
        assert_eq!(bench.done(), [expected, "2: ok", "3: ok", "4: forbidden"]);
    }
}
