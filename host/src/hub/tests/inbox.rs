//! The inbox of a worker: a burst of one topic loses its own messages, and none of other topics.

use super::*;

#[test]
fn a_burst_of_one_topic_cuts_no_client_of_another_one() {
    let mut bench = Bench::with(|setup| setup.inbox = 50);
    let (burst, other, elsewhere) = (bench.open("burst", 0), bench.open("other", 0), bench.open("burst", 1));
    bench.run();
    (0..1_000).for_each(|_| _ = bench.publish("burst", "x"));
    // The messages of others still fit, and they may have a small burst of their own.
    (0..5).for_each(|_| _ = bench.publish("other", "y"));
    bench.publish_all("z");
    bench.run();
    assert_eq!((burst.is_open(), other.is_open(), elsewhere.is_open()), (false, true, false));
    let received = other.received();
    assert_eq!((received.matches("y@").count(), received.matches("z@").count()), (5, 1));
    assert_eq!(bench.slow(SlowReason::Inbox), 2);
}

#[test]
fn a_topic_may_use_four_fifths_of_an_inbox() {
    let bench = Bench::with(|setup| setup.inbox = 50);
    let _reader = bench.open("burst", 0);
    (0..40).for_each(|_| _ = bench.publish("burst", "x"));
    assert_eq!(bench.topics.inbox_overflows(), 0);
    bench.publish("burst", "x");
    assert_eq!(bench.topics.inbox_overflows(), 1);
}

#[test]
fn what_the_fan_out_has_taken_uses_no_room() {
    let mut bench = Bench::with(|setup| setup.inbox = 50);
    let reader = bench.open("burst", 0);
    for _ in 0..10 {
        (0..40).for_each(|_| _ = bench.publish("burst", "x"));
        bench.run();
    }
    assert_eq!((bench.topics.inbox_overflows(), reader.received().matches("x@").count()), (0, 400));
}

#[test]
fn bursts_of_many_topics_leave_room_for_another_one() {
    let mut bench = Bench::with(|setup| setup.inbox = 100);
    let topics: Vec<String> = (0..20).map(|index| index.to_string()).collect();
    let bursts: Vec<Reader> = topics.iter().map(|topic| bench.open(topic, 0)).collect();
    let other = bench.open("other", 0);
    bench.run();
    for _ in 0..1_000 {
        topics.iter().for_each(|topic| _ = bench.publish(topic, "x"));
    }
    bench.publish("other", "y");
    bench.run();
    assert!(other.is_open() && bursts.iter().all(|burst| !burst.is_open()));
    assert_eq!(other.received().matches("y@").count(), 1);
}

#[test]
fn a_burst_of_large_messages_leaves_bytes_for_other_topics() {
    let mut bench = Bench::with(|setup| setup.hub.queued = 50 * FRAME);
    let (burst, other) = (bench.open("burst", 0), bench.open("other", 0));
    bench.run();
    for _ in 0..50 {
        bench.topics.publish("burst", sized("x", 4 * FRAME as usize), Reach::Node);
    }
    bench.publish("other", "y");
    bench.run();
    assert_eq!((burst.is_open(), other.is_open()), (false, true));
    assert_eq!(other.received().matches("y@").count(), 1);
}
