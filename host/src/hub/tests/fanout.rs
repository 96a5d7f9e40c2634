//! Connections: their messages, pings, closings, the end of the host.

use super::*;

#[test]
fn a_message_reaches_the_connections_of_its_topic_on_all_workers() {
    let mut bench = Bench::new();
    let (here, there, other) = (bench.open("news", 0), bench.open("news", 1), bench.open("chat", 1));
    assert_eq!(bench.publish("news", "a"), 2);
    assert_eq!(bench.publish_all("b"), 3);
    assert_eq!(bench.publish("nobody", "c"), 0);
    bench.run();
    assert_eq!((here.received(), there.received()), ("open:0 a@1 b@2 ".into(), "open:0 a@1 b@2 ".into()));
    assert_eq!(other.received(), "open:0 b@2 ");
    assert_eq!(bench.topics.counters().delivered.load(std::sync::atomic::Ordering::Relaxed), 5);
}

#[test]
fn a_message_to_one_worker_reaches_no_other_and_has_no_position() {
    let mut bench = Bench::new();
    let (here, there) = (bench.open("news", 0), bench.open("news", 1));
    assert_eq!(bench.topics.publish("news", text("a"), Reach::Worker(1)), 1);
    assert_eq!(bench.topics.publish_all(text("b"), Reach::Worker(1)), 1);
    assert_eq!(bench.topics.publish("chat", text("c"), Reach::Worker(1)), 0);
    assert_eq!(bench.topics.publish("news", text("c"), Reach::Worker(7)), 0);
    bench.run();
    assert_eq!((here.received(), there.received()), ("open:0 ".into(), "open:0 a b ".into()));
    let returned = bench.resume_after("news", 0);
    bench.run();
    assert_eq!(returned.received(), "open:0 ", "the history has neither of them");
}

#[test]
fn count_is_exact_while_connections_come_and_go() {
    let mut bench = Bench::new();
    let place = bench.topics.reserve("news", LIMITS).unwrap();
    assert_eq!((bench.topics.count(Some("news")), bench.topics.count(None)), (1, 1));
    drop(place);
    assert_eq!((bench.topics.count(None), bench.topics.topics()), (0, 0));
    let (first, _second) = (bench.open("news", 0), bench.open("", 1));
    bench.run();
    assert_eq!((bench.topics.count(Some("news")), bench.topics.count(Some("")), bench.topics.count(None)), (1, 1, 2));
    first.leave();
    bench.run();
    assert_eq!((bench.topics.count(Some("news")), bench.topics.count(None), first.is_open()), (0, 1, false));
    assert_eq!((bench.publish("news", "x"), bench.publish_all("y")), (0, 1));
}

#[test]
fn connections_beyond_the_maximum_are_rejected_and_counted() {
    let bench = Bench::with(|setup| setup.hub.topics = 3);
    let limits = Limits { max: 4, max_per_topic: 2 };
    let reserve = |topic| bench.topics.reserve(topic, limits);
    let places = [reserve("a").unwrap(), reserve("a").unwrap()];
    assert_eq!(reserve("a").err(), Some(HubError::TopicFull { max: 2 }));
    let others = [reserve("b").unwrap(), reserve("c").unwrap()];
    assert_eq!(reserve("b").err(), Some(HubError::Full { max: 4 }));
    drop(places);
    drop(reserve("a").unwrap());
    let third = [reserve("b").unwrap(), reserve("d").unwrap()];
    assert_eq!(bench.topics.reserve("e", LIMITS).err(), Some(HubError::TooManyTopics { max: 3 }));
    assert_eq!((bench.topics.count(None), bench.topics.topics()), (4, 3));
    let counters = bench.topics.counters();
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(std::sync::atomic::Ordering::Relaxed);
    assert_eq!(
        (read(&counters.refused_per_topic), read(&counters.refused_connections), read(&counters.refused_topics)),
        (1, 1, 1)
    );
    drop((others, third));
    assert_eq!((bench.topics.count(None), bench.topics.topics()), (0, 0));
}

#[test]
fn a_burst_is_sent_in_few_writes() {
    let mut bench = Bench::new();
    let reader = bench.open("news", 0);
    bench.run();
    let before = reader.writes();
    (0..200).for_each(|_| _ = bench.publish("news", "x"));
    bench.run();
    assert_eq!(reader.writes() - before, 1);
    assert_eq!(reader.received().matches("x@").count(), 200);
}

