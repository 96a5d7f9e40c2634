//! Sessions: users, groups, values, and messages to them.

use super::*;
use crate::call::ChangeError;
use crate::call::{Recipient, WhenTaken};
use crate::hub::sessions::{Claims, Sent};

/// A node with one worker, whose clients exist only in memory.
struct Node {
    sessions: Arc<Sessions>,
    bench: Bench,
}

impl Node {
    fn new() -> Node {
        let bench = Bench::with(|setup| {
            setup.streams = session_settings().topics;
            setup.workers = 1;
        });
        Node { sessions: sessions(&bench, 32), bench }
    }

    fn open(&self) -> (Arc<Session>, Reader) {
        let (session, place) = self.sessions.open(new_session(0), 100).unwrap();
        let reader = Reader::default();
        self.bench.topics.attach(place, 0, None, Box::new(MemoryClient(reader.clone())));
        (session, reader)
    }

    fn send(&mut self, to: Recipient) -> (u32, bool) {
        let Sent { reached, is_unknown } = self.sessions.send(&to, text("x"));
        self.bench.run();
        (reached, is_unknown)
    }
}

fn sessions(bench: &Bench, max_values: u64) -> Arc<Sessions> {
    let channels = Channels::new(1, 10, 10, 100, bench.topics.namespace.clone(), Arc::new(()));
    Arc::new(Sessions::new(bench.topics.clone(), "n", max_values, channels))
}

fn new_session(worker: u32) -> NewSession {
    NewSession { worker, peer: Ipv4Addr::LOCALHOST.into(), protocol: "plain".into(), socket: None }
}

fn got(reader: &Reader) -> usize {
    reader.received().matches("x ").count()
}

fn pair(name: &str, text: &str) -> (String, String) {
    (name.to_owned(), text.to_owned())
}

#[test]
fn an_id_has_the_node_and_twenty_random_characters() {
    let node = Node::new();
    let (one, other) = (node.open().0, node.open().0);
    for session in [&one, &other] {
        let (of, id) = session.id.split_once('/').unwrap();
        assert!(of == "n" && id.len() == 20 && id.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)));
        assert_eq!(node.sessions.get(&session.id).unwrap().id, session.id);
    }
    assert_ne!(one.id, other.id);
    let info = one.info();
    assert_eq!((info.worker, info.ip.as_str(), info.protocol.as_str(), info.uid), (0, "127.0.0.1", "plain", None));
}

#[test]
fn claims_last_until_their_token_expires() {
    let node = Node::new();
    let session = node.open().0;
    let claims = |expires| Some(Claims { text: "{}".to_owned(), expires });
    session.set_claims(claims(Some(5)));
    assert!(!session.expire_claims(4) && session.info().claims.as_deref() == Some("{}"));
    assert!(session.expire_claims(5) && !session.has_claims() && !session.expire_claims(6));
    session.set_claims(claims(None));
    assert!(!session.expire_claims(u64::MAX) && session.has_claims());
    session.set_claims(None);
    assert!(session.info().claims.is_none());
}

#[test]
fn clients_beyond_the_maximum_are_rejected() {
    let node = Node::new();
    let _one = node.open();
    assert_eq!(node.sessions.open(new_session(0), 1).err(), Some(HubError::Full { max: 1 }));
    assert_eq!(node.sessions.count(), (1, 0));
}

#[test]
fn a_taken_user_is_refused_shared_or_replaced() {
    let mut node = Node::new();
    let ((one, reads_one), (two, reads_two)) = (node.open(), node.open());
    node.bench.run();
    let bind = |node: &Node, session, taken| node.sessions.bind(session, "ada", taken);
    assert_eq!(bind(&node, &one, WhenTaken::Refuse), Ok(()));
    assert_eq!(bind(&node, &one, WhenTaken::Refuse), Ok(()), "it is its own");
    assert_eq!(bind(&node, &two, WhenTaken::Refuse), Err(BindError::Taken));
    assert_eq!((node.sessions.count(), two.info().uid), ((2, 1), None));
    assert_eq!(bind(&node, &two, WhenTaken::Share), Ok(()));
    assert_eq!((node.sessions.count(), node.sessions.find("ada").len()), ((2, 2), 2));
    assert_eq!(node.send(Recipient::Uid("ada".into())), (2, false));
    assert_eq!((got(&reads_one), got(&reads_two)), (1, 1));
    assert_eq!(bind(&node, &two, WhenTaken::Replace), Ok(()));
    node.bench.run();
    assert_eq!((one.ending().unwrap().code, reads_one.ended(), reads_two.is_open()), (4010, true, true));
    assert_eq!((node.sessions.count().1, node.sessions.find("ada")[0].id == two.id), (1, true));
    assert_eq!((one.info().uid, two.info().uid.as_deref()), (None, Some("ada")));
}

