//! Runs the hub under a deterministic scheduler: publishers, clients that leave and return, and
//! closings, in thousands of orders. Whatever the order, a client misses no message, gets none
//! twice, and gets them in order, unless it is told that it has missed some.
//!
//! The files of the hub are compiled a second time, with the locks of the scheduler.

#![allow(dead_code, unused_imports, reason = "the model does not use all of the hub")]
#![allow(clippy::duplicate_mod, reason = "these files are compiled with other locks here")]

#[path = "../capacity.rs"]
mod capacity;
mod channel_runs;
#[path = "../channels.rs"]
mod channels;
#[path = "../chunk.rs"]
mod chunk;
#[path = "../client.rs"]
mod client;
#[path = "../connections.rs"]
mod connections;
#[path = "../counters.rs"]
mod counters;
#[path = "../delivery.rs"]
mod delivery;
#[path = "../eviction.rs"]
mod eviction;
#[path = "../fanout.rs"]
mod fanout;
#[path = "../frame.rs"]
mod frame;
#[path = "../histories.rs"]
mod histories;
#[path = "../ids.rs"]
mod ids;
#[path = "../inbox.rs"]
mod inbox;
#[path = "../message.rs"]
mod message;
#[path = "../namespace.rs"]
mod namespace;
#[path = "../outbox.rs"]
mod outbox;
mod reader;
#[path = "../ring.rs"]
mod ring;
mod sessions;
#[path = "../shards.rs"]
mod shards;
#[path = "../slow.rs"]
mod slow;
mod sync;
#[path = "../topic.rs"]
mod topic;
#[path = "../work.rs"]
mod work;

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicBool, Ordering::SeqCst};
use shuttle::sync::mpsc::{Sender, channel};
use shuttle::sync::{Condvar, Mutex};
use shuttle::{future, thread};

use self::chunk::chunk;
use self::client::{Client, Gone, Received};
use self::fanout::Fanout;
use self::frame::Memory;
use self::inbox::Inbox;
use self::message::{
    ClientKind, Encoding, HistoryLimits, Limits, Message, Notice, Pinged, Position, QueueLimits, Reach, Resume,
    TopicSettings,
};
use self::namespace::{Inboxes, Namespace};
use self::outbox::Outbox;
use self::reader::{END, Log, Reader, SharedLog};

const WORKERS: u32 = 2;
const EPOCH: u64 = 0xe;

struct Text(String);

impl Message for Text {
    fn encode(&self, _: Encoding, id: Option<&Position>) -> Bytes {
        let number = id.map_or(0, |id| id.number);
        chunk(16, |bytes| bytes.extend_from_slice(format!("{}@{number}", self.0).as_bytes()))
    }

    fn own_id(&self) -> Option<&str> {
        None
    }

    fn size(&self) -> usize {
        0
    }
}

/// What differs between the models.
#[derive(Clone, Copy)]
struct Setup {
    history: usize,
    inbox: usize,
    queue: usize,
    topics: u32,
    closes: bool,
}

const ROOMY: Setup = Setup { history: 100, inbox: 100, queue: 1_000, topics: 100, closes: false };

struct Run {
    namespace: Arc<Namespace>,
    setup: Setup,
}

impl Run {
    fn new(setup: Setup) -> Run {
        Run::with_history(setup, u64::MAX)
    }

    /// `max_history` is `hub.history`.
    fn with_history(setup: Setup, max_history: u64) -> Run {
        let settings = TopicSettings {
            kind: ClientKind::Sse,
            history: HistoryLimits { count: setup.history, age: Duration::from_secs(300), bytes: u64::MAX },
            queue: QueueLimits { events: setup.queue, bytes: u64::MAX },
            ping: Duration::ZERO,
            pinged: Pinged::Quiet,
            silence: Duration::ZERO,
            message: Duration::ZERO,
            idle_timeout: Duration::from_secs(3_600),
            drain: Duration::ZERO,
        };
        let inboxes: Arc<[_]> = (0..WORKERS).map(|_| Arc::new(Inbox::new(setup.inbox, u64::MAX))).collect();
        let inboxes = Inboxes { own: inboxes.clone(), all: inboxes };
        let memory = Arc::new(Memory::new(max_history, u64::MAX));
        let namespace = Namespace::new(EPOCH, setup.topics, settings, inboxes, memory, Arc::default());
        Run { namespace: Arc::new(namespace), setup }
    }

