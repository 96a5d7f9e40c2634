//! Clients that read too slowly: what waits for them, and when they are cut.

use super::*;

#[test]
fn a_client_that_reads_again_in_time_gets_everything() {
    let mut bench = Bench::new();
    let reader = bench.open("news", 0);
    bench.run();
    reader.set_window(Some(3));
    (0..20).for_each(|index| _ = bench.publish("news", &index.to_string()));
    bench.run();
    reader.set_window(None);
    bench.run();
    let expected: String = (0..20).map(|index| format!("{index}@{} ", index + 1)).collect();
    assert_eq!(reader.received(), format!("open:0 {expected}"));
    assert_eq!(bench.topics.memory().queued(), 0);
}

#[test]
fn a_connection_with_one_message_too_many_is_cut_and_no_other_one() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 10);
    let (slow, healthy) = (bench.open("news", 0), bench.open("news", 0));
    bench.run();
    slow.set_window(Some(0));
    (0..10).for_each(|_| _ = bench.publish("news", "x"));
    bench.run();
    assert!(slow.is_open());
    bench.publish("news", "x");
    bench.run();
    assert!(!slow.is_open() && healthy.is_open());
    assert_eq!((bench.slow(SlowReason::Queue), bench.topics.count(Some("news"))), (1, 1));
    // A burst that is larger than the queue does not cut a client that reads.
    (0..100).for_each(|_| _ = bench.publish("news", "x"));
    bench.run();
    assert_eq!(healthy.received().matches("x@").count(), 111);
}

#[test]
fn a_connection_with_one_byte_too_many_is_cut() {
    let mut bench = Bench::with(|setup| setup.streams.queue.bytes = 4_096);
    let slow = bench.open("news", 0);
    bench.run();
    slow.set_window(Some(0));
    // An empty queue accepts any message.
    bench.topics.publish("news", sized("large", 1 << 20), Reach::Node);
    bench.run();
    assert!(slow.is_open());
    slow.set_window(None);
    bench.run();
    slow.set_window(Some(0));
    for size in [2_048 - FRAME as usize, 2_048 - FRAME as usize] {
        bench.topics.publish("news", sized("x", size), Reach::Node);
        bench.run();
        assert!(slow.is_open());
    }
    bench.topics.publish("news", sized("x", 0), Reach::Node);
    bench.run();
    assert_eq!((slow.is_open(), bench.slow(SlowReason::Queue)), (false, 1));
}

#[test]
fn a_replay_that_is_longer_than_the_queue_does_not_cut() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 5);
    (0..50).for_each(|_| _ = bench.publish("news", "x"));
    let reader = Reader::default();
    reader.set_window(Some(0));
    bench.open_with("news", 0, Some(&Position { number: 0, ..bench.topics.position() }.to_string()), &reader);
    bench.run();
    (0..5).for_each(|_| _ = bench.publish("news", "y"));
    bench.run();
    assert!(reader.is_open());
    bench.publish("news", "y");
    bench.run();
    assert_eq!((reader.is_open(), bench.slow(SlowReason::Queue)), (false, 1));
}

#[test]
fn stuck_clients_of_many_topics_are_cut_when_they_hold_more_than_hub_queued() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 100 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let topics: Vec<String> = (0..101).map(|index| index.to_string()).collect();
    let readers: Vec<Reader> = topics.iter().map(|topic| bench.open(topic, 0)).collect();
    bench.run();
    readers.iter().for_each(|reader| reader.set_window(Some(0)));
    for topic in &topics[..100] {
        bench.publish(topic, "x");
        bench.run();
    }
    assert_eq!((bench.topics.memory().queued(), bench.slow(SlowReason::Queued)), (100 * FRAME, 0));
    bench.publish(&topics[100], "x");
    bench.run();
    assert_eq!((bench.topics.memory().queued(), bench.slow(SlowReason::Queued)), (100 * FRAME, 1));
    assert!(!readers[0].is_open() && readers[1..].iter().all(Reader::is_open));
    drop(bench);
    assert!(!readers[1].is_open());
}

#[test]
fn a_client_for_which_only_a_notice_waits_is_not_cut_because_of_what_others_hold() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let _other = bench.open("other", 1);
    bench.topics.publish("other", sized("x", 10_000), Reach::Node);
    let reader = Reader::default();
    reader.set_window(Some(0));
    bench.open_with("news", 0, None, &reader);
    while bench.turn(0) {}
    assert!(bench.topics.memory().exceeds_queued() && reader.is_open());
    bench.publish("news", "x");
    while bench.turn(0) {}
    assert_eq!((reader.is_open(), bench.slow(SlowReason::Queued)), (false, 1));
}