#[test]
fn a_session_that_is_bound_again_leaves_its_previous_user() {
    let node = Node::new();
    let session = node.open().0;
    node.sessions.bind(&session, "ada", WhenTaken::Refuse).unwrap();
    node.sessions.bind(&session, "bob", WhenTaken::Replace).unwrap();
    assert!(node.sessions.find("ada").is_empty() && session.ending().is_none());
    assert_eq!((session.info().uid.as_deref(), node.sessions.count()), (Some("bob"), (1, 1)));
    node.sessions.unbind(&session);
    node.sessions.unbind(&session);
    assert_eq!((session.info().uid, node.sessions.count()), (None, (1, 0)));
}

#[test]
fn values_are_changed_all_or_not_at_all_and_have_a_size() {
    let node = Node::new();
    let session = node.open().0;
    node.sessions.change(&session, vec![pair("b", "2"), pair("a", "1")], &[]).unwrap();
    assert_eq!(session.values(), [pair("a", "1"), pair("b", "2")]);
    let over = vec![pair("a", "3"), pair("c", &"x".repeat(28))];
    let error = node.sessions.change(&session, over, &[]).unwrap_err();
    assert_eq!((error, session.get("a").as_deref()), (ChangeError::TooLarge { bytes: 33, max: 32 }, Some("1")));
    assert_eq!(node.sessions.refused_values.load(std::sync::atomic::Ordering::Relaxed), 1);
    let exact = vec![pair("a", "3"), pair("c", &"x".repeat(27))];
    node.sessions.change(&session, exact, &[]).unwrap();
    node.sessions.change(&session, vec![pair("a", "4")], &["c".into(), "none".into()]).unwrap();
    assert_eq!(session.values(), [pair("a", "4"), pair("b", "2")]);
    assert_eq!(session.get("c"), None);
}

#[test]
fn a_session_has_a_largest_number_of_values() {
    let node = Node::new();
    let sessions = sessions(&node.bench, 1 << 20);
    let session = node.open().0;
    let values = |names: std::ops::Range<usize>| names.map(|name| pair(&name.to_string(), "1")).collect::<Vec<_>>();
    sessions.change(&session, values(0..1_024), &[]).unwrap();
    sessions.change(&session, values(0..1_024), &[]).unwrap();
    let error = sessions.change(&session, values(1_023..1_025), &[]).unwrap_err();
    assert_eq!((error, session.values().len()), (ChangeError::TooMany { count: 1_025 }, 1_024));
    sessions.change(&session, values(1_024..1_025), &["0".to_owned(), "none".to_owned()]).unwrap();
    assert_eq!((session.values().len(), session.get("0"), session.get("1024").as_deref()), (1_024, None, Some("1")));
}

#[test]
fn groups_have_members_until_they_leave_or_end() {
    let mut node = Node::new();
    let ((one, reads_one), (two, reads_two)) = (node.open(), node.open());
    node.bench.run();
    assert_eq!(node.sessions.join(&one, "g"), Ok(true));
    assert_eq!((node.sessions.join(&one, "g"), node.sessions.join(&two, "g")), (Ok(false), Ok(true)));
    assert_eq!((node.sessions.members("g").len(), node.sessions.groups()), (2, 1));
    assert_eq!(node.send(Recipient::Group("g".into())), (2, false));
    assert!(node.sessions.leave(&one, "g") && !node.sessions.leave(&one, "g"));
    assert_eq!(node.send(Recipient::Group("g".into())), (1, false));
    assert_eq!((got(&reads_one), got(&reads_two)), (1, 2));
    drop(node.sessions.end(&two).unwrap());
    assert_eq!((node.sessions.members("g").len(), node.sessions.groups()), (0, 0));
    assert_eq!(node.send(Recipient::Group("g".into())), (0, true));
}

