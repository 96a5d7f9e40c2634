//! Bursts: healthy clients survive them, slow ones delay nobody, and no turn is long.

use super::*;

/// The number of copies of "x" that a client has received.
fn count(received: &str) -> usize {
    received.matches("x@").count()
}

/// Runs turns until the fan-out waits. After each turn, the clients accept some more bytes, as if
/// their connections were tasks of the same thread. Returns the number of turns.
fn run_with_windows(bench: &mut Bench, windows: &[(&Reader, usize)]) -> usize {
    for turns in 1.. {
        let has_more = bench.turn(0);
        let mut is_waiting = false;
        for (reader, bytes) in windows {
            is_waiting |= reader.0.lock().window == Some(0);
            reader.set_window(Some(*bytes));
        }
        if !has_more && !is_waiting {
            return turns;
        }
        assert!(turns < 100_000, "the turns do not end");
    }
    unreachable!()
}

#[test]
fn a_burst_cuts_no_client_that_accepts_some_bytes_after_each_turn() {
    let mut bench = Bench::new();
    let (reader, other) = (bench.open("news", 0), bench.open("news", 0));
    bench.run();
    reader.set_window(Some(2_000));
    (0..20_000).for_each(|_| _ = bench.publish("news", "x"));
    run_with_windows(&mut bench, &[(&reader, 2_000)]);
    assert_eq!((count(&reader.received()), count(&other.received())), (20_000, 20_000));
    assert_eq!((bench.slow(SlowReason::Queue), reader.is_open()), (0, true));
}

#[test]
fn a_queue_of_one_message_is_enough_for_a_client_that_accepts_one_after_each_turn() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 1);
    let reader = bench.open("news", 0);
    bench.run();
    reader.set_window(Some(10));
    (0..100).for_each(|_| _ = bench.publish("news", "x"));
    run_with_windows(&mut bench, &[(&reader, 10)]);
    assert_eq!((count(&reader.received()), bench.slow(SlowReason::Queue)), (100, 0));
}

#[test]
fn a_client_that_accepts_almost_nothing_delays_a_burst_by_few_turns_and_is_cut() {
    let mut bench = Bench::new();
    let (slow, healthy) = (bench.open("news", 0), bench.open("news", 0));
    bench.run();
    slow.set_window(Some(1));
    (0..20_000).for_each(|_| _ = bench.publish("news", "x"));
    let mut turns = 0;
    while count(&healthy.0.lock().received) < 20_000 {
        bench.turn(0);
        slow.set_window(Some(1));
        turns += 1;
        assert!(turns < 100, "the healthy client waits for the slow one");
    }
    assert_eq!((slow.is_open(), healthy.is_open(), bench.slow(SlowReason::Queue)), (false, true, 1));
}

#[test]
fn clients_that_stop_reading_at_the_same_time_are_cut_together() {
    let mut bench = Bench::new();
    let slow: Vec<Reader> = (0..100).map(|_| bench.open("news", 0)).collect();
    let healthy = bench.open("news", 0);
    bench.run();
    slow.iter().for_each(|reader| reader.set_window(Some(0)));
    (0..5_000).for_each(|_| _ = bench.publish("news", "x"));
    let mut turns = 1;
    while bench.turn(0) {
        turns += 1;
    }
    assert!(turns < 100, "{turns} turns");
    assert_eq!((count(&healthy.received()), bench.slow(SlowReason::Queue)), (5_000, 100));
}

#[test]
fn beyond_hub_queued_the_client_that_has_been_blocked_longest_is_cut() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 100 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let (stuck, late) = (bench.open("stuck", 0), bench.open("late", 0));
    bench.run();
    stuck.set_window(Some(0));
    (0..60).for_each(|_| _ = bench.publish("stuck", "x"));
    bench.run();
    bench.now += Duration::from_secs(1);
    late.set_window(Some(0));
    (0..60).for_each(|_| _ = bench.publish("late", "x"));
    bench.run();
    assert_eq!((stuck.is_open(), late.is_open(), bench.slow(SlowReason::Queued)), (false, true, 1));
    late.set_window(None);
    bench.run();
    assert_eq!(late.received().matches('x').count(), 60);
}

