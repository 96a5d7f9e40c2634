//! The fan-out as a task of a runtime.

use super::*;
use crate::events::{EventItem, HostEvent};
use tokio_util::sync::CancellationToken;

/// Lets other tasks run until a condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < end, "{what} does not happen");
        tokio::task::yield_now().await;
    }
}

struct Running {
    hub: Arc<Hub>,
    events: Arc<EventLog>,
    announced: CancellationToken,
    closing: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(change: impl FnOnce(&mut TopicSettings)) -> Running {
        let mut settings = TopicSettings::new(&SseConfig::default(), Duration::from_secs(60));
        change(&mut settings);
        let events = Arc::new(EventLog::new(true, true));
        let hub = Hub::new(&HubConfig::default(), settings, session_settings(), 1, events.clone());
        let (announced, closing) = (CancellationToken::new(), CancellationToken::new());
        let task = hub.fanouts(0).next().unwrap().run(announced.clone(), closing.clone());
        assert_eq!(hub.fanouts(1).count(), 0);
        Running { hub, events, announced, closing, task: tokio::spawn(task) }
    }

    fn open(&self, topic: &str) -> Reader {
        let reader = Reader::default();
        let place = self.hub.streams.reserve(topic, LIMITS).unwrap();
        self.hub.streams.attach(place, 0, None, Box::new(MemoryClient(reader.clone())));
        reader
    }
}

#[tokio::test]
async fn publishes_of_other_threads_wake_it() {
    let running = Running::start(|_| {});
    let reader = running.open("news");
    until("the opening", || !reader.received().is_empty()).await;
    let streams = running.hub.streams.clone();
    let publisher = std::thread::spawn(move || {
        (0..5_000).for_each(|_| _ = streams.publish("news", text("x"), Reach::Node));
    });
    let mut count = 0;
    until("the last message", || {
        count += reader.received().matches("x@").count();
        count == 5_000
    })
    .await;
    publisher.join().unwrap();
}

#[tokio::test]
async fn pings_and_timeouts_come_without_other_wakes() {
    let running = Running::start(|settings| {
        settings.ping = Duration::from_millis(20);
        settings.idle_timeout = Duration::from_millis(30);
    });
    let (quiet, stuck) = (running.open("quiet"), running.open("stuck"));
    let mut text_of_quiet = String::new();
    until("three pings", || {
        text_of_quiet.push_str(&quiet.received());
        text_of_quiet.matches("ping").count() >= 3
    })
    .await;
    stuck.set_window(Some(0));
    running.hub.streams.publish("stuck", text("x"), Reach::Node);
    until("the cut", || !stuck.is_open()).await;
    assert!(quiet.is_open());
    let mut reader = running.events.read_after(0);
    until("the event", || running.events.count() == 1).await;
    let Some(EventItem::Event(record)) = reader.try_next() else { panic!("no event") };
    let HostEvent::ClientSlow { kind, key, client, reason, worker, count } = &record.event else {
        panic!("{record:?}")
    };
    assert_eq!((kind.as_str(), key.as_str(), client.as_str()), ("sse", "stuck", "127.0.0.1"));
    assert_eq!((reason.as_str(), *worker, *count), ("timeout", 0, 1));
}

#[tokio::test]
async fn old_messages_leave_the_history_without_other_wakes() {
    let running = Running::start(|settings| settings.history.age = Duration::from_millis(20));
    running.hub.streams.publish("news", text("x"), Reach::Node);
    until("the sweep", || running.hub.streams.topics() == 0).await;
    assert_eq!(running.hub.streams.memory().history(), 0);
}

#[tokio::test]
async fn a_stop_has_two_steps() {
    let running = Running::start(|_| {});
    let (reads, stuck) = (running.open("news"), running.open("news"));
    until("both", || !reads.received().is_empty() && !stuck.received().is_empty()).await;
    stuck.set_window(Some(0));
    running.announced.cancel();
    until("the end", || reads.ended()).await;
    assert_eq!((reads.received(), stuck.is_open()), ("stop ".into(), true));
    running.closing.cancel();
    running.task.await.unwrap();
    assert!(!stuck.is_open());
    assert_eq!(running.hub.streams.count(None), 0);
}