#[test]
fn a_message_to_a_group_counts_once_in_the_inbox_and_its_members_are_cut_when_there_is_no_room() {
    let bench = Bench::with(|setup| {
        setup.streams = session_settings().topics;
        setup.inbox = 10;
    });
    let mut node = Node { sessions: sessions(&bench, 32), bench };
    let open = |node: &Node, worker| {
        let (session, place) = node.sessions.open(new_session(worker), 100).unwrap();
        let reader = Reader::default();
        node.bench.topics.attach(place, worker, None, Box::new(MemoryClient(reader.clone())));
        (session, reader)
    };
    let members: Vec<_> = (0..40).map(|index| open(&node, index % 2)).collect();
    let (_, other) = open(&node, 0);
    members.iter().for_each(|(session, _)| assert_eq!(node.sessions.join(session, "g"), Ok(true)));
    node.bench.run();
    let to_group = |node: &Node, word: &str| node.sessions.send(&Recipient::Group("g".into()), text(word)).reached;
    // Twenty members are in each worker, and two of ten places are left for the others.
    (0..8).for_each(|number| assert_eq!(to_group(&node, &number.to_string()), 40));
    assert_eq!(node.bench.topics.inbox_overflows(), 0);
    node.bench.run();
    let all: String = (0..8).map(|number| format!("{number} ")).collect();
    assert!(members.iter().all(|(_, reader)| reader.received() == format!("open:- {all}")));
    (0..10).for_each(|_| _ = to_group(&node, "x"));
    assert_eq!(node.bench.topics.inbox_overflows(), 2 * 40, "each member has missed two");
    node.bench.publish_all("y");
    node.bench.run();
    assert!(members.iter().all(|(_, reader)| !reader.is_open()));
    assert_eq!((other.received().as_str(), node.bench.slow(SlowReason::Inbox)), ("open:- y ", 40));
    assert_eq!(node.bench.topics.memory().queued(), 0);
}

#[test]
fn a_session_joins_at_most_64_groups() {
    let node = Node::new();
    let session = node.open().0;
    (0..64).for_each(|index| assert_eq!(node.sessions.join(&session, &index.to_string()), Ok(true)));
    assert_eq!(node.sessions.join(&session, "over"), Err(JoinError::TooManyOfSession));
    assert!(node.sessions.leave(&session, "0"));
    assert_eq!(node.sessions.join(&session, "over"), Ok(true));
}

#[test]
fn a_node_has_at_most_100_000_groups() {
    let node = Node::new();
    let before = crate::call::bounds::GROUPS.reached();
    let mut opened: Vec<_> = (0..1_563).map(|_| node.sessions.open(new_session(0), 10_000).unwrap()).collect();
    for group in 0..100_000 {
        let (session, _) = &opened[group / 64];
        assert_eq!(node.sessions.join(session, &group.to_string()), Ok(true));
    }
    let (last, _) = &opened[1_562];
    assert_eq!(node.sessions.join(last, "over"), Err(JoinError::TooMany));
    assert_eq!(node.sessions.join(last, "1"), Ok(true), "a group that there is");
    assert_eq!(crate::call::bounds::GROUPS.reached() - before, 1);
    opened.drain(..).for_each(|(session, _)| drop(node.sessions.end(&session)));
    assert_eq!(node.sessions.groups(), 0);
}

#[test]
fn a_session_ends_once_and_is_found_until_its_end_is_known() {
    let node = Node::new();
    let session = node.open().0;
    node.sessions.bind(&session, "ada", WhenTaken::Share).unwrap();
    let ended = node.sessions.end(&session).unwrap();
    assert!(node.sessions.end(&session).is_none());
    assert_eq!((node.sessions.count(), node.sessions.find("ada").len()), ((0, 0), 0));
    assert_eq!(node.sessions.get(&session.id).unwrap().info().uid.as_deref(), Some("ada"));
    assert_eq!(node.sessions.bind(&session, "ada", WhenTaken::Share), Err(BindError::Ended));
    assert_eq!(node.sessions.join(&session, "g"), Err(JoinError::Ended));
    drop(ended);
    assert!(node.sessions.get(&session.id).is_none());
}

