//! Messages on their way to the members and listeners.

use super::*;

#[test]
fn members_get_the_messages_of_their_channel_in_order() {
    let mut node = Node::new();
    let (one, reads_one) = node.member("a", 0, &PLAIN);
    let (other, reads_other) = node.member("a", 1, &PLAIN);
    let (_, reads_b) = node.member("b", 0, &PLAIN);
    let (_, reads_none) = node.open(0);
    for index in 0..3 {
        assert_eq!(node.publish("a", &index.to_string(), &PLAIN), None, "it keeps no history");
    }
    assert_eq!(node.got(&reads_one), "a:0 a:1 a:2 ");
    assert_eq!((node.got(&reads_other).as_str(), node.got(&reads_b).as_str()), ("a:0 a:1 a:2 ", ""));
    assert!(node.channels.unsubscribe("a", &one) && !node.channels.unsubscribe("a", &one));
    node.publish("a", "3", &PLAIN);
    assert_eq!((node.got(&reads_one).as_str(), node.got(&reads_other).as_str()), ("", "a:3 "));
    assert!(node.channels.unsubscribe("a", &other) && node.channels.count("a") == 0);
    assert_eq!(node.got(&reads_none), "");
}

#[test]
fn a_list_that_a_waiting_message_has_does_not_change() {
    let mut node = Node::new();
    let (one, reads_one) = node.member("a", 0, &PLAIN);
    node.publish("a", "1", &PLAIN);
    let (two, reads_two) = node.member("a", 0, &PLAIN);
    let (_, reads_three) = node.member("a", 0, &PLAIN);
    node.publish("a", "2", &PLAIN);
    node.channels.unsubscribe("a", &one);
    node.publish("a", "3", &PLAIN);
    node.channels.unsubscribe("a", &two);
    node.publish("a", "4", &PLAIN);
    assert_eq!(node.got(&reads_one), "a:1 a:2 ");
    assert_eq!((node.got(&reads_two).as_str(), node.got(&reads_three).as_str()), ("a:2 a:3 ", "a:2 a:3 a:4 "));
}

#[test]
fn positions_begin_with_1_and_are_only_shown_where_there_is_a_history() {
    let mut node = Node::new();
    let (_, reads) = node.member("a", 0, &keeping(10));
    let numbers: Vec<_> = (0..3).map(|_| node.publish("a", "x", &keeping(10))).collect();
    assert_eq!(numbers, [Some(1), Some(2), Some(3)]);
    assert_eq!(node.publish("a", "y", &PLAIN), None);
    assert_eq!(node.publish("a", "z", &ChannelSettings { envelope: true, ..keeping(1) }), Some(5));
    assert_eq!(node.got(&reads), "a:x@1 a:x@2 a:x@3 a:y a+:z@5 ");
}

#[test]
fn a_full_inbox_cuts_the_members_of_its_worker_only() {
    let mut node = Node::with(|limited| limited.inbox = 50);
    let (_, reads_one) = node.member("burst", 0, &PLAIN);
    let (_, reads_two) = node.member("burst", 0, &PLAIN);
    let (_, reads_elsewhere) = node.member("burst", 1, &PLAIN);
    let (_, reads_other) = node.member("other", 0, &PLAIN);
    node.bench.run();
    // A channel may use four fifths of an inbox.
    (0..40).for_each(|_| _ = node.publish("burst", "x", &PLAIN));
    assert_eq!(node.bench.topics.inbox_overflows(), 0);
    node.bench.turn(1);
    (0..40).for_each(|_| _ = node.publish("burst", "x", &PLAIN));
    assert_eq!(node.bench.topics.inbox_overflows(), 2, "each member is told once");
    node.publish("other", "y", &PLAIN);
    assert_eq!(node.got(&reads_other), "other:y ");
    assert_eq!(node.got(&reads_elsewhere).matches("burst:x").count(), 80);
    assert!(!reads_one.is_open() && !reads_two.is_open() && reads_other.is_open() && reads_elsewhere.is_open());
    assert_eq!(node.bench.slow(SlowReason::Inbox), 2);
}

#[test]
fn members_that_join_after_a_cut_are_cut_by_the_next_one() {
    let mut node = Node::with(|limited| limited.inbox = 5);
    let (_, reads_one) = node.member("a", 0, &PLAIN);
    node.bench.run();
    (0..10).for_each(|_| _ = node.publish("a", "x", &PLAIN));
    let (_, reads_two) = node.member("a", 0, &PLAIN);
    (0..10).for_each(|_| _ = node.publish("a", "x", &PLAIN));
    node.bench.run();
    assert!(!reads_one.is_open() && !reads_two.is_open());
}

#[test]
fn channels_have_shares_of_an_inbox_of_their_own() {
    let mut node = Node::with(|limited| limited.inbox = 100);
    let names: Vec<String> = (0..20).map(|index| index.to_string()).collect();
    let bursts: Vec<_> = names.iter().map(|name| node.member(name, 0, &PLAIN)).collect();
    let (_, reads) = node.member("other", 0, &PLAIN);
    node.bench.run();
    for _ in 0..1_000 {
        names.iter().for_each(|name| _ = node.publish(name, "x", &PLAIN));
    }
    node.publish("other", "y", &PLAIN);
    assert_eq!(node.got(&reads), "other:y ");
    assert!(bursts.iter().all(|(_, reads)| !reads.is_open()));
}

