//! Histories: what is kept, what a client that returns gets, and what it is told.

use super::*;
use crate::hub::capacity::SHARDS;
use crate::hub::shards::Place;

#[test]
fn a_client_that_returns_gets_what_it_missed_in_order() {
    let mut bench = Bench::new();
    for message in ["a", "b"] {
        bench.publish("news", message);
    }
    bench.publish("chat", "other");
    bench.publish_all("all");
    bench.publish("news", "c");
    for (number, expected) in [
        (0, "open:0 a@1 b@2 all@4 c@5 "),
        (1, "open:1 b@2 all@4 c@5 "),
        (3, "open:3 all@4 c@5 "),
        (4, "open:4 c@5 "),
        (5, "open:5 "),
    ] {
        let reader = bench.resume_after("news", number);
        bench.run();
        assert_eq!(reader.received(), expected);
    }
    let fresh = bench.open("news", 0);
    bench.run();
    assert_eq!(fresh.received(), "open:5 ");
}

#[test]
fn an_id_that_is_not_known_gets_a_reset_and_all_that_is_kept() {
    let mut bench = Bench::new();
    ["a", "b"].into_iter().for_each(|message| _ = bench.publish("news", message));
    let own = bench.topics.position();
    let foreign = Position { epoch: own.epoch + 1, ..own };
    let future = Position { number: 3, ..own };
    for id in [&foreign.to_string(), &future.to_string(), "", "x", "0", "-", &"9".repeat(65_536), &format!("+{own}")] {
        let reader = bench.resume("news", id);
        bench.run();
        assert_eq!(reader.received(), "open:- reset:0 a@1 b@2 ");
    }
    let reader = bench.resume("empty", "x");
    bench.run();
    assert_eq!(reader.received(), "open:- reset:2 ");
}

#[test]
fn a_client_that_missed_more_than_is_kept_gets_a_reset() {
    let mut bench = Bench::with(|setup| setup.streams.history.count = 2);
    ["a", "b", "c"].into_iter().for_each(|message| _ = bench.publish("news", message));
    for (number, expected) in [(0, "open:- reset:1 b@2 c@3 "), (1, "open:1 b@2 c@3 "), (3, "open:3 ")] {
        let reader = bench.resume_after("news", number);
        bench.run();
        assert_eq!(reader.received(), expected);
    }
    // The messages to all have a history of their own.
    ["d", "e", "f"].into_iter().for_each(|message| _ = bench.publish_all(message));
    for (number, expected) in [(3, "open:- reset:1 b@2 c@3 e@5 f@6 "), (4, "open:4 e@5 f@6 ")] {
        let reader = bench.resume_after("news", number);
        bench.run();
        assert_eq!(reader.received(), expected);
    }
}

#[test]
fn the_id_of_a_publisher_resumes_after_its_newest_message() {
    let mut bench = Bench::new();
    let publish = |bench: &Bench, text: &str, id: &str| {
        bench.topics.publish("news", with_id(text, id), Reach::Node);
    };
    publish(&bench, "a", "0.1");
    publish(&bench, "b", "0.2");
    publish(&bench, "c", "0.1");
    bench.topics.publish_all(with_id("d", "0.4"), Reach::Node);
    publish(&bench, "e", "0.5");
    for (id, expected) in
        [("0.1", "open:3 d e "), ("0.2", "open:2 c d e "), ("0.4", "open:4 e "), ("0.3", "open:- reset:0 a b c d e ")]
    {
        let reader = bench.resume("news", id);
        bench.run();
        assert_eq!(reader.received(), expected, "{id}");
    }
    // An id that looks like a position is an id first.
    let position = Position { number: 1, ..bench.topics.position() }.to_string();
    publish(&bench, "f", &position);
    let reader = bench.resume("news", &position);
    bench.run();
    assert_eq!(reader.received(), "open:6 ");
}

#[test]
fn the_id_of_a_message_to_all_does_not_hide_that_the_topic_has_dropped_messages() {
    let mut bench = Bench::with(|setup| setup.streams.history.count = 1);
    bench.topics.publish_all(with_id("all", "x"), Reach::Node);
    ["a", "b"].into_iter().for_each(|message| _ = bench.publish("news", message));
    let reader = bench.resume("news", "x");
    bench.run();
    assert_eq!(reader.received(), "open:- reset:0 all b@3 ");
}

#[test]
fn a_history_is_bounded_by_count_age_and_bytes() {
    let limits = HistoryLimits { count: 3, age: Duration::from_secs(10), bytes: 4 * FRAME };
    let mut bench = Bench::with(|setup| setup.streams.history = limits);
    ["a", "b", "c", "d"].into_iter().for_each(|message| _ = bench.publish("news", message));
    assert_eq!(bench.topics.memory().history(), 3 * FRAME);
    // Three messages of this size are one byte too many.
    bench.topics.publish("news", sized("e", FRAME as usize + 1), Reach::Node);
    assert_eq!(bench.topics.memory().history(), 3 * FRAME + 1);
    // A message that never fits is not kept, and clients learn that they have missed it.
    bench.topics.publish("news", sized("f", 3 * FRAME as usize + 1), Reach::Node);
    assert_eq!(bench.topics.memory().history(), 0);
    let reader = bench.resume_after("news", 5);
    bench.run();
    assert_eq!(reader.received(), "open:- reset:6 ");
}

