//! Runs channels under the deterministic scheduler: publishers, members that come, leave, return
//! and end, and histories that shrink, in thousands of orders.

use std::collections::BTreeSet;

use super::channels::{Channels, EncodeChannel, Published};
use super::sessions::Session;
use super::*;
use crate::call::channel::ListSize;
use crate::call::{ChannelKeep, ChannelMessage, ChannelPosition, ChannelSettings};

/// The channel that all runs use, and one that comes and goes.
const ROOM: &str = "a";
const BRIEF: &str = "b";

const SETTINGS: ChannelSettings = ChannelSettings {
    count: 100,
    age: Duration::from_secs(300),
    bytes: u64::MAX,
    keep: ChannelKeep::Memory,
    presence: true,
    envelope: false,
    is_for_each: false,
};
const PLAIN: ChannelSettings = ChannelSettings {
    count: 0,
    age: Duration::ZERO,
    bytes: 0,
    keep: ChannelKeep::Memory,
    presence: false,
    envelope: false,
    is_for_each: false,
};

struct Encoder;

impl EncodeChannel for Encoder {
    fn encode(&self, _: &str, message: &ChannelMessage, _: Option<ChannelPosition>, _: bool, _: Encoding) -> Bytes {
        let text = format!("{}@{}", message.payload.to_text(), message.offset);
        chunk(64, |bytes| bytes.extend_from_slice(text.as_bytes()))
    }
}

type Got = Arc<Mutex<Vec<(String, u64)>>>;

/// A client that does not always read.
struct Member(Got);

impl Client for Member {
    fn peer(&self) -> IpAddr {
        Ipv4Addr::LOCALHOST.into()
    }

    fn notice(&mut self, _: Notice) -> Bytes {
        Bytes::new()
    }

