//! What channels keep, and what a client that returns learns.

use super::*;

/// A namespace of stream keys that shares the memory of the channels.
fn streams(node: &Node) -> Topics {
    let namespace = &node.bench.topics.namespace;
    let inboxes = Inboxes { own: namespace.inboxes.own.clone(), all: namespace.inboxes.all.clone() };
    let mut settings = TopicSettings::new(&SseConfig::default(), Duration::from_secs(60));
    settings.history = HistoryLimits { count: 10_000, bytes: u64::MAX, ..settings.history };
    Topics::new(Namespace::new(epoch(), 100, settings, inboxes, namespace.memory.clone(), Arc::default()))
}

#[test]
fn a_client_that_returns_gets_what_it_has_missed() {
    let node = Node::new();
    for index in 1..=5 {
        assert_eq!(node.publish("a", &index.to_string(), &keeping(3)), Some(index));
    }
    let page = node.history("a", Some((EPOCH, 3))).unwrap();
    assert_eq!((texts(&page).as_str(), page.latest, page.epoch, page.complete), ("4@4 5@5 ", 5, EPOCH, true));
    assert!(page.messages[0].at <= page.messages[1].at && page.messages[0].at > 1_700_000_000_000);
    assert_eq!(node.read("a", Some((EPOCH, 2))), ("3@3 4@4 5@5 ".into(), true));
    assert_eq!(node.read("a", Some((EPOCH, 5))), (String::new(), true));
    // Its first message was dropped.
    assert_eq!(node.read("a", Some((EPOCH, 1))), ("3@3 4@4 5@5 ".into(), false));
    // Positions that this channel never had.
    assert_eq!(node.read("a", Some((EPOCH, 6))), ("3@3 4@4 5@5 ".into(), false));
    assert_eq!(node.read("a", Some((EPOCH - 1, 5))), ("3@3 4@4 5@5 ".into(), false));
    assert!(node.history("b", Some((EPOCH, 1))).is_none());
}

#[test]
fn without_a_position_a_page_has_the_newest_messages() {
    let node = Node::new();
    for index in 1..=3 {
        node.publish("a", &index.to_string(), &keeping(3));
    }
    assert_eq!(node.read("a", None), ("1@1 2@2 3@3 ".into(), true));
    node.publish("a", "4", &keeping(3));
    assert_eq!(node.read("a", None), ("2@2 3@3 4@4 ".into(), false));
    let page = node.channels.history("a", None, 2, u64::MAX).unwrap();
    assert_eq!((texts(&page).as_str(), page.complete), ("3@3 4@4 ", false));
    let (session, _) = node.member("new", 0, &keeping(3));
    assert_eq!(node.read("new", None), (String::new(), true));
    node.channels.unsubscribe("new", &session);
}

#[test]
fn a_page_has_limits_but_at_least_one_message() {
    let node = Node::new();
    for index in 1..=4 {
        node.publish("a", &index.to_string().repeat(1_000), &keeping(10));
    }
    let page = |after: Option<u64>, most, bytes| {
        let after = after.map(|offset| ChannelPosition { epoch: EPOCH, offset });
        let page = node.channels.history("a", after, most, bytes).unwrap();
        (page.messages.iter().map(|message| message.offset).collect::<Vec<_>>(), page.complete, page.latest)
    };
    assert_eq!(page(Some(1), 2, u64::MAX), (vec![2, 3], true, 4), "the rest follows after 3");
    assert_eq!(page(Some(1), 10, 0), (vec![2], true, 4));
    assert_eq!(page(Some(1), 10, 5_000), (vec![2, 3], true, 4));
    assert_eq!(page(None, 10, 0), (vec![4], false, 4));
    assert_eq!(page(None, 10, 5_000), (vec![3, 4], false, 4));
    assert_eq!(page(Some(1), 0, u64::MAX), (vec![], true, 4));
}

#[test]
fn a_channel_that_comes_back_has_another_epoch() {
    let node = Node::new();
    let (session, _) = node.member("a", 0, &PLAIN);
    node.publish("a", "1", &PLAIN);
    node.channels.unsubscribe("a", &session);
    assert!(node.history("a", Some((EPOCH, 1))).is_none());
    assert_eq!(node.publish("a", "2", &keeping(3)), Some(1));
    let page = node.history("a", Some((EPOCH, 1))).unwrap();
    assert_eq!((page.epoch, texts(&page).as_str(), page.complete), (EPOCH + 1, "2@1 ", false));
}

#[test]
fn messages_become_too_old() {
    let mut node = Node::new();
    let aged = ChannelSettings { age: Duration::from_secs(60), ..keeping(10) };
    let (session, reads) = node.member("a", 0, &aged);
    node.publish("a", "1", &aged);
    node.publish("b", "1", &aged);
    node.sweep(Duration::from_secs(59));
    assert_eq!(node.read("a", None).0, "1@1 ");
    node.sweep(Duration::from_secs(61));
    // The members keep the channel and its order.
    assert_eq!(node.read("a", Some((EPOCH, 0))), (String::new(), false));
    assert_eq!(node.read("a", Some((EPOCH, 1))), (String::new(), true));
    assert!(node.history("b", None).is_none());
    assert_eq!(node.publish("a", "2", &aged), Some(2));
    assert_eq!(node.got(&reads), "a:1@1 a:2@2 ");
    node.channels.unsubscribe("a", &session);
    node.sweep(Duration::from_secs(122));
    assert_eq!((node.channels.totals().channels, node.bench.topics.memory().history()), (0, 0));
}

