//! The announcements of members.

use super::*;
use crate::call::WhenTaken;

/// The client's part of the id of a session.
fn client_id(session: &Session) -> &str {
    session.id.split_once('/').unwrap().1
}

#[test]
fn members_that_join_and_leave_are_announced() {
    let mut node = Node::new();
    let (_, watches) = node.member("presence/a", 1, &PRESENCE);
    let (one, _) = node.open(0);
    node.sessions.bind(&one, "ada", WhenTaken::Share).unwrap();
    node.channels.subscribe("a", &one, Some(r#"{"x":1}"#.into()), &PRESENCE).unwrap();
    node.channels.subscribe("a", &one, None, &PRESENCE).unwrap();
    let (two, _) = node.member("a", 1, &ChannelSettings { envelope: true, ..PRESENCE });
    node.channels.unsubscribe("a", &one);
    drop(node.sessions.end(&two));
    let (one, two) = (client_id(&one), client_id(&two));
    let member = |id: &str, uid: &str, info: &str| format!(r#""member":{{"id":"{id}","uid":{uid},"info":{info}}}"#);
    let expected = [
        format!(r#"presence/a:{{"action":"join",{},"count":1}} "#, member(one, r#""ada""#, r#"{"x":1}"#)),
        format!(r#"presence/a+:{{"action":"join",{},"count":2}} "#, member(two, "null", "null")),
        format!(r#"presence/a+:{{"action":"leave",{},"count":1}} "#, member(one, r#""ada""#, "null")),
        format!(r#"presence/a+:{{"action":"leave",{},"count":0}} "#, member(two, "null", "null")),
    ];
    assert_eq!(node.got(&watches), expected.concat());
}

#[test]
fn only_channels_with_presence_announce_and_no_announcement_is_announced_or_kept() {
    let mut node = Node::new();
    let (_, watches) = node.member("presence/a", 0, &ChannelSettings { presence: true, ..keeping(10) });
    let (_, watches_watchers) = node.member("presence/presence/a", 0, &PRESENCE);
    let (other, _) = node.member("presence/a", 0, &PRESENCE);
    node.channels.unsubscribe("presence/a", &other);
    node.member("a", 0, &PLAIN);
    assert_eq!((node.got(&watches).as_str(), node.got(&watches_watchers).as_str()), ("", ""));
    node.member("a", 0, &PRESENCE);
    assert_eq!(node.got(&watches).matches(r#"presence/a:{"action":"join""#).count(), 1);
    assert_eq!(node.read("presence/a", None), (String::new(), false));
}

#[test]
fn info_that_is_not_json_is_left_out() {
    let mut node = Node::new();
    let (_, watches) = node.member("presence/a", 0, &PRESENCE);
    let (session, _) = node.open(0);
    node.channels.subscribe("a", &session, Some("}".into()), &PRESENCE).unwrap();
    assert!(node.got(&watches).contains(r#""info":null}"#));
}

#[test]
fn of_many_members_only_the_number_is_announced_once_in_a_second() {
    let mut node = Node::new();
    let (_, watches) = node.member("presence/a", 0, &PRESENCE);
    let mut members: Vec<_> = (0..999).map(|_| node.member("a", 1, &PRESENCE).0).collect();
    let received = node.got(&watches);
    assert_eq!((received.matches(r#""action":"join""#).count(), received.matches("\"count\":999}").count()), (999, 1));
    members.extend((0..100).map(|_| node.member("a", 1, &PRESENCE).0));
    assert_eq!(node.got(&watches), "presence/a:{\"count\":1000} ");
    // The last number follows when the second has passed.
    node.sweep(Duration::ZERO);
    assert_eq!(node.got(&watches), "");
    node.sweep(Duration::from_secs(1));
    assert_eq!(node.got(&watches), "presence/a:{\"count\":1099} ");
    node.sweep(Duration::from_secs(3));
    assert_eq!(node.got(&watches), "", "it has not changed");
    // With fewer members, each one is announced again, and no number follows.
    members.drain(..100).for_each(|session| drop(node.sessions.end(&session)));
    let received = node.got(&watches);
    assert_eq!(received.matches(r#""action":"leave""#).count(), 1, "{received}");
    assert!(received.ends_with("\"count\":999} "), "{received}");
    node.sweep(Duration::from_secs(10));
    assert_eq!(node.got(&watches), "");
}