#[test]
fn a_message_reaches_whom_it_is_for_in_one_order_for_each_session() {
    let mut node = Node::new();
    let ((one, reads_one), (two, reads_two)) = (node.open(), node.open());
    node.sessions.bind(&one, "ada", WhenTaken::Share).unwrap();
    node.bench.run();
    let id = |session: &Session| Recipient::Session(session.id.to_string());
    for (to, expected) in [
        (id(&one), (1, false)),
        (Recipient::Session("n/none".into()), (0, true)),
        (Recipient::Uid("ada".into()), (1, false)),
        (Recipient::Uid("bob".into()), (0, true)),
        (Recipient::UidOn("ada".into(), "n".into()), (1, false)),
        (Recipient::UidOn("ada".into(), "other".into()), (0, true)),
        (Recipient::Bound, (1, false)),
        (Recipient::Everyone, (2, false)),
        (Recipient::Other("a".into(), "b".into()), (0, true)),
    ] {
        assert_eq!(node.send(to.clone()), expected, "{to:?}");
    }
    assert_eq!((got(&reads_one), got(&reads_two)), (5, 1));
    for index in 0..20 {
        let to = if index % 2 == 0 { id(&two) } else { Recipient::Everyone };
        node.sessions.send(&to, text(&index.to_string()));
    }
    node.bench.run();
    let expected: String = (0..20).map(|index| format!("{index} ")).collect();
    assert_eq!(reads_two.received(), expected);
    assert_eq!(node.bench.topics.memory().queued(), 0);
}

#[test]
fn a_disconnect_comes_after_what_is_queued_and_its_first_cause_counts() {
    let mut node = Node::new();
    let (session, reader) = node.open();
    node.bench.run();
    node.sessions.send(&Recipient::Session(session.id.to_string()), text("last"));
    node.sessions.disconnect(&session, 4000, "first");
    node.sessions.disconnect(&session, 4001, "second");
    node.sessions.send(&Recipient::Session(session.id.to_string()), text("late"));
    node.bench.run();
    assert_eq!((reader.received().as_str(), reader.ended()), ("open:- last ", true));
    assert_eq!((session.ending().unwrap().code, &*session.ending().unwrap().reason), (4000, "first"));
}

#[test]
fn a_stop_ends_connections_in_batches_and_those_that_wait_for_an_answer_last() {
    let mut node = Node::new();
    let clients: Vec<Reader> = (0..40).map(|_| node.open().1).collect();
    clients[0].change(|wire| wire.is_busy = true);
    node.bench.run();
    node.bench.now += Duration::from_secs(1);
    node.bench.fanouts[0].stop();
    let open = |clients: &[Reader]| clients.iter().filter(|client| client.is_open()).count();
    node.bench.run();
    assert_eq!((open(&clients), clients[0].received().contains("stop")), (38, true));
    for _ in 0..30 {
        assert_eq!(node.bench.fanouts[0].deadline(node.bench.now), Some(node.bench.now + Duration::from_millis(50)));
        node.bench.now += Duration::from_millis(50);
        node.bench.run();
    }
    assert_eq!((open(&clients), clients[0].is_open()), (1, true));
    clients[0].change(|wire| wire.is_busy = false);
    node.bench.now += Duration::from_millis(50);
    node.bench.run();
    assert!(clients[0].ended());
}

#[test]
fn the_last_answer_to_a_client_comes_before_the_end_of_its_connection() {
    let mut node = Node::new();
    let (session, reader) = node.open();
    reader.change(|wire| wire.is_busy = true);
    node.bench.run();
    node.bench.fanouts[0].stop();
    node.bench.run();
    assert!(reader.is_open());
    node.sessions.send(&Recipient::Session(session.id.to_string()), text("answer"));
    reader.change(|wire| wire.is_busy = false);
    node.bench.now += Duration::from_millis(50);
    node.bench.run();
    assert!(reader.ended() && reader.received().ends_with("answer "), "{}", reader.received());
}