#[test]
fn a_list_of_members_counts_once_in_an_inbox() {
    let members = 40;
    let message = FRAME + 64 + 1 + 2;
    // Room for one list and 8 messages, as a channel has four fifths.
    let node = Node::with(|limited| limited.hub.queued = members * 8 + 12 * message);
    for _ in 0..members {
        node.member("a", 0, &PLAIN);
    }
    (0..8).for_each(|_| _ = node.publish("a", "x", &PLAIN));
    assert_eq!(node.bench.topics.inbox_overflows(), 0);
    // Messages whose lists differ count one list each.
    let node = Node::with(|limited| limited.hub.queued = members * 8 + 12 * message);
    for _ in 0..members {
        node.member("a", 0, &PLAIN);
    }
    for _ in 0..8 {
        node.member("a", 0, &PLAIN);
        node.publish("a", "x", &PLAIN);
    }
    assert!(node.bench.topics.inbox_overflows() > 0);
}

#[test]
fn a_placed_message_goes_to_each_member_as_it_is_delivered() {
    let mut node = Node::new();
    let (one, reads_one) = node.member("a", 0, &keeping(10));
    let (two, reads_two) = node.member("a", 1, &keeping(10));
    let (three, reads_three) = node.member("a", 0, &keeping(10));
    let settings = keeping(10);
    let message = Published { payload: "x".into(), session: Some(one.id.clone()), settings: &settings };
    let placed = node.channels.place("a", message).unwrap();
    assert_eq!((placed.position.unwrap().offset, placed.payload()), (1, Some(&"x".into())));
    let mut asked: Vec<_> = placed.members.iter().map(|session| session.id.clone()).collect();
    asked.sort();
    let mut all = [&one, &two, &three].map(|session| session.id.clone());
    all.sort();
    assert_eq!(asked, all);
    node.channels.deliver(&one, &placed, None);
    node.channels.deliver(&two, &placed, Some("for two".into()));
    node.channels.unsubscribe("a", &three);
    node.channels.deliver(&three, &placed, None);
    assert_eq!((node.got(&reads_one).as_str(), node.got(&reads_two).as_str()), ("a:x@1 ", "a:for two@1 "));
    assert_eq!(node.got(&reads_three), "", "it has left meanwhile");
    let page = node.history("a", None).unwrap();
    assert_eq!((texts(&page).as_str(), page.messages[0].session.as_ref()), ("x@1 ", Some(&one.id)));
    let nobody = node.channels.place("b", Published { payload: "x".into(), session: None, settings: &PLAIN }).unwrap();
    assert!(nobody.members.is_empty() && nobody.position.is_none() && nobody.payload().is_none());
}

/// Notes what it is told.
#[derive(Default)]
struct Noted(Mutex<Vec<String>>);

impl ChannelListener for Noted {
    fn message(&self, channel: &Arc<str>, message: &ChannelMessage, position: Option<ChannelPosition>) {
        let at = position.map(|at| at.to_string());
        self.0.lock().push(format!("{channel} {} {} {at:?}", message.payload.to_text(), message.offset));
    }
}

#[test]
fn a_listener_gets_every_message_until_it_is_dropped() {
    let node = Node::new();
    let (noted, dropped) = (Arc::new(Noted::default()), Arc::new(Noted::default()));
    let listening = node.channels.listen("a", noted.clone()).unwrap();
    drop(node.channels.listen("a", dropped.clone()).unwrap());
    assert_eq!(Arc::strong_count(&dropped), 1);
    node.publish("a", "1", &PLAIN);
    node.publish("b", "2", &PLAIN);
    node.publish("a", "3", &keeping(1));
    node.channels.place("a", Published { payload: "4".into(), session: None, settings: &keeping(1) }).unwrap();
    assert_eq!(*noted.0.lock(), ["a 1 1 None", "a 3 2 Some(\"100-2\")", "a 4 3 Some(\"100-3\")"]);
    assert_eq!(node.publish("a", "5", &PLAIN), None);
    assert_eq!(node.channels.totals().channels, 1, "it keeps the channel");
    drop(listening);
    assert_eq!((node.channels.totals().channels, Arc::strong_count(&noted)), (0, 1));
    node.publish("a", "6", &PLAIN);
    assert_eq!(noted.0.lock().len(), 4);
}

/// Notes whether a lock is held while it is woken.
struct Free {
    namespace: Arc<Namespace>,
    wakes: Mutex<Vec<bool>>,
}

impl std::task::Wake for Free {
    fn wake(self: Arc<Self>) {
        // A publisher that holds the lock of a channel shares this one.
        self.wakes.lock().push(self.namespace.order.try_write().is_some());
    }
}

#[test]
fn no_lock_is_held_while_a_fan_out_is_woken() {
    let mut node = Node::with(|limited| (limited.workers, limited.inbox) = (1, 5));
    let (member, _) = node.member("a", 0, &PRESENCE);
    node.member("presence/a", 0, &PRESENCE);
    let free = Arc::new(Free { namespace: node.bench.topics.namespace.clone(), wakes: Mutex::default() });
    let waker = Waker::from(free.clone());
    let sleep = |node: &mut Node| {
        let (mut cx, now) = (Context::from_waker(&waker), node.bench.now);
        while node.bench.fanouts[0].poll(&mut cx, now).is_ready() {}
    };
    sleep(&mut node);
    node.publish("a", "x", &PRESENCE);
    sleep(&mut node);
    let placed =
        node.channels.place("a", Published { payload: "x".into(), session: None, settings: &PRESENCE }).unwrap();
    node.channels.deliver(&member, &placed, None);
    sleep(&mut node);
    let (other, _) = node.open(0);
    sleep(&mut node);
    node.channels.subscribe("a", &other, None, &PRESENCE).unwrap();
    sleep(&mut node);
    node.channels.unsubscribe("a", &other);
    sleep(&mut node);
    (0..10).for_each(|_| _ = node.publish("a", "x", &PRESENCE));
    assert_eq!(*free.wakes.lock(), [true; 6]);
}