#[test]
fn kept_messages_that_wait_for_clients_count_once_they_leave_the_history() {
    let mut bench = Bench::with(|setup| setup.streams.history.count = 1);
    let reader = bench.open("news", 0);
    bench.run();
    reader.set_window(Some(0));
    bench.publish("news", "a");
    bench.run();
    assert_eq!((bench.topics.memory().history(), bench.topics.memory().queued()), (FRAME, 0));
    bench.publish("news", "b");
    bench.run();
    assert_eq!((bench.topics.memory().history(), bench.topics.memory().queued()), (FRAME, FRAME));
    reader.leave();
    bench.run();
    assert_eq!((bench.topics.memory().history(), bench.topics.memory().queued()), (FRAME, 0));
}

#[test]
fn a_full_inbox_cuts_the_connections_that_missed_a_message_and_they_can_resume() {
    let mut bench = Bench::with(|setup| setup.inbox = 3);
    let (missed, other, elsewhere) = (bench.open("news", 0), bench.open("chat", 0), bench.open("news", 1));
    bench.run();
    (0..3).for_each(|_| _ = bench.publish("chat", "c"));
    assert_eq!(bench.publish("news", "a"), 2);
    bench.publish("news", "b");
    // This one starts after the messages that did not fit.
    let later = bench.open("news", 0);
    bench.run();
    assert_eq!((missed.is_open(), other.is_open(), later.is_open()), (false, true, true));
    assert_eq!((missed.received(), elsewhere.received()), ("open:0 ".into(), "open:0 a@4 b@5 ".into()));
    assert_eq!((bench.slow(SlowReason::Inbox), bench.topics.inbox_overflows()), (1, 2));
    let back = bench.resume_after("news", 0);
    bench.publish("news", "d");
    bench.run();
    assert_eq!((back.received(), later.received()), ("open:0 a@4 b@5 d@6 ".into(), "open:5 d@6 ".into()));
}

#[test]
fn a_connection_that_attaches_to_a_full_inbox_is_cut_if_it_misses_a_message() {
    let mut bench = Bench::with(|setup| setup.inbox = 1);
    let first = bench.open("news", 0);
    bench.run();
    bench.publish("news", "a");
    bench.publish("news", "b");
    let second = bench.open("news", 0);
    bench.publish("news", "c");
    bench.run();
    assert_eq!((first.is_open(), second.is_open(), second.received()), (false, false, String::new()));
    let (first, second) = (bench.open("news", 0), bench.open("chat", 0));
    bench.run();
    bench.publish_all("d");
    bench.publish_all("e");
    let third = bench.open("news", 0);
    bench.publish_all("f");
    bench.run();
    assert_eq!((first.is_open(), second.is_open(), third.is_open()), (false, false, false));
    assert_eq!(bench.topics.count(None), 0);
}

#[test]
fn an_inbox_is_bounded_in_bytes() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 4 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let reader = bench.open("news", 0);
    bench.run();
    (0..4).for_each(|_| _ = bench.publish("news", "x"));
    assert_eq!(bench.topics.inbox_overflows(), 0);
    bench.publish("news", "x");
    assert_eq!(bench.topics.inbox_overflows(), 1);
    bench.run();
    assert!(!reader.is_open());
}

#[test]
fn a_client_that_reads_nothing_for_the_timeout_is_cut() {
    let mut bench = Bench::new();
    let (stuck, slow, idle) = (bench.open("news", 0), bench.open("news", 0), bench.open("chat", 0));
    bench.run();
    for reader in [&stuck, &slow] {
        reader.set_window(Some(0));
    }
    bench.publish("news", "message");
    bench.run();
    bench.now += Duration::from_secs(59);
    slow.set_window(Some(1));
    bench.run();
    assert!(stuck.is_open());
    bench.now += Duration::from_secs(1);
    assert!(bench.fanouts[0].deadline(bench.now).unwrap() <= bench.now);
    bench.run();
    assert_eq!((stuck.is_open(), slow.is_open(), idle.is_open()), (false, true, true));
    bench.now += Duration::from_secs(59);
    bench.run();
    assert_eq!((slow.is_open(), idle.is_open(), bench.slow(SlowReason::Timeout)), (false, true, 2));
}

#[test]
fn reports_about_slow_clients_are_at_most_one_in_a_second() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 1);
    let cut = |bench: &mut Bench, count: usize| {
        let readers: Vec<Reader> = (0..count).map(|_| bench.open("news", 0)).collect();
        bench.run();
        readers.iter().for_each(|reader| reader.set_window(Some(0)));
        (0..2).for_each(|_| _ = bench.publish("news", "x"));
        bench.run();
    };
    cut(&mut bench, 3);
    let now = bench.now;
    assert_eq!(bench.fanouts[0].deadline(now), Some(now));
    let report = bench.fanouts[0].take_report(now).unwrap();
    assert_eq!((&*report.topic, report.reason, report.count), ("news", SlowReason::Queue, 3));
    cut(&mut bench, 5);
    assert_eq!(bench.fanouts[0].take_report(now), None);
    let later = now + Duration::from_secs(1);
    assert_eq!(bench.fanouts[0].deadline(now), Some(later));
    assert_eq!(bench.fanouts[0].take_report(later).unwrap().count, 5);
    assert_eq!(bench.fanouts[0].take_report(later), None);
}