    /// Follows a topic until the end, with connections that leave after `stays` messages.
    fn follow(&self, topic: &'static str, first: u32, stays: usize, attached: Sender<()>) -> thread::JoinHandle<Log> {
        let namespace = self.namespace.clone();
        thread::spawn(move || {
            let shared = SharedLog::default();
            for worker in (first..).map(|index| index % WORKERS) {
                let last = {
                    let mut log = shared.0.lock().unwrap();
                    log.is_open = true;
                    log.last
                };
                let resume = last.map(|number| Resume::Id(Position { epoch: EPOCH, number }.to_string()));
                let place = namespace.reserve(topic, Limits { max: 100, max_per_topic: 100 }).unwrap();
                let reader = Reader { log: shared.clone(), stays, is_gone: false };
                namespace.attach(place, worker, resume.as_ref(), Box::new(reader));
                _ = attached.send(());
                let mut log = shared.0.lock().unwrap();
                while log.is_open {
                    log = shared.1.wait(log).unwrap();
                }
                if log.messages.last().is_some_and(|(text, _)| text == END) {
                    break;
                }
            }
            std::mem::take(&mut *shared.0.lock().unwrap())
        })
    }

    /// Publishes some messages to a topic, or to all.
    fn publish(&self, topic: Option<&'static str>, name: &'static str, count: usize) -> thread::JoinHandle<()> {
        let namespace = self.namespace.clone();
        thread::spawn(move || {
            for index in 0..count {
                publish(&namespace, topic, &format!("{name}{index}"));
            }
        })
    }

    /// Runs the fan-out of a worker until `is_done` is set and no connection is left.
    fn fan_out(&self, worker: u32, is_done: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
        let (namespace, is_done) = (self.namespace.clone(), is_done.clone());
        thread::spawn(move || {
            let (mut fanout, now) = (Fanout::new(&namespace, worker).unwrap(), Instant::now());
            future::block_on(poll_fn(|cx| {
                while fanout.poll(cx, now).is_ready() {}
                if !is_done.load(SeqCst) {
                    return Poll::Pending;
                }
                // Something may have been added after the poll, before `is_done` was set.
                while fanout.poll(cx, now).is_ready() {}
                if fanout.is_empty() { Poll::Ready(()) } else { Poll::Pending }
            }));
        })
    }

    /// Runs publishers, clients and closings to the end, and checks what the clients got.
    fn run(self) {
        let is_done = Arc::new(AtomicBool::new(false));
        let fanouts: Vec<_> = (0..WORKERS).map(|worker| self.fan_out(worker, &is_done)).collect();
        // A client that leaves amid what follows a reset gets the same reset again.
        let least = if self.setup.history < 100 { 2 * self.setup.history + 1 } else { 0 };
        // Clients that return often find that their topic made room for another one.
        let (stays, unread, later) = if self.setup.topics < 100 { ([0, 0, 0], 3, 4) } else { ([2, 100, 3], 0, 2) };
        let followers = [("a", 0, stays[0]), ("a", 1, stays[1]), ("b", 0, stays[2])].map(|(topic, worker, stays)| {
            let (attached, is_attached) = channel();
            (topic, self.follow(topic, worker, stays + least, attached), is_attached)
        });
        // Nobody follows `c`, whose history takes the place of others if there is no room.
        let publishers = [
            (Some("a"), "x", 3),
            (Some("a"), "y", 2),
            (Some("b"), "z", later),
            (Some("c"), "unread", unread),
            (None, "all", 2),
        ];
        let publishers = publishers.map(|(topic, name, count)| self.publish(topic, name, count));
        if self.setup.closes {
            self.namespace.close("a", Reach::Node);
        }
        publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
        // A client that opens its first stream after the end would wait for ever.
        followers.iter().for_each(|(_, _, is_attached)| is_attached.recv().unwrap());
        publish(&self.namespace, None, END);
        let logs = followers.map(|(topic, follower, _)| (topic, follower.join().unwrap()));
        assert_eq!(self.namespace.count(None), 0);
        is_done.store(true, SeqCst);
        self.namespace.close_all(Reach::Node);
        fanouts.into_iter().for_each(|fanout| fanout.join().unwrap());
        for (topic, log) in &logs {
            self.check(topic, log);
        }
        let shared = |topic: &str, of: &str| {
            let logs = logs.iter().filter(|(name, _)| *name == topic);
            logs.map(|(_, log)| {
                log.messages.iter().filter(|(text, _)| text.starts_with(of)).cloned().collect::<Vec<_>>()
            })
            .collect::<Vec<_>>()
        };
        if self.setup.history >= 100 {
            // All clients agree on the order of the messages to all.
            for messages in [shared("a", "all"), shared("b", "all")].concat() {
                assert!(messages.iter().all(|(text, number)| self.number_of("a", text) == Some(*number)));
            }
        }
    }

