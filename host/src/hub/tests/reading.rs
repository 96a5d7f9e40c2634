//! Clients that send: what the hub reads, and what it does about clients that are silent.

use super::*;

#[test]
fn a_client_answers_what_it_reads_with_notices_in_the_order_of_its_queue() {
    let mut bench = Bench::new();
    let reader = bench.open("news", 0);
    bench.run();
    bench.publish("news", "a");
    bench.run();
    reader.say("x");
    bench.run();
    bench.publish("news", "b");
    bench.run();
    assert_eq!(reader.received(), "open:0 a@1 echo:x b@2 ");
}

#[test]
fn a_connection_that_a_read_ends_sends_its_queue_first_and_gets_no_further_messages() {
    let mut bench = Bench::new();
    let reader = bench.open("news", 0);
    bench.run();
    reader.set_window(Some(0));
    bench.publish("news", "a");
    bench.run();
    reader.say("bye");
    bench.run();
    bench.publish("news", "late");
    bench.run();
    assert!(reader.is_open());
    reader.set_window(None);
    bench.run();
    assert_eq!((reader.received().as_str(), reader.ended()), ("open:0 a@1 echo:bye ", true));
}

#[test]
fn only_a_client_that_sends_nothing_for_the_silence_is_lost() {
    let mut bench = Bench::with(|setup| {
        setup.streams.silence = Duration::from_secs(20);
        setup.streams.ping = Duration::ZERO;
    });
    let (silent, talks, busy) = (bench.open("a", 0), bench.open("a", 0), bench.open("a", 0));
    busy.change(|wire| wire.may_be_silent = true);
    bench.run();
    assert_eq!(bench.fanouts[0].deadline(bench.now), Some(bench.now + Duration::from_secs(20)));
    for _ in 0..3 {
        bench.now += Duration::from_secs(19);
        talks.say("x");
        bench.run();
    }
    assert_eq!((silent.is_open(), talks.is_open(), busy.is_open()), (false, true, true));
    assert!(silent.ended(), "it ends in order");
    assert_eq!(busy.0.lock().silences, 1);
    assert_eq!(bench.slow(SlowReason::Timeout), 0);
    bench.now += Duration::from_secs(20);
    bench.run();
    assert!(!talks.is_open());
}

#[test]
fn a_ping_to_all_also_reaches_connections_that_got_messages_and_waits_at_most_four_times() {
    let mut bench = Bench::with(|setup| {
        setup.streams.pinged = Pinged::All;
        setup.streams.idle_timeout = Duration::from_secs(3_600);
    });
    let (busy, stuck) = (bench.open("busy", 0), bench.open("stuck", 0));
    bench.run();
    stuck.set_window(Some(0));
    for _ in 0..9 {
        bench.publish("busy", "x");
        bench.publish("stuck", "x");
        bench.run();
        bench.now += Duration::from_secs(10);
        bench.run();
    }
    assert_eq!(busy.received().matches("ping").count(), 9);
    stuck.set_window(None);
    bench.run();
    assert_eq!(stuck.received().matches("ping").count(), 4);
}

#[test]
fn a_client_that_is_cut_is_told_before_it_is_dropped() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 2);
    let slow = bench.open("news", 0);
    bench.run();
    slow.set_window(Some(0));
    (0..3).for_each(|_| _ = bench.publish("news", "x"));
    bench.run();
    assert_eq!((slow.unsent(), slow.is_open()), (Some(2), false));
    let stopped = bench.open("news", 0);
    bench.run();
    bench.topics.close("news", Reach::Node);
    bench.run();
    assert_eq!((stopped.unsent(), stopped.ended()), (None, true));
}
