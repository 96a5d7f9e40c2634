//! Members: what the route hears about them, and what it decides for each of them.

use super::*;
use crate::call::channel::{LONGEST_LIST, ListSize};
use crate::hub::ChannelError;

fn presence() -> ChannelSettings {
    ChannelSettings { presence: true, ..ChannelSettings::default() }
}

/// The result of what asks no other node.
fn at_once<T>(listed: crate::ports::BoxFuture<T>) -> T {
    futures_util::FutureExt::now_or_never(listed).unwrap()
}

#[tokio::test]
async fn the_route_decides_for_each_member_about_a_message_before_the_next_one() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Deliver], published());
    let clients = [bench.client(), bench.client(), bench.client()];
    for (index, (session, _)) in clients.iter().enumerate() {
        bench.subscribe(&index.to_string(), session, Payload::None);
    }
    bench.until_done(&["0: ok", "1: ok", "2: ok"]).await;
    bench.publish("a");
    bench.publish("b");
    bench.until_calls(3).await;
    // The publisher does not wait for the members.
    assert_eq!(bench.done(), ["a: ok"]);
    let about: Vec<_> = bench.modules.calls.lock().iter().map(|(call, _)| call.trigger.session.clone()).collect();
    let index = |session: &Session| about.iter().position(|one| one.as_deref() == Some(&*session.id)).unwrap();
    let [changed, refused, passed] = [0, 1, 2].map(|client: usize| index(&clients[client].0));
    let mut results: Vec<(usize, CallResult)> =
        vec![(changed, pass(Some("A"))), (refused, failure()), (passed, pass(None))];
    // Ended from the last one to the first one.
    results.sort_by_key(|(index, _)| std::cmp::Reverse(*index));
    for (index, result) in results {
        assert_eq!(bench.end(index, result).payload.to_text(), "a");
    }
    bench.until_calls(3).await;
    assert_eq!(bench.done(), ["b: ok"]);
    for _ in 0..3 {
        assert_eq!(bench.end(0, pass(None)).payload.to_text(), "b");
    }
    for ((_, wire), expected) in
        clients.iter().zip(["\u{fffd}\u{1}A\u{fffd}\u{1}b", "\u{fffd}\u{1}b", "\u{fffd}\u{1}a\u{fffd}\u{1}b"])
    {
        until("the messages", || wire.lock().ends_with('b')).await;
        assert_eq!(*wire.lock(), expected);
    }
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    assert_eq!(bench.heard(), ["a", "b"], "listeners get messages as they were published");
}

#[tokio::test]
async fn messages_of_other_nodes_wait_for_the_route_and_beyond_10000_their_members_are_cut() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Deliver], published());
    let (session, wire) = bench.client();
    bench.subscribe("in", &session, Payload::None);
    bench.until_done(&["in: ok"]).await;
    let receive = |text: String| bench.service.receive("b", &CHANNEL.into(), None, (None, Payload::Text(text)));
    receive("first".to_owned());
    bench.until_calls(1).await;
    for number in 0..10_000 {
        receive(number.to_string());
    }
    bench.end(0, pass(Some("changed")));
    bench.until_calls(1).await;
    assert_eq!(bench.end(0, failure()).payload.to_text(), "0");
    bench.until_calls(1).await;
    // There is room for two.
    receive("last".to_owned());
    receive("last".to_owned());
    until("the message", || wire.lock().ends_with("changed")).await;
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&wire), 2, "the client is connected");
    receive("one too many".to_owned());
    until("the client is cut", || Arc::strong_count(&wire) == 1).await;
}

#[tokio::test]
async fn a_history_that_differs_for_each_member_is_not_for_clients() {
    let bench = Bench::new();
    let kept = ChannelSettings { count: 9, age: Duration::from_secs(60), bytes: 1_000, ..ChannelSettings::default() };
    let (session, _) = bench.client();
    let client = Actor::client(&session, Duration::from_secs(1));
    let read = async |actor: &Actor| bench.service.history(&CHANNEL.into(), None, 9, 1_000, actor).await;
    bench.rule(CHANNEL, ChannelRule::Open(kept));
    bench.publish("a");
    assert_eq!(read(&client).await.unwrap().messages.len(), 1);
    bench.route(&[ChannelAction::Deliver], kept);
    assert!(matches!(read(&client).await, Err(CallError::Invalid(_))));
    assert_eq!(read(&Actor::operator()).await.unwrap().messages.len(), 1);
}