#[test]
fn only_connections_that_got_nothing_are_pinged() {
    let mut bench = Bench::new();
    let (quiet, busy) = (bench.open("quiet", 0), bench.open("busy", 0));
    bench.run();
    let due = bench.fanouts[0].deadline(bench.now).unwrap();
    assert_eq!(due - bench.now, Duration::from_secs(10));
    for _ in 0..3 {
        bench.publish("busy", "x");
        bench.run();
        bench.now += Duration::from_secs(10);
        bench.run();
    }
    assert_eq!((quiet.received().matches("ping").count(), busy.received().matches("ping").count()), (3, 0));
    bench.now += Duration::from_secs(10);
    bench.run();
    assert_eq!((quiet.received().as_str(), busy.received().as_str()), ("ping ", "ping "));
}

#[test]
fn no_ping_is_sent_when_pings_are_off() {
    let mut bench = Bench::with(|setup| setup.streams.ping = Duration::ZERO);
    let reader = bench.open("news", 0);
    bench.run();
    assert_eq!(bench.fanouts[0].deadline(bench.now), None);
    bench.now += Duration::from_secs(3_600);
    bench.run();
    assert_eq!(reader.received(), "open:0 ");
}

#[test]
fn a_closed_topic_ends_its_connections_after_what_is_queued() {
    let mut bench = Bench::new();
    let (here, there, other) = (bench.open("news", 0), bench.open("news", 1), bench.open("chat", 0));
    bench.run();
    here.set_window(Some(0));
    bench.publish("news", "last");
    assert_eq!((bench.topics.close("news", Reach::Node), bench.topics.close("news", Reach::Node)), (2, 0));
    bench.publish("news", "late");
    let next = bench.open("news", 0);
    bench.run();
    assert_eq!((here.is_open(), there.ended(), other.is_open(), next.is_open()), (true, true, true, true));
    here.set_window(None);
    bench.run();
    assert_eq!((here.received(), there.received()), ("open:0 last@1 ".into(), "open:0 last@1 ".into()));
    assert!(here.ended());
    assert_eq!((bench.topics.count(Some("news")), bench.topics.close("news", Reach::Worker(1))), (1, 0));
    assert_eq!(bench.topics.close("news", Reach::Worker(0)), 1);
    assert_eq!((bench.topics.close_all(Reach::Node), bench.topics.close_all(Reach::Node)), (2, 0));
    bench.run();
    assert!(next.ended() && other.ended());
    assert_eq!(bench.topics.count(None), 0);
}

#[test]
fn a_stop_ends_all_connections_with_a_notice_and_rejects_new_ones() {
    let mut bench = Bench::new();
    let reader = bench.open("news", 0);
    let late = bench.topics.reserve("news", LIMITS).unwrap();
    bench.publish("news", "a");
    bench.run();
    bench.fanouts[0].stop();
    let reader_of_late = Reader::default();
    bench.topics.attach(late, 0, None, Box::new(MemoryClient(reader_of_late.clone())));
    bench.run();
    assert_eq!((reader.received(), reader_of_late.received()), ("open:0 a@1 stop ".into(), "open:1 stop ".into()));
    assert!(reader.ended() && reader_of_late.ended());
    assert_eq!(bench.topics.reserve("news", LIMITS).err(), Some(HubError::Stopping));
}

#[test]
fn the_end_of_a_fan_out_closes_its_connections_and_those_in_its_inbox() {
    let mut bench = Bench::new();
    let open = bench.open("news", 0);
    bench.run();
    let waiting = bench.open("news", 0);
    bench.publish("news", "x");
    bench.fanouts.pop_front();
    let late = bench.open("news", 0);
    assert!(!open.is_open() && !waiting.is_open() && !late.is_open());
    assert_eq!((bench.topics.count(None), bench.publish("news", "y"), bench.publish_all("z")), (0, 0, 0));
    assert_eq!(bench.topics.memory().queued(), 0);
}

#[test]
fn a_turn_is_bounded_so_that_other_tasks_run() {
    let mut bench = Bench::new();
    let readers: Vec<Reader> = (0..600).map(|_| bench.open("news", 0)).collect();
    bench.run();
    readers.iter().for_each(|reader| drop(reader.received()));
    bench.publish("news", "x");
    assert!(bench.turn(0));
    let sent = readers.iter().filter(|reader| !reader.received().is_empty()).count();
    assert_eq!(sent, 256);
    assert!(bench.turn(0));
    assert!(!bench.turn(0));
}

#[test]
fn a_client_that_keeps_sending_does_not_occupy_the_worker() {
    let mut bench = Bench::new();
    let (flooding, other) = (Reader::default(), bench.open("news", 0));
    flooding.0.lock().is_flooding = true;
    bench.open_with("news", 0, None, &flooding);
    assert!(bench.turn(0), "the turn ends although the client is ready again");
    bench.publish("news", "x");
    assert!(bench.turn(0));
    assert_eq!((other.received(), flooding.received()), ("open:0 x@1 ".into(), "open:0 x@1 ".into()));
}