    /// What the history of a topic has after a number.
    fn history(&self, topic: &str, number: u64) -> Vec<(String, u64)> {
        let place = self.namespace.reserve(topic, Limits { max: 100, max_per_topic: 100 }).unwrap();
        let resume = Resume::Id(Position { epoch: EPOCH, number }.to_string());
        let mut state = place.topic.state.lock();
        let (_, replay) = self.namespace.start(&mut state.ring, Some(&resume), 0);
        replay.iter().map(|frame| read(&frame.text(Encoding::Sse))).collect()
    }

    fn number_of(&self, topic: &str, text: &str) -> Option<u64> {
        self.history(topic, 0).into_iter().find(|(found, _)| found == text).map(|(_, number)| number)
    }

    fn check(&self, topic: &str, log: &Log) {
        let numbers: Vec<u64> = log.messages.iter().map(|(_, number)| *number).collect();
        if self.setup.history >= 100 {
            assert_eq!(log.resets, [] as [usize; 0]);
            assert_eq!(log.messages, self.history(topic, log.start.unwrap()), "start {:?}", log.start);
            return;
        }
        // After a reset, messages may be missing or come again. Between resets all is in order, and
        // what the history still has is complete.
        let mut bounds = vec![0];
        bounds.extend(&log.resets);
        bounds.push(numbers.len());
        for part in bounds.windows(2).map(|bound| &numbers[bound[0]..bound[1]]) {
            assert!(part.is_sorted_by(|one, other| one < other), "{:?} {:?}", log.messages, log.resets);
        }
        let kept = self.history(topic, 0);
        let last_part = &log.messages[*log.resets.last().unwrap_or(&0)..];
        let first = last_part.first().map_or(0, |(_, number)| *number);
        let mut expected = kept.iter().filter(|(_, number)| *number >= first);
        assert!(expected.all(|message| last_part.contains(message)), "{last_part:?} {kept:?}");
        // Of each publisher, a part without a reset has consecutive messages.
        for bound in bounds.windows(2) {
            for name in ["x", "y", "z", "all"] {
                let part = &log.messages[bound[0]..bound[1]];
                let of: Vec<u32> = part.iter().filter_map(|(text, _)| text.strip_prefix(name)?.parse().ok()).collect();
                assert!(of.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{name}: {part:?} of {:?}", log.messages);
            }
        }
    }
}

fn publish(namespace: &Namespace, topic: Option<&str>, text: &str) {
    let message = Arc::new(Text(text.to_owned()));
    match topic {
        Some(topic) => namespace.publish(topic, message, Reach::Node),
        None => namespace.publish_all(message, Reach::Node),
    };
}

fn read(text: &[u8]) -> (String, u64) {
    let (text, number) = std::str::from_utf8(text).unwrap().split_once('@').unwrap();
    (text.to_owned(), number.parse().unwrap())
}

/// Runs a model in random orders, and in orders with few changes of the running thread, which find
/// other faults.
fn check(setup: Setup) {
    check_run(move || Run::new(setup).run());
}

fn check_run(run: impl Fn() + Clone + Send + Sync + 'static) {
    let mut config = shuttle::Config::new();
    config.silence_warnings = true;
    config.stack_size = 256 * 1024;
    shuttle::Runner::new(shuttle::scheduler::RandomScheduler::new(1_500), config.clone()).run(run.clone());
    shuttle::Runner::new(shuttle::scheduler::PctScheduler::new(4, 1_500), config).run(run);
}

#[test]
fn clients_that_leave_and_return_miss_nothing_and_get_nothing_twice() {
    check(ROOMY);
}

#[test]
fn clients_whose_streams_are_closed_miss_nothing_when_they_return() {
    check(Setup { closes: true, ..ROOMY });
}

#[test]
fn clients_that_a_full_inbox_cuts_miss_nothing_when_they_return() {
    check(Setup { inbox: 2, ..ROOMY });
}

#[test]
fn clients_that_miss_messages_are_told() {
    check(Setup { history: 2, ..ROOMY });
}

#[test]
fn clients_that_miss_messages_are_told_even_if_inboxes_are_full() {
    check(Setup { history: 2, inbox: 2, closes: true, ..ROOMY });
}

#[test]
fn clients_whose_queues_are_full_miss_nothing() {
    check(Setup { queue: 1, ..ROOMY });
}

#[test]
fn clients_whose_topics_make_room_for_others_are_told() {
    check(Setup { history: 1, topics: 2, ..ROOMY });
}
