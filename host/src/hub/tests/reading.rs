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
fn a_client_that_has_sent_something_is_not_lost_because_its_thread_was_busy() {
    let mut bench = Bench::with(|setup| {
        setup.streams.silence = Duration::from_secs(20);
        setup.streams.ping = Duration::ZERO;
    });
    let (answers, silent) = (bench.open("a", 0), bench.open("a", 0));
    bench.run();
    // The thread has polled no socket meanwhile: it learns of the answer with the next turn only.
    bench.now += Duration::from_secs(60);
    assert!(bench.turn(0), "another turn looks for lost clients");
    answers.say("pong");
    bench.run();
    assert_eq!((answers.is_open(), silent.is_open()), (true, false));
}

#[test]
fn a_silent_client_is_not_lost_because_the_host_has_sent_no_pings() {
    let mut bench = Bench::with(|setup| {
        setup.streams.silence = Duration::from_secs(20);
        setup.streams.ping = Duration::from_secs(8);
    });
    let [answers, silent] = [bench.open("a", 0), bench.open("a", 0)];
    bench.run();
    // The process was stopped.
    bench.now += Duration::from_secs(60);
    bench.run();
    bench.now += Duration::from_secs(8);
    answers.say("pong");
    bench.run();
    assert_eq!((answers.is_open(), silent.is_open()), (true, true), "they were pinged only now");
    for _ in 0..2 {
        bench.now += Duration::from_secs(8);
        bench.run();
    }
    assert_eq!((answers.is_open(), silent.is_open()), (true, false));
}

#[test]
fn a_client_has_time_to_answer_a_ping_that_was_late() {
    let mut bench = Bench::with(|setup| {
        setup.streams.silence = Duration::from_secs(20);
        setup.streams.ping = Duration::from_secs(8);
    });
    let [answers, silent] = [bench.open("a", 0), bench.open("a", 0)];
    bench.run();
    bench.now += Duration::from_secs(8);
    answers.say("pong");
    silent.say("pong");
    bench.run();
    // The process was stopped just before the next ping.
    bench.now += Duration::from_secs(7);
    bench.run();
    bench.now += Duration::from_secs(14);
    bench.run();
    assert_eq!((answers.is_open(), silent.is_open()), (true, true), "they were pinged only now");
    for _ in 0..5 {
        bench.now += Duration::from_secs(4);
        answers.say("pong");
        bench.run();
    }
    assert_eq!((answers.is_open(), silent.is_open()), (true, false));
}

#[test]
fn a_client_has_a_time_for_each_message_from_its_first_part_to_its_last() {
    let mut bench = Bench::with(|setup| {
        setup.streams.message = Duration::from_secs(30);
        setup.streams.ping = Duration::ZERO;
    });
    let (slow, fast, busy) = (bench.open("a", 0), bench.open("a", 0), bench.open("a", 0));
    let part = |reader: &Reader, number| {
        reader.change(|wire| (wire.partial, wire.said) = (number, "x".to_owned()));
    };
    bench.run();
    assert_eq!(bench.fanouts[0].deadline(bench.now), None, "nothing is due between messages");
    busy.change(|wire| wire.may_be_silent = true);
    [&slow, &fast, &busy].into_iter().for_each(|reader| part(reader, Some(1)));
    bench.run();
    assert_eq!(bench.fanouts[0].deadline(bench.now), Some(bench.now + Duration::from_secs(30)));
    bench.now += Duration::from_secs(29);
    // Further parts of the same message do not count, the next message does.
    part(&slow, Some(1));
    part(&fast, Some(2));
    bench.run();
    bench.now += Duration::from_secs(2);
    bench.run();
    assert_eq!((slow.ended(), fast.is_open(), busy.is_open()), (true, true, true));
    part(&fast, None);
    part(&busy, None);
    bench.run();
    bench.now += Duration::from_secs(100);
    bench.run();
    assert_eq!((fast.is_open(), busy.is_open()), (true, true));
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