#[test]
fn old_messages_are_not_read_before_the_sweep() {
    let node = Node::new();
    let aged = ChannelSettings { age: Duration::ZERO, ..keeping(10) };
    assert_eq!(node.publish("a", "1", &aged), Some(1));
    let published = Instant::now();
    while Instant::now() == published {
        std::hint::spin_loop();
    }
    assert_eq!(node.read("a", None), (String::new(), false));
    assert_eq!(node.read("a", Some((EPOCH, 0))), (String::new(), false));
    // A shorter age has the same effect at once.
    node.publish("b", "1", &keeping(10));
    node.member("b", 0, &aged);
    assert_eq!(node.channels.list(10).iter().map(|info| info.kept).sum::<u32>(), 0);
}

#[test]
fn changed_settings_shrink_the_history_at_once() {
    let node = Node::new();
    for index in 1..=3 {
        node.publish("a", &index.to_string(), &keeping(3));
    }
    let (session, _) = node.member("a", 0, &keeping(2));
    assert_eq!(node.read("a", None).0, "2@2 3@3 ");
    // Without a history, messages have numbers, too.
    assert_eq!(node.publish("a", "4", &PLAIN), None);
    assert_eq!(node.read("a", Some((EPOCH, 3))), (String::new(), false));
    assert_eq!(node.publish("a", "5", &keeping(2)), Some(5));
    assert_eq!(node.read("a", Some((EPOCH, 3))), ("5@5 ".into(), false));
    assert_eq!(node.read("a", Some((EPOCH, 4))), ("5@5 ".into(), true));
    node.channels.unsubscribe("a", &session);
    assert_eq!(node.publish("a", "6", &PLAIN), None);
    assert_eq!(node.channels.totals().channels, 0, "nobody needs it");
    assert_eq!(node.bench.topics.memory().history(), 0);
}

#[test]
fn a_message_beyond_the_bytes_of_a_history_is_not_kept() {
    let node = Node::new();
    let small = ChannelSettings { bytes: 2_000, ..keeping(10) };
    assert_eq!(node.publish("a", "1", &small), Some(1));
    assert_eq!(node.publish("a", &"x".repeat(2_000), &small), Some(2));
    assert_eq!(node.channels.totals().channels, 0);
    let (_, reads) = node.member("a", 0, &small);
    assert_eq!(node.publish("a", &"x".repeat(2_000), &small), Some(1));
    assert_eq!(node.read("a", Some((EPOCH + 1, 0))), (String::new(), false));
    assert_eq!(node.read("a", Some((EPOCH + 1, 1))), (String::new(), true));
    assert!(reads.is_open());
}

#[test]
fn the_largest_history_shrinks_first() {
    let node = Node::with(|limited| limited.hub.history = 1 << 20);
    let streams = streams(&node);
    let payload = "x".repeat(1_000);
    for index in 0..10 {
        node.publish("small", &payload, &keeping(10_000));
        streams.publish("small", sized(&index.to_string(), 1_000), Reach::Node);
    }
    for _ in 0..1_000 {
        node.publish("large", &payload, &keeping(10_000));
    }
    let memory = node.bench.topics.memory();
    assert!(memory.history() <= 1 << 20);
    assert!(node.read("small", Some((EPOCH, 0))).1);
    let large = node.history("large", None).unwrap();
    assert!(large.messages.len() > 300 && large.latest == 1_000 && !large.complete);
    // A stream takes the room of the large channel, and the other way round.
    (0..1_000).for_each(|_| _ = streams.publish("large", sized("x", 1_000), Reach::Node));
    let less = node.history("large", Some((EPOCH + 1, 999))).unwrap();
    assert!(less.complete && memory.history() <= 1 << 20);
    let left = node.history("large", None).unwrap().messages.len();
    assert!(left < large.messages.len() * 2 / 3, "{left} of {}", large.messages.len());
    assert!(node.read("small", Some((EPOCH, 0))).1);
    assert!(node.channels.totals().evicted_messages > 500);
    assert_eq!(node.publish("large", "x", &keeping(10_000)), Some(1_001), "positions continue");
}

#[test]
fn the_largest_history_shrinks_first_after_a_sweep() {
    let node = Node::with(|limited| limited.hub.history = 1 << 20);
    let payload = "x".repeat(1_000);
    (0..1_000).for_each(|_| _ = node.publish("large", &payload, &keeping(10_000)));
    node.sweep(Duration::ZERO);
    (0..20).for_each(|_| _ = node.publish("small", &payload, &keeping(10_000)));
    assert!(node.bench.topics.memory().history() <= 1 << 20);
    assert!(node.read("small", Some((EPOCH + 1, 0))).1);
}

#[test]
fn a_history_that_shrinks_to_nothing_leaves_no_channel() {
    let node = Node::with(|limited| limited.hub.history = 4_000);
    node.publish("a", &"x".repeat(1_000), &keeping(10));
    node.publish("b", &"x".repeat(1_900), &keeping(10));
    let left = node.channels.list(10);
    assert_eq!(left.iter().map(|info| &*info.name).collect::<Vec<_>>(), ["a"]);
    let (_, reads) = node.member("c", 0, &keeping(10));
    node.publish("c", &"x".repeat(1_900), &keeping(10));
    assert_eq!(node.read("c", Some((EPOCH + 2, 0))), (String::new(), false));
    assert!(reads.is_open() && node.bench.topics.memory().history() <= 4_000);
}
