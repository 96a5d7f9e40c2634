//! Who is subscribed.

use super::*;
use crate::call::WhenTaken;
use crate::call::channel::ListSize;

#[test]
fn a_session_that_is_subscribed_again_only_has_other_info() {
    let mut node = Node::new();
    let (session, reads) = node.open(0);
    let subscribe = |info: &str| node.channels.subscribe("a", &session, Some(info.into()), &PLAIN);
    assert_eq!((subscribe("1"), subscribe("2")), (Ok(true), Ok(false)));
    let members = node.channels.members("a", &ListSize::ANY).unwrap();
    assert_eq!((members.len(), members[0].info.as_deref(), &members[0].session), (1, Some("2"), &session.id));
    node.publish("a", "x", &PLAIN);
    assert_eq!((node.got(&reads).as_str(), node.channels.totals().subscriptions), ("a:x ", 1));
}

#[test]
fn a_member_has_the_user_of_its_subscription() {
    let node = Node::new();
    let (early, late) = (node.open(0).0, node.open(0).0);
    node.sessions.bind(&early, "ada", WhenTaken::Refuse).unwrap();
    for session in [&early, &late] {
        node.channels.subscribe("a", session, None, &PLAIN).unwrap();
    }
    node.sessions.bind(&late, "bob", WhenTaken::Refuse).unwrap();
    let uid_of = |session: &Session| {
        let members = node.channels.members("a", &ListSize::ANY).unwrap();
        members.into_iter().find(|member| member.session == session.id).unwrap().uid
    };
    assert_eq!((uid_of(&early).as_deref(), uid_of(&late)), (Some("ada"), None));
}

#[test]
fn a_session_has_a_maximum_of_channels() {
    let node = Node::with(|limited| limited.channels_of_session = 2);
    let (session, _) = node.member("b", 0, &PLAIN);
    assert_eq!(node.channels.subscribe("a", &session, None, &PLAIN), Ok(true));
    let refused = node.channels.subscribe("c", &session, None, &PLAIN);
    assert_eq!(refused, Err(ChannelError::SessionFull { max: 2 }));
    assert_eq!(node.channels.subscribe("a", &session, None, &PLAIN), Ok(false), "it needs no more room");
    assert_eq!(
        (node.channels.of_session(&session), node.channels.totals().channels),
        (vec!["a".into(), "b".into()], 2)
    );
    node.channels.unsubscribe("b", &session);
    assert_eq!(node.channels.subscribe("c", &session, None, &PLAIN), Ok(true));
}

#[test]
fn the_sessions_of_a_node_have_a_maximum_of_subscriptions() {
    let node = Node::with(|limited| limited.subscriptions = 3);
    let ((one, _), (other, _)) = (node.member("a", 0, &PLAIN), node.member("a", 1, &PLAIN));
    let subscribe = |session, channel| node.channels.subscribe(channel, session, None, &PLAIN);
    assert_eq!(subscribe(&one, "b"), Ok(true));
    assert_eq!(subscribe(&other, "b"), Err(ChannelError::TooManySubscriptions { max: 3 }));
    assert_eq!(subscribe(&other, "a"), Ok(false), "it needs no more room");
    drop(node.sessions.end(&one));
    assert_eq!((subscribe(&other, "b"), subscribe(&other, "c")), (Ok(true), Ok(true)));
    assert_eq!(node.channels.totals().subscriptions, 3);
}

#[test]
fn a_subscription_that_a_session_cannot_have_changes_no_channel() {
    let node = Node::with(|limited| (limited.hub.topics, limited.channels_of_session) = (2, 1));
    node.publish("kept", "x", &keeping(1));
    let (session, _) = node.member("a", 0, &PLAIN);
    for name in ["b", "kept"] {
        let refused = node.channels.subscribe(name, &session, None, &PLAIN);
        assert_eq!(refused, Err(ChannelError::SessionFull { max: 1 }));
    }
    drop(node.sessions.end(&session));
    let (_other, _) = node.member("a", 0, &PLAIN);
    assert_eq!(node.channels.subscribe("b", &session, None, &PLAIN), Err(ChannelError::Ended));
    assert_eq!(node.read("kept", None), ("x@1 ".into(), true));
    assert_eq!(node.channels.totals().evicted, 0);
}

#[test]
fn what_a_session_says_about_itself_is_bounded_in_all_channels_together() {
    let node = Node::with(|limited| limited.channels_of_session = 100);
    let (session, _) = node.open(0);
    let say = |channel: &str, bytes: usize| {
        let info = (bytes > 0).then(|| "1".repeat(bytes).into());
        node.channels.subscribe(channel, &session, info, &PRESENCE)
    };
    for index in 0..16 {
        assert_eq!(say(&index.to_string(), 4_096), Ok(true));
    }
    assert_eq!(say("over", 1), Err(ChannelError::TooMuchInfo { bytes: 65_537 }));
    assert_eq!(say("silent", 0), Ok(true));
    assert_eq!(say("0", 4_097), Err(ChannelError::TooMuchInfo { bytes: 65_537 }));
    // What replaces something counts in its place, and a channel that the session leaves does not.
    assert_eq!((say("0", 4_000), say("over", 96)), (Ok(false), Ok(true)));
    assert!(say("more", 1).is_err());
    node.channels.unsubscribe("1", &session);
    assert_eq!(say("more", 4_096), Ok(true));
}