#[test]
fn old_messages_and_the_topics_that_nobody_uses_are_swept() {
    let mut bench = Bench::new();
    let reader = bench.open("read", 0);
    ["read", "a", "b"].into_iter().for_each(|topic| _ = bench.publish(topic, "x"));
    bench.publish_all("x");
    let sweep = |now: Instant| (0..SHARDS).for_each(|_| bench.topics.namespace.sweep(now));
    sweep(bench.now + Duration::from_secs(299));
    assert_eq!((bench.topics.topics(), bench.topics.memory().history()), (3, 4 * FRAME));
    sweep(bench.now + Duration::from_secs(301));
    assert_eq!((bench.topics.topics(), bench.topics.count(Some("read"))), (1, 1));
    bench.run();
    assert_eq!(bench.topics.memory().history(), 0);
    assert_eq!(reader.received(), "open:0 x@1 x@4 ");
    // A topic that begins anew knows that it has lost messages.
    let returned = bench.resume_after("a", 1);
    bench.run();
    assert_eq!(returned.received(), "open:- reset:4 ");
}

#[test]
fn a_topic_that_was_removed_remembers_that_it_has_dropped_messages() {
    let mut bench = Bench::new();
    bench.publish("news", "x");
    (0..SHARDS).for_each(|_| bench.topics.namespace.sweep(bench.now + Duration::from_secs(301)));
    assert_eq!(bench.topics.topics(), 0);
    let returned = bench.resume_after("news", 0);
    bench.run();
    assert_eq!(returned.received(), "open:- reset:1 ");
}

#[test]
fn without_a_history_there_are_no_positions_and_every_return_is_a_reset() {
    let mut bench = Bench::with(|setup| setup.streams.history = HistoryLimits::OFF);
    let (fresh, returned) = (bench.open("news", 0), bench.resume("news", "x"));
    bench.publish("news", "a");
    bench.publish_all("b");
    bench.run();
    assert_eq!((fresh.received(), returned.received()), ("open:- a b ".into(), "open:- reset:- a b ".into()));
    bench.publish("nobody", "c");
    assert_eq!((bench.topics.topics(), bench.topics.memory().history()), (1, 0));
}

#[test]
fn hub_history_drops_the_oldest_messages_of_the_largest_history() {
    let mut bench = Bench::with(|setup| setup.hub.history = 32 * FRAME);
    (0..20).for_each(|_| _ = bench.publish("large", "x"));
    (0..12).for_each(|_| _ = bench.publish("small", "x"));
    assert_eq!(bench.topics.memory().history(), 32 * FRAME);
    bench.publish("small", "x");
    // A little more than needed, so that not every publish has to look.
    assert_eq!(bench.topics.memory().history(), 31 * FRAME);
    assert_eq!(bench.topics.counters().evicted.load(std::sync::atomic::Ordering::Relaxed), 2);
    let (large, small) = (bench.resume_after("large", 2), bench.resume_after("small", 20));
    bench.run();
    assert_eq!(large.received().matches("x@").count(), 18);
    assert!(small.received().starts_with("open:20 x@21 "));
    // The history of the messages to all counts, too.
    (0..40).for_each(|_| _ = bench.publish_all("y"));
    assert!(bench.topics.memory().history() <= 32 * FRAME);
}

#[test]
fn the_largest_of_many_histories_makes_room_for_the_others() {
    let mut bench = Bench::with(|setup| setup.hub.history = 600 * FRAME);
    (0..100).for_each(|_| _ = bench.publish("large", "x"));
    for _ in 0..2 {
        (0..250).for_each(|index| _ = bench.publish(&index.to_string(), "x"));
    }
    assert_eq!(bench.topics.memory().history(), 600 * FRAME);
    (0..60).for_each(|index| _ = bench.publish(&format!("new {index}"), "x"));
    assert!(bench.topics.memory().history() <= 600 * FRAME);
    let returned: Vec<Reader> = (0..250).map(|index| bench.resume_after(&index.to_string(), 100)).collect();
    bench.run();
    for reader in returned {
        assert_eq!(reader.received().matches("x@").count(), 2);
    }
}

#[test]
fn histories_of_the_same_size_make_room_many_at_once() {
    let bench = Bench::with(|setup| setup.hub.history = 20_000 * FRAME);
    for _ in 0..3 {
        (0..6_400).for_each(|index| _ = bench.publish(&index.to_string(), "x"));
    }
    (0..801).for_each(|index| _ = bench.publish(&format!("new {index}"), "x"));
    let (history, evicted) = (bench.topics.memory().history(), &bench.topics.counters().evicted);
    assert!(history <= 20_000 * FRAME);
    // One look at a shard, which has about 100 of them, was enough for the next publishes, too.
    let evicted = evicted.load(std::sync::atomic::Ordering::Relaxed);
    assert!((20..625).contains(&evicted), "{evicted}");
}