    fn poll_write(&mut self, outbox: &mut Outbox, cx: &mut Context<'_>) -> Poll<Result<(), Gone>> {
        while !outbox.is_empty() {
            if thread_rng().gen_bool(0.2) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let text = outbox.take(Encoding::Sse).unwrap();
            self.0.lock().unwrap().push(read(&text));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read(&mut self, _: &mut Outbox, _: &mut Context<'_>) -> Result<Received, Gone> {
        Ok(Received::Nothing)
    }

    fn poll_end(&mut self, _: &mut Context<'_>) -> Poll<()> {
        Poll::Ready(())
    }
}

/// A node with channels.
#[derive(Clone)]
struct Node {
    run: Arc<Run>,
    channels: Arc<Channels>,
}

impl Node {
    fn new(max_history: u64) -> Node {
        let run = Arc::new(Run::with_history(ROOMY, max_history));
        let channels = Channels::new(EPOCH, 100, 10, 1_000, run.namespace.clone(), Arc::new(Encoder));
        Node { run, channels }
    }

    /// Connects a client.
    fn open(&self, id: &str, worker: u32) -> (Arc<Session>, Got) {
        let (namespace, got) = (&self.run.namespace, Got::default());
        let place = namespace.reserve(id, Limits { max: 100, max_per_topic: 1 }).unwrap();
        let topic = place.topic.id;
        namespace.attach(place, worker, None, Box::new(Member(got.clone())));
        (Arc::new(Session { id: id.into(), worker, topic, joined: channels::Joined::new() }), got)
    }

    /// Runs the fan-outs until [`FanOuts::end`].
    fn fan_out(&self) -> FanOuts {
        let is_done = Arc::new(AtomicBool::new(false));
        let threads = (0..WORKERS).map(|worker| self.run.fan_out(worker, &is_done)).collect();
        FanOuts { namespace: self.run.namespace.clone(), is_done, threads }
    }

    fn spawn<T: Send + 'static>(&self, act: impl FnOnce(&Node) -> T + Send + 'static) -> thread::JoinHandle<T> {
        let node = self.clone();
        thread::spawn(move || act(&node))
    }

    fn publish(&self, channel: &str, text: &str, settings: &ChannelSettings) -> Option<u64> {
        let message = Published { payload: text.into(), session: None, settings };
        self.channels.publish(channel, message).unwrap().map(|at| at.offset)
    }

    /// All kept messages with their numbers, and whether they are complete.
    fn kept(&self) -> (Vec<(String, u64)>, bool) {
        let epoch = self.channels.history(ROOM, None, 0, 0).unwrap().epoch;
        let after = ChannelPosition { epoch, offset: 0 };
        let page = self.channels.history(ROOM, Some(after), 1_000, u64::MAX).unwrap();
        let pair = |message: ChannelMessage| (message.payload.to_text().into_owned(), message.offset);
        (page.messages.into_iter().map(pair).collect(), page.complete)
    }

    fn latest(&self) -> u64 {
        self.channels.history(ROOM, None, 0, 0).map_or(0, |page| page.latest)
    }
}

/// The fan-outs of all workers.
struct FanOuts {
    namespace: Arc<Namespace>,
    is_done: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl FanOuts {
    /// Sends everything that is queued, and ends all connections.
    fn end(self) {
        self.is_done.store(true, SeqCst);
        self.namespace.close_all(Reach::Node);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

/// What a client that comes back and leaves again knows.
struct Visit {
    /// The latest offsets before and after it subscribed, and before and after it left.
    bounds: [u64; 4],
    /// What it has missed while it was away.
    page: Vec<u64>,
}

/// Members come, return with what they have missed, leave and end while others publish.
fn visits(max_history: u64) {
    let node = Node::new(max_history);
    let fan_outs = node.fan_out();
    let (stays, got_all) = node.open("stays", 0);
    let (watches, got_changes) = node.open("watches", 1);
    let (visits, got_some) = node.open("visits", 1);
    let (ends, _) = node.open("ends", 0);
    node.channels.subscribe("presence/a", &watches, None, &SETTINGS).unwrap();
    node.channels.subscribe(ROOM, &stays, None, &SETTINGS).unwrap();
    let publishers = ["x", "y"].map(|name| {
        node.spawn(move |node| {
            let numbers: Vec<_> =
                (0..3).map(|index| node.publish(ROOM, &format!("{name}{index}"), &SETTINGS)).collect();
            assert!(numbers.is_sorted() && numbers.iter().all(Option::is_some), "{numbers:?}");
        })
    });
    let visitor = node.spawn(move |node| {
        let mut visit = Visit { bounds: [0; 4], page: Vec::new() };
        visit.bounds[0] = node.latest();
        assert_eq!(node.channels.subscribe(ROOM, &visits, None, &SETTINGS), Ok(true));
        let (page, complete) = node.kept();
        assert!(complete || max_history < u64::MAX);
        visit.page = page.into_iter().map(|(_, offset)| offset).collect();
        visit.bounds[1] = node.latest();
        visit.bounds[2] = node.latest();
        assert!(node.channels.unsubscribe(ROOM, &visits));
        visit.bounds[3] = node.latest();
        visit
    });
    let subscribing = {
        let ends = ends.clone();
        node.spawn(move |node| {
            _ = node.channels.subscribe(ROOM, &ends, None, &SETTINGS);
            _ = node.channels.unsubscribe(ROOM, &ends);
            node.channels.subscribe(ROOM, &ends, None, &SETTINGS)
        })
    };
    let ending = node.spawn(move |node| {
        let left = node.channels.leave_all(&ends);
        assert!(left.len() <= 1);
        assert!(!node.channels.is_subscribed(ROOM, &ends));
        assert!(
            node.channels.members(ROOM, &ListSize::ANY).unwrap().iter().all(|member| member.session != ends.id),
            "it has ended"
        );
    });
    publishers.into_iter().for_each(|publisher| publisher.join().unwrap());
    let visit = visitor.join().unwrap();
    _ = subscribing.join().unwrap();
    ending.join().unwrap();
    assert_eq!((node.channels.count(ROOM), node.channels.totals().subscriptions), (1, 2));
    let (kept, _) = node.kept();
    fan_outs.end();

    let all = got_all.lock().unwrap().clone();
    assert_eq!(all.iter().map(|(_, offset)| *offset).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
    for name in ["x", "y"] {
        let of: Vec<_> = all.iter().filter(|(text, _)| text.starts_with(name)).map(|(text, _)| text).collect();
        assert_eq!(of, [&format!("{name}0"), &format!("{name}1"), &format!("{name}2")]);
    }
    if max_history == u64::MAX {
        assert_eq!(kept, all);
    } else {
        assert!(all.ends_with(&kept) && node.run.namespace.memory.history() <= max_history);
    }
    check_visit(&visit, &got_some.lock().unwrap(), max_history == u64::MAX);
    check_changes(&got_changes.lock().unwrap());
}

fn check_visit(visit: &Visit, got: &[(String, u64)], is_complete: bool) {
    let live: Vec<u64> = got.iter().map(|(_, offset)| *offset).collect();
    let [before, subscribed, leaves, left] = visit.bounds;
    assert!(live.is_sorted_by(|one, other| one < other), "{live:?}");
    assert!(live.iter().all(|offset| *offset > before && *offset <= left), "{live:?} in {:?}", visit.bounds);
    assert!((subscribed + 1..=leaves).all(|offset| live.contains(&offset)), "{live:?} in {:?}", visit.bounds);
    if is_complete {
        // The page and what came since have no gap.
        let both: BTreeSet<u64> = visit.page.iter().chain(&live).copied().collect();
        let last = both.last().copied().unwrap_or_default();
        assert!(both.into_iter().eq(1..=last), "{:?} {live:?}", visit.page);
    }
}

/// Each change that was announced follows from the one before.
fn check_changes(got: &[(String, u64)]) {
    let mut members = BTreeSet::new();
    for (text, _) in got {
        let change: serde_json::Value = serde_json::from_str(text).unwrap();
        let id = change["member"]["id"].as_str().unwrap().to_owned();
        match change["action"].as_str().unwrap() {
            "join" => assert!(members.insert(id), "{got:?}"),
            _ => assert!(members.remove(&id), "{got:?}"),
        }
        assert_eq!(change["count"], members.len(), "{got:?}");
    }
    assert_eq!(members.into_iter().collect::<Vec<_>>(), ["stays"]);
}

/// Members of a channel that is dropped whenever nobody is subscribed get their own messages.
fn brief_channels() {
    let node = Node::new(u64::MAX);
    let fan_outs = node.fan_out();
    let users = [("one", 0), ("two", 1), ("three", 0)].map(|(id, worker)| {
        let (session, got) = node.open(id, worker);
        let user = node.spawn(move |node| {
            for round in 0..2 {
                assert_eq!(node.channels.subscribe(BRIEF, &session, None, &PLAIN), Ok(true));
                assert_eq!(node.publish(BRIEF, &format!("{}{round}", session.id), &PLAIN), None);
                assert!(node.channels.unsubscribe(BRIEF, &session));
            }
        });
        (id, got, user)
    });
    let gots = users.map(|(id, got, user)| {
        user.join().unwrap();
        (id, got)
    });
    assert_eq!(node.channels.totals().channels, 0);
    fan_outs.end();
    for (id, got) in gots {
        let got: Vec<String> = got.lock().unwrap().iter().map(|(text, _)| text.clone()).collect();
        let own: Vec<&String> = got.iter().filter(|text| text.starts_with(id)).collect();
        assert_eq!(own, [&format!("{id}0"), &format!("{id}1")], "{got:?}");
    }
}

/// A session is unsubscribed twice at the same time, and then subscribed again.
fn twice() {
    let node = Node::new(u64::MAX);
    let fan_outs = node.fan_out();
    let (session, got) = node.open("one", 0);
    assert_eq!(node.channels.subscribe(BRIEF, &session, None, &PLAIN), Ok(true));
    let other = session.clone();
    let leaves = node.spawn(move |node| node.channels.unsubscribe(BRIEF, &other));
    let has_left = node.channels.unsubscribe(BRIEF, &session);
    // It has left: one of both calls has removed it.
    assert_eq!(node.channels.subscribe(BRIEF, &session, None, &PLAIN), Ok(true));
    node.publish(BRIEF, "x", &PLAIN);
    let left = u32::from(has_left) + u32::from(leaves.join().unwrap());
    assert_eq!(node.channels.count(BRIEF), 2 - left);
    assert_eq!(node.channels.is_subscribed(BRIEF, &session), left == 1);
    node.publish(BRIEF, "y", &PLAIN);
    fan_outs.end();
    let got: Vec<String> = got.lock().unwrap().iter().map(|(text, _)| text.clone()).collect();
    assert_eq!(got.contains(&"y".to_owned()), left == 1, "{got:?}");
}

#[test]
fn members_get_all_messages_in_order_while_others_come_and_go() {
    check_run(|| visits(u64::MAX));
}

#[test]
fn members_get_all_messages_in_order_while_histories_shrink() {
    check_run(|| visits(700));
}

#[test]
fn members_of_a_channel_that_comes_and_goes_get_their_messages() {
    check_run(brief_channels);
}

#[test]
fn a_session_that_has_left_can_return_while_another_caller_makes_it_leave() {
    check_run(twice);
}