#[tokio::test]
async fn the_route_is_told_who_joins_and_leaves_and_cannot_prevent_it() {
    use ChannelAction::{Join, Leave};
    let bench = Bench::new();
    bench.route(&[Join, Leave], presence());
    let (session, _) = bench.client();
    bench.subscribe("subscribe", &session, Payload::Text(r#"{"a":1}"#.to_owned()));
    bench.until_calls(1).await;
    assert_eq!(bench.done(), ["subscribe: ok"]);
    let told = bench.end(0, failure());
    assert_eq!((told.trigger.action, told.trigger.session.as_deref()), (Join, Some(&*session.id)));
    let members = at_once(bench.service.members(&CHANNEL.into(), ListSize::ANY, &Actor::operator())).unwrap();
    assert_eq!((members.len(), members[0].info.as_deref()), (1, Some(r#"{"a":1}"#)));
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    // A member that subscribes again has not joined.
    bench.subscribe("again", &session, Payload::None);
    bench.until_done(&["again: ok"]).await;
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    assert_eq!(bench.calls(), []);
    bench.unsubscribe("unsubscribe", &session);
    bench.until_calls(1).await;
    assert_eq!(bench.end(0, pass(None)).trigger.action, Leave);
    // Members that others add and remove.
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    bench.service.add(&CHANNEL.into(), &session.id, Actor::operator()).unwrap();
    bench.until_calls(1).await;
    assert_eq!(bench.end(0, pass(None)).trigger.action, Join);
    assert_eq!(bench.service.kick_out(&CHANNEL.into(), &session.id, "go", Actor::operator()), Ok(true));
    assert_eq!(bench.service.kick_out(&CHANNEL.into(), &session.id, "go", Actor::operator()), Ok(false));
    bench.until_calls(1).await;
    assert_eq!(bench.end(0, pass(None)).trigger.action, Leave);
    assert_eq!(
        bench.service.kick_out(&CHANNEL.into(), "n/none", "go", Actor::operator()).unwrap_err().code(),
        "not-found"
    );
}

#[tokio::test]
async fn a_route_that_is_told_slowly_delays_nothing_and_is_told_in_order() {
    use ChannelAction::{Join, Leave, Publish, Subscribe, Unsubscribe};
    let bench = Bench::new();
    bench.route(&[Join, Leave, Publish, Subscribe, Unsubscribe], presence());
    let (first, second) = (bench.client().0, bench.client().0);
    for (what, session) in [("first", &first), ("second", &second)] {
        bench.subscribe(what, session, Payload::None);
        let last = bench.calls().len() - 1;
        bench.end(last, pass(None));
    }
    bench.until_done(&["first: ok", "second: ok"]).await;
    // The first join is told, and its call does not end.
    bench.until_calls(1).await;
    bench.publish("a");
    bench.unsubscribe("leave", &first);
    drop(bench.service.hub.sessions.end(&second));
    let actions: Vec<_> = bench.calls().into_iter().map(|(action, _)| action).collect();
    assert_eq!(actions, [Join, Publish, Unsubscribe]);
    bench.end(2, pass(None));
    bench.end(1, pass(None));
    bench.until_done(&["a: ok", "leave: ok"]).await;
    assert_eq!(bench.heard(), ["a"]);
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    let mut told = Vec::new();
    for _ in 0..4 {
        bench.until_calls(1).await;
        let call = bench.end(0, pass(None));
        told.push((call.trigger.action, call.trigger.session.unwrap()));
    }
    let [first, second] = [first, second].map(|session| session.id.clone());
    assert_eq!(told, [(Join, first.clone()), (Join, second.clone()), (Leave, first), (Leave, second)]);
}

#[tokio::test]
async fn a_client_waits_for_its_own_time_and_what_nobody_waits_for_has_that_of_the_module() {
    use ChannelAction::{Join, Publish, Subscribe};
    let bench = Bench::new();
    bench.route(&[Join, Publish, Subscribe], presence());
    let (session, _) = bench.client();
    let patience = Duration::from_secs(7);
    bench.subscribe("subscribe", &session, Payload::None);
    assert_eq!(bench.end(0, pass(None)).timeout, Some(Duration::from_secs(60)));
    bench.until_calls(1).await;
    assert_eq!(bench.end(0, pass(None)).timeout, None, "of the call of join");
    bench.publish_to(CHANNEL, "client", Actor::client(&session, patience));
    assert_eq!(bench.end(0, pass(None)).timeout, Some(patience));
    bench.publish_to(CHANNEL, "reader", Actor::reader(patience));
    assert_eq!(bench.end(0, pass(None)).timeout, Some(patience));
    bench.publish("operator");
    assert_eq!(bench.end(0, pass(None)).timeout, None);
}

#[tokio::test]
async fn a_session_that_ends_leaves_its_channels_and_the_route_is_told() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Leave, ChannelAction::Subscribe], presence());
    let (session, _) = bench.client();
    bench.subscribe("subscribe", &session, Payload::None);
    bench.end(0, pass(None));
    bench.until_done(&["subscribe: ok"]).await;
    let (late, _) = bench.client();
    bench.subscribe("late", &late, Payload::None);
    let ended = [session, late].map(|session| (bench.service.hub.sessions.end(&session), session.id.clone()));
    assert_eq!(bench.service.hub.channels.count(CHANNEL), 0);
    // The call of the one that subscribes too late comes first.
    bench.end(0, pass(None));
    bench.until_calls(1).await;
    let told = bench.end(0, pass(None));
    assert_eq!((told.trigger.action, told.trigger.session.as_ref()), (ChannelAction::Leave, Some(&ended[0].1)));
    bench.until_done(&["late: not-found"]).await;
    until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    assert_eq!((bench.calls(), bench.service.hub.channels.count(CHANNEL)), (vec![], 0));
}

#[tokio::test]
async fn a_route_may_keep_a_member_but_not_by_a_crash() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Unsubscribe], published());
    let (session, _) = bench.client();
    bench.subscribe("subscribe", &session, Payload::None);
    for (result, expected, members) in [
        (failure(), "leave: failure", 1),
        (status(403), "leave: failure", 1),
        (Err(CallError::Crashed("trap".to_owned())), "leave: ok", 0),
    ] {
        bench.done();
        bench.unsubscribe("leave", &session);
        bench.end(0, result);
        bench.until_done(&[expected]).await;
        assert_eq!(bench.service.hub.channels.count(CHANNEL), members);
        until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    }
}