#[test]
fn beyond_hub_topics_messages_are_not_kept_and_clients_that_return_learn_it() {
    let mut bench = Bench::with(|setup| setup.hub.topics = 2);
    ["a", "b"].into_iter().for_each(|topic| _ = bench.publish(topic, "kept"));
    assert_eq!(bench.publish("c", "lost"), 0);
    assert_eq!(bench.topics.topics(), 2);
    (0..SHARDS).for_each(|_| bench.topics.namespace.sweep(bench.now + Duration::from_secs(301)));
    let returned = bench.resume_after("c", 2);
    bench.run();
    assert_eq!(returned.received(), "open:- reset:3 ");
}

#[test]
fn a_message_is_lost_only_while_its_topic_does_not_exist() {
    let bench = Bench::new();
    let shards = &bench.topics.namespace.shards;
    bench.publish("added meanwhile", "x");
    assert!(!shards.lose("added meanwhile", || panic!("the message belongs to the topic")));
    assert!(shards.lose("missing", || 7));
    assert_eq!(shards.get_or_add("missing").unwrap().state.lock().ring.dropped(), 7);
}

#[test]
fn a_client_of_a_new_topic_displaces_the_history_that_was_idle_longest() {
    let mut bench = Bench::with(|setup| setup.hub.topics = 3);
    let reader = bench.open("read", 0);
    ["a", "b"].into_iter().for_each(|topic| _ = bench.publish(topic, "x"));
    bench.publish("a", "y");
    let new = bench.open("new", 0);
    assert_eq!((bench.topics.topics(), bench.topics.evicted_topics()), (3, 1));
    bench.publish("new", "z");
    bench.run();
    assert_eq!((reader.is_open(), new.received()), (true, "open:3 z@4 ".into()));
    // The history of `a` was used later. The one of `b` is lost, and its client learns it.
    new.leave();
    bench.run();
    let returned = bench.resume_after("a", 1);
    bench.run();
    assert_eq!(returned.received(), "open:1 y@3 ");
    returned.leave();
    bench.run();
    let returned = bench.resume_after("b", 1);
    bench.run();
    assert_eq!(returned.received(), "open:- reset:4 ");
}

#[test]
fn a_client_of_a_new_topic_displaces_few_of_many_histories() {
    let bench = Bench::with(|setup| setup.hub.topics = 10_000);
    (0..10_000).for_each(|index| _ = bench.publish(&index.to_string(), "x"));
    bench.topics.reserve("new", LIMITS).unwrap();
    // A look at a part of the map is enough, and finds old ones.
    let evicted = bench.topics.evicted_topics();
    assert!((1..100).contains(&evicted), "{evicted}");
    let is_kept = |index: &usize| bench.topics.namespace.shards.get(&index.to_string()).is_some();
    assert_eq!((5_000..10_000).filter(is_kept).count(), 5_000);
    assert_eq!((0..5_000).filter(is_kept).count() as u64, 5_000 - evicted);
}

#[test]
fn clients_of_new_topics_are_rejected_once_every_topic_has_clients() {
    let mut bench = Bench::with(|setup| setup.hub.topics = 100);
    (0..200).for_each(|index| _ = bench.publish(&format!("idle {index}"), "x"));
    assert_eq!(bench.topics.topics(), 100);
    let places: Vec<Place> = (0..100).map(|index| bench.topics.reserve(&index.to_string(), LIMITS).unwrap()).collect();
    assert_eq!((bench.topics.topics(), bench.topics.evicted_topics()), (100, 100));
    assert_eq!(bench.topics.memory().history(), 0);
    assert_eq!(bench.topics.reserve("new", LIMITS).err(), Some(HubError::TooManyTopics { max: 100 }));
    bench.topics.reserve("1", LIMITS).unwrap();
    drop(places);
    assert_eq!(bench.topics.topics(), 0);
    (0..200).for_each(|index| _ = bench.publish(&format!("idle {index}"), "x"));
    assert!(bench.topics.reserve("new", LIMITS).is_ok());
    bench.run();
}

#[test]
fn all_memory_is_returned() {
    let mut bench = Bench::new();
    let readers: Vec<Reader> = (0..10).map(|index| bench.open(&index.to_string(), index % 2)).collect();
    (0..10).for_each(|index| _ = bench.publish(&index.to_string(), "x"));
    bench.publish_all("y");
    bench.run();
    let (topics, memory) = (bench.topics.clone(), bench.topics.memory());
    assert_eq!((memory.history(), memory.queued()), (11 * FRAME, 0));
    readers.iter().for_each(Reader::leave);
    bench.run();
    (0..SHARDS).for_each(|_| topics.namespace.sweep(bench.now + Duration::from_secs(301)));
    assert_eq!((topics.memory().history(), topics.memory().queued(), topics.topics()), (0, 0, 0));
}