#[test]
fn a_session_that_has_ended_is_no_member() {
    let node = Node::new();
    let left = Arc::new(Mutex::new(Vec::new()));
    let told = left.clone();
    node.channels.on_leave(Box::new(move |session, channels| told.lock().push((session.id.clone(), channels))));
    let (session, _) = node.member("a", 0, &PLAIN);
    node.channels.subscribe("b", &session, None, &keeping(1)).unwrap();
    node.publish("b", "x", &keeping(1));
    let (other, _) = node.member("a", 0, &PLAIN);
    assert!(node.channels.is_subscribed("a", &session) && node.channels.is_subscribed("a", &other));
    drop(node.sessions.end(&session));
    assert!(!node.channels.is_subscribed("a", &session) && node.channels.of_session(&session).is_empty());
    assert_eq!((node.channels.count("a"), node.channels.count("b")), (1, 0));
    assert_eq!(node.channels.subscribe("a", &session, None, &PLAIN), Err(ChannelError::Ended));
    assert_eq!(node.channels.subscribe("c", &session, None, &PLAIN), Err(ChannelError::Ended));
    assert_eq!(*left.lock(), [(session.id.clone(), vec!["a".into(), "b".into()])]);
    drop(node.sessions.end(&node.open(0).0));
    assert_eq!(left.lock().len(), 1, "it has left no channel");
    let totals = node.channels.totals();
    assert_eq!((totals.channels, totals.subscriptions), (2, 1), "b has a history, and c nothing");
}

#[test]
fn a_channel_that_nobody_uses_is_dropped() {
    let node = Node::new();
    let (session, _) = node.member("a", 0, &PLAIN);
    let name = |info: &ChannelInfo| (info.name.to_string(), info.members, info.kept);
    node.publish("kept", "x", &keeping(2));
    node.publish("none", "x", &PLAIN);
    let mut list: Vec<_> = node.channels.list(10).iter().map(name).collect();
    list.sort();
    assert_eq!(list, [("a".to_owned(), 1, 0), ("kept".to_owned(), 0, 1)]);
    assert_eq!(node.channels.list(1).len(), 1);
    node.channels.unsubscribe("a", &session);
    assert_eq!((node.channels.list(10).len(), node.channels.totals().published), (1, 2));
}

#[test]
fn channels_without_members_make_room_for_others() {
    let node = Node::with(|limited| limited.hub.topics = 2);
    node.publish("old", "x", &keeping(1));
    let (session, _) = node.member("a", 0, &PLAIN);
    assert_eq!(node.channels.subscribe("b", &session, None, &PLAIN), Ok(true));
    assert!(node.history("old", None).is_none());
    let full = Err(ChannelError::TooMany { max: 2 });
    assert_eq!(node.channels.subscribe("c", &session, None, &PLAIN), full);
    assert!(!node.channels.is_subscribed("c", &session));
    // A message makes no room. It is refused, because its place would be lost.
    for settings in [&keeping(1), &PLAIN] {
        let message = || Published { payload: "x".into(), session: None, settings };
        let expected = if settings.count > 0 { Err(ChannelError::TooMany { max: 2 }) } else { Ok(None) };
        assert_eq!(node.channels.publish("d", message()), expected);
        assert_eq!(node.channels.place("d", message()).map(|placed| placed.position), expected);
    }
    assert_eq!(node.channels.subscribe("a", &session, None, &PLAIN), Ok(false));
    let totals = node.channels.totals();
    assert_eq!((totals.channels, totals.evicted, totals.refused), (2, 1, 3));
    node.channels.unsubscribe("b", &session);
    assert_eq!(node.channels.subscribe("c", &session, None, &PLAIN), Ok(true));
}

#[test]
fn a_subscription_looks_at_a_bounded_number_of_channels_to_make_room() {
    const ALL: u32 = 6_000;
    let node = Node::with(|limited| (limited.hub.topics, limited.channels_of_session) = (ALL, ALL));
    let (session, _) = node.open(0);
    for index in 0..ALL {
        node.channels.subscribe(&index.to_string(), &session, None, &PLAIN).unwrap();
    }
    let (other, _) = node.open(0);
    let subscribe = || node.channels.subscribe("new", &other, None, &PLAIN);
    // A thread that looks at these waits for the test.
    let map = &node.channels.map;
    let last: Vec<_> = (map.shards.capacity.shards() * 3 / 4..map.shards.capacity.shards())
        .flat_map(|shard| map.all_of(shard))
        .collect();
    let locked: Vec<_> = last.iter().map(|channel| channel.state.lock()).collect();
    let (done, ended) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(|| done.send(subscribe()).unwrap());
        let outcome = ended.recv_timeout(Duration::from_secs(10));
        drop(locked);
        assert_eq!(outcome, Ok(Err(ChannelError::TooMany { max: ALL })), "it has looked at a channel with members");
    });
    // The only channel without members is found, wherever it is.
    node.channels.unsubscribe("1", &session);
    node.publish("1", "x", &keeping(1));
    assert_eq!(subscribe(), Ok(true));
}

#[test]
fn the_channel_with_the_oldest_message_makes_room() {
    let node = Node::with(|limited| limited.hub.topics = 3);
    let old = Instant::now();
    for name in ["a", "b", "c"] {
        node.publish(name, "x", &keeping(1));
        // The times of messages have a precision of one millisecond.
        while node.history(name, None).unwrap().messages[0].at == now_ms() {
            std::hint::spin_loop();
        }
    }
    node.publish("a", "y", &keeping(1));
    node.member("d", 0, &PLAIN);
    assert!(node.history("b", None).is_none() && node.history("a", None).is_some(), "{:?}", old.elapsed());
}

fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(since.as_millis()).unwrap()
}