#[tokio::test]
async fn what_a_member_says_about_itself_is_replaced_by_the_route_and_bounded() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Subscribe], presence());
    let (session, _) = bench.client();
    let all = || at_once(bench.service.members(&CHANNEL.into(), ListSize::ANY, &Actor::operator())).unwrap();
    let info = || all()[0].info.clone();
    let of_size = |size: usize| format!("\"{}\"", "x".repeat(size - 2));
    for (result, expected, said) in [
        (pass(None), "s: ok", Some("1".to_owned())),
        (pass(Some("plain text")), "s: ok", Some(r#""plain text""#.to_owned())),
        (pass(Some(&of_size(4_096))), "s: ok", Some(of_size(4_096))),
        (pass(Some(&of_size(4_097))), "s: invalid", Some(of_size(4_096))),
    ] {
        bench.subscribe("s", &session, Payload::Text("1".to_owned()));
        assert_eq!(bench.end(0, result).payload, Payload::Text("1".to_owned()));
        bench.until_done(&[expected]).await;
        assert_eq!(info().as_deref(), said.as_deref());
        until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    }
    let (other, _) = bench.client();
    bench.subscribe("other", &other, Payload::None);
    bench.end(0, failure());
    bench.until_done(&["other: failure"]).await;
    assert_eq!(bench.service.hub.channels.count(CHANNEL), 1);
}

#[tokio::test]
async fn a_session_has_a_bounded_number_of_channels() {
    let bench = Bench::new();
    let (session, _) = bench.client();
    let subscribed: Arc<Mutex<Vec<Result<(), Refusal>>>> = Arc::default();
    for channel in ["a", "b", "c", "d", "a"] {
        let (subscribed, actor) = (subscribed.clone(), Actor::client(&session, Duration::from_secs(1)));
        let done = move |done| subscribed.lock().push(done);
        bench.service.subscribe(&channel.into(), &session, Payload::None, actor, done);
    }
    let full = Refusal::Hub(ChannelError::SessionFull { max: 3 });
    assert_eq!(*subscribed.lock(), [Ok(()), Ok(()), Ok(()), Err(full.clone()), Ok(())]);
    assert_eq!(CallError::from(full).code(), "overloaded");
}

#[tokio::test]
async fn a_reader_without_a_session_asks_the_route_for_subscriptions() {
    let bench = Bench::new();
    bench.route(&[ChannelAction::Subscribe], presence());
    for (result, expected) in [(pass(None), "admit: ok"), (failure(), "admit: failure")] {
        let note = bench.note("admit");
        let actor = Actor::reader(Duration::from_secs(1));
        bench.service.admit(&CHANNEL.into(), actor, move |done| note(said(done)));
        let call = bench.end(0, result);
        assert_eq!((call.trigger.session, call.origin), (None, Origin::Client));
        bench.until_done(&[expected]).await;
        until("the end of the line", || !bench.service.is_busy(CHANNEL)).await;
    }
}

#[tokio::test]
async fn a_list_of_members_has_a_bound_of_members_and_of_bytes() {
    let bench = Bench::new();
    bench.rule(CHANNEL, ChannelRule::Open(presence()));
    let mut clients = Vec::new();
    let mut bytes = 0;
    for index in 0..3 {
        let (session, _) = bench.client();
        let info = format!("\"{}\"", "x".repeat(998 + index));
        bytes += (session.id.len() + info.len() + 32) as u64;
        bench.subscribe("subscribe", &session, Payload::Text(info));
        clients.push(session);
    }
    let list = |most: &ListSize| {
        at_once(bench.service.members(&CHANNEL.into(), *most, &Actor::operator())).map(|list| list.len())
    };
    let json = |most: &ListSize| at_once(bench.service.members_as_json(&CHANNEL.into(), *most, &Actor::operator()));
    let exact = ListSize { members: 3, bytes };
    assert_eq!((list(&LONGEST_LIST), list(&exact)), (Ok(3), Ok(3)));
    let written = json(&exact).unwrap();
    assert!(Arc::ptr_eq(&written, &json(&exact).unwrap()), "the list is written once");
    let written: Vec<serde_json::Value> = serde_json::from_str(&written).unwrap();
    let ids: Vec<&str> = written.iter().map(|member| member["id"].as_str().unwrap()).collect();
    let expected: Vec<&str> = clients.iter().map(|session| crate::call::session::client_id(&session.id)).collect();
    assert_eq!(ids, expected, "in the order in which they connected");
    for most in [ListSize { members: 2, ..exact }, ListSize { bytes: bytes - 1, ..exact }] {
        let expected = CallError::Overloaded(format!(
            "room has 3 members of {bytes} bytes, and a list has at most {} of {} bytes: use their number, or let them \
             say less about themselves",
            most.members, most.bytes
        ));
        assert_eq!((list(&most), json(&most)), (Err(expected.clone()), Err(expected)));
    }
    // Each change of the members is in the next list.
    bench.subscribe("again", &clients[0], Payload::Text("2".to_owned()));
    assert_eq!(list(&ListSize { bytes: bytes - 999, ..exact }), Ok(3));
    assert!(json(&exact).unwrap().contains("\"info\":2}"));
    bench.service.kick_out(&CHANNEL.into(), &clients[0].id, "go", Actor::operator()).unwrap();
    assert!(!json(&exact).unwrap().contains("\"info\":2}"));
    assert_eq!(list(&ListSize { members: 2, bytes: bytes - 1_000 }), Ok(2));
}