#[test]
fn beyond_hub_queued_clients_are_cut_on_other_workers_first_if_they_are_stuck_there() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 100 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let (stuck, reader) = (bench.open("stuck", 1), bench.open("news", 0));
    bench.run();
    stuck.set_window(Some(0));
    (0..80).for_each(|_| _ = bench.publish("stuck", "x"));
    bench.run();
    reader.set_window(Some(20));
    (0..80).for_each(|_| _ = bench.publish("news", "x"));
    // Both workers run. The client of the first one accepts some bytes after each turn.
    while bench.turn(0) | bench.turn(1) || reader.0.lock().window == Some(0) {
        reader.set_window(Some(20));
    }
    assert_eq!((stuck.is_open(), reader.is_open(), bench.slow(SlowReason::Queued)), (false, true, 1));
    assert_eq!(reader.received().matches('x').count(), 80);
}

/// A waker that counts.
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_worker_with_stuck_clients_is_woken_beyond_hub_queued() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 100 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let (stuck, reader) = (bench.open("stuck", 1), bench.open("news", 0));
    bench.run();
    stuck.set_window(Some(0));
    (0..80).for_each(|_| _ = bench.publish("stuck", "x"));
    bench.run();
    let wakes = Arc::new(Wakes(Default::default()));
    let waker = Waker::from(wakes.clone());
    assert!(bench.fanouts[1].poll(&mut Context::from_waker(&waker), bench.now).is_pending());
    reader.set_window(Some(20));
    (0..80).for_each(|_| _ = bench.publish("news", "x"));
    assert!(bench.turn(0));
    assert_eq!(wakes.0.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[test]
fn a_burst_to_many_clients_takes_few_writes_of_each_and_short_turns() {
    let mut bench = Bench::new();
    let readers: Vec<Reader> = (0..1_000).map(|_| bench.open("news", 0)).collect();
    bench.run();
    let before = readers[0].writes();
    (0..200).for_each(|_| _ = bench.publish("news", "x"));
    let delivered = |bench: &Bench| bench.topics.counters().delivered.load(std::sync::atomic::Ordering::Relaxed);
    let (mut last, mut has_more) = (delivered(&bench), true);
    while has_more {
        has_more = bench.turn(0);
        assert!(delivered(&bench) - last <= 9_192, "{} messages in one turn", delivered(&bench) - last);
        last = delivered(&bench);
    }
    for reader in &readers {
        assert_eq!((count(&reader.received()), reader.writes() - before <= 5), (200, true));
    }
}

#[test]
fn a_turn_sends_a_bounded_number_of_bytes() {
    let mut bench = Bench::new();
    let readers: Vec<Reader> = (0..100).map(|_| bench.open("news", 0)).collect();
    bench.run();
    readers.iter().for_each(|reader| drop(reader.received()));
    bench.publish("news", &"x".repeat(1 << 20));
    let (mut turns, mut has_more) = (0, true);
    while has_more {
        has_more = bench.turn(0);
        turns += 1;
        let sent: usize = readers.iter().map(|reader| reader.received().len()).sum();
        assert!(sent <= 18 << 20, "{sent} bytes in one turn");
    }
    assert!(turns >= 6, "{turns} turns");
}

#[test]
fn a_burst_of_more_than_hub_queued_cuts_no_client_that_accepts_some_bytes_after_each_turn() {
    let mut bench = Bench::with(|setup| {
        setup.hub.queued = 100 * FRAME;
        setup.streams.history = HistoryLimits::OFF;
    });
    let reader = bench.open("news", 0);
    bench.run();
    reader.set_window(Some(20));
    (0..75).for_each(|_| _ = bench.publish("news", "x"));
    bench.turn(0);
    reader.set_window(Some(20));
    (0..75).for_each(|_| _ = bench.publish("news", "x"));
    assert!(bench.topics.memory().queued() > 100 * FRAME);
    run_with_windows(&mut bench, &[(&reader, 20)]);
    assert_eq!(reader.received().matches('x').count(), 150);
    assert_eq!((reader.is_open(), bench.topics.inbox_overflows()), (true, 0));
}

#[test]
fn a_stream_that_is_closing_is_not_cut_for_messages_that_follow() {
    let mut bench = Bench::with(|setup| (setup.streams.queue.events, setup.inbox) = (2, 3));
    let (blocked, reads) = (bench.open("news", 0), bench.open("news", 0));
    bench.run();
    blocked.set_window(Some(0));
    (0..2).for_each(|_| _ = bench.publish("news", "x"));
    bench.topics.close("news", Reach::Node);
    // The first one finds full queues, the second one a full inbox.
    (0..2).for_each(|_| _ = bench.publish("news", "late"));
    bench.run();
    assert_eq!((blocked.is_open(), reads.ended()), (true, true));
    blocked.set_window(None);
    bench.run();
    assert!(blocked.ended());
    assert_eq!((blocked.received(), reads.received()), ("open:0 x@1 x@2 ".into(), "open:0 x@1 x@2 ".into()));
    assert_eq!((bench.slow(SlowReason::Queue), bench.slow(SlowReason::Inbox)), (0, 0));
}

#[test]
fn a_turn_looks_after_a_bounded_number_of_clients() {
    let mut bench = Bench::with(|setup| setup.inbox = 1);
    let open = |bench: &mut Bench, count: usize| {
        let readers: Vec<Reader> = (0..count).map(|_| bench.open("news", 0)).collect();
        bench.run();
        readers
    };
    let is_bounded = |bench: &mut Bench, readers: &[Reader]| {
        let (mut left, mut has_more) = (readers.len(), true);
        while has_more {
            has_more = bench.turn(0);
            let open = readers.iter().filter(|reader| reader.is_open()).count();
            assert!(left - open <= 256, "{} in one turn", left - open);
            left = open;
        }
        assert_eq!((left, bench.topics.count(None)), (0, 0));
    };
    // Clients that leave at once.
    let readers = open(&mut bench, 900);
    readers.iter().for_each(Reader::leave);
    is_bounded(&mut bench, &readers);
    // Clients that have missed a message, of one topic and of all.
    let readers = open(&mut bench, 900);
    (0..2).for_each(|_| _ = bench.publish("news", "x"));
    is_bounded(&mut bench, &readers);
    let readers = open(&mut bench, 900);
    (0..2).for_each(|_| _ = bench.publish_all("x"));
    is_bounded(&mut bench, &readers);
    // Clients that read nothing for too long.
    let readers = open(&mut bench, 900);
    readers.iter().for_each(|reader| reader.set_window(Some(0)));
    bench.publish("news", "x");
    bench.run();
    bench.now += Duration::from_secs(60);
    is_bounded(&mut bench, &readers);
    // Streams that are closed, and those that end with the host.
    let readers = open(&mut bench, 900);
    bench.topics.close("news", Reach::Node);
    is_bounded(&mut bench, &readers);
    let readers = open(&mut bench, 900);
    bench.fanouts[0].stop();
    is_bounded(&mut bench, &readers);
    assert!(readers.iter().all(|reader| reader.received().ends_with("stop ")));
}

#[test]
fn clients_that_keep_sending_do_not_delay_messages_or_other_tasks() {
    let mut bench = Bench::new();
    let flooding: Vec<Reader> = (0..600).map(|_| Reader::default()).collect();
    for reader in &flooding {
        reader.0.lock().is_flooding = true;
        bench.open_with("flood", 0, None, reader);
    }
    let other = bench.open("news", 0);
    (0..20).for_each(|_| _ = bench.turn(0));
    let looks = || flooding.iter().map(|reader| reader.0.lock().looks).sum::<usize>();
    let before = looks();
    bench.publish("news", "x");
    let mut turns = 0;
    while !other.0.lock().received.contains("x@1") {
        bench.turn(0);
        turns += 1;
        assert!(turns < 10, "the message waits");
    }
    assert!(looks() - before <= turns * 256, "{} looks in {turns} turns", looks() - before);
}

#[test]
fn a_message_that_takes_several_turns_reaches_each_client_once_and_before_the_next_one() {
    let mut bench = Bench::with(|setup| setup.streams.queue.events = 1);
    let readers: Vec<Reader> = (0..700).map(|_| bench.open("news", 0)).collect();
    bench.run();
    bench.publish("news", "a");
    bench.turn(0);
    // The queues are full, so each client sends before the next message is added.
    (0..2).for_each(|_| _ = bench.publish("news", "b"));
    let late = bench.open("news", 0);
    bench.publish_all("c");
    bench.run();
    for reader in &readers {
        assert_eq!(reader.received(), "open:0 a@1 b@2 b@3 c@4 ");
    }
    assert_eq!(late.received(), "open:3 c@4 ");
}
