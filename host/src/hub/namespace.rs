//! Topics of one kind, with one order of all their messages.
//!
//! A publish takes `order` shared, then the lock of its topic. Under both it takes a number, and
//! adds the message to the history and to the inboxes of the workers with members. So the messages
//! of a topic reach each worker in the order of their numbers. A publish to all topics takes
//! `order` exclusively, so that it has the same place among all other publishes for every client.
//! A client attaches under the locks of a publish, so that its replay ends where its inbox begins.
//!
//! Locks are taken in this order: `order`, shard, topic, `all`, inbox.
//!
//! A client that returns gets the messages after its last id from two histories: that of its topic
//! and that of the messages to all topics. The id is one that a publisher has set (then the newest
//! kept message with this id counts), or a position. If either history has dropped a message after
//! that place, the client gets `reset`, and then everything that both keep.
//!
//! Messages for one worker have no position and no history, because each worker publishes its own
//! copy: a client that returns to another worker could only miss them or receive them twice.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::client::Client;
use super::counters::Counters;
use super::frame::{Frame, Memory};
use super::inbox::{Attach, EACH, Inbox, Start, Wakers};
use super::message::{HistoryLimits, HubError, Limits, Message, Position, Reach, Resume, TopicSettings};
use super::ring::Ring;
use super::shards::{Place, Shards};
use super::sync::{AtomicU64, Mutex, RwLock};
use super::topic::TopicState;

pub struct Namespace {
    pub shards: Arc<Shards>,
    pub inboxes: Inboxes,
    pub memory: Arc<Memory>,
    pub settings: TopicSettings,
    pub counters: Arc<Counters>,
    epoch: u64,
    /// Shared by publishes to one topic or channel, exclusive for those to all.
    pub order: RwLock<()>,
    /// The last number that was given out.
    last: AtomicU64,
    /// The messages to all topics.
    pub all: Mutex<Ring>,
    /// The shard that the next sweep looks at.
    next_sweep: AtomicUsize,
}

/// A topic whose connections are in one worker.
#[derive(Debug, Clone)]
pub struct Addressee {
    pub name: Arc<str>,
    /// [`Topic::id`](super::topic::Topic::id).
    pub topic: u64,
    pub worker: u32,
}

/// The inboxes of the workers.
pub struct Inboxes {
    /// Those of this namespace, one for each worker.
    pub own: Arc<[Arc<Inbox>]>,
    /// Those of all namespaces that share the memory.
    pub all: Arc<[Arc<Inbox>]>,
}

impl Namespace {
    pub fn new(
        epoch: u64,
        max_topics: u32,
        settings: TopicSettings,
        inboxes: Inboxes,
        memory: Arc<Memory>,
        counters: Arc<Counters>,
    ) -> Namespace {
        Namespace {
            shards: Arc::new(Shards::new(max_topics)),
            inboxes,
            memory,
            settings,
            counters,
            epoch,
            order: RwLock::new(()),
            last: AtomicU64::new(0),
            all: Mutex::new(Ring::default()),
            next_sweep: AtomicUsize::new(0),
        }
    }

    fn history(&self) -> &HistoryLimits {
        &self.settings.history
    }

    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, number: self.last.load(std::sync::atomic::Ordering::SeqCst) }
    }

    /// Takes the next number. The caller holds the locks under which the message is added.
    fn next(&self) -> Position {
        let number = self.last.fetch_add(1, std::sync::atomic::Ordering::SeqCst).wrapping_add(1);
        Position { epoch: self.epoch, number }
    }

    /// Takes a number for no message, and returns it.
    pub fn skip(&self) -> u64 {
        let _order = self.order.write();
        self.next().number
    }

    /// Publishes to one topic. Returns the number of connections that the message is queued for.
    pub fn publish(&self, name: &str, message: Arc<dyn Message>, reach: Reach) -> u32 {
        Counters::add(&self.counters.published, 1);
        let mut wakers = Wakers::default();
        let queued = match reach {
            Reach::Node => self.publish_in_node(name, message, &mut wakers),
            Reach::Worker(worker) => self.publish_in_worker(name, message, worker, &mut wakers),
        };
        drop(wakers);
        self.memory.evict();
        queued
    }

    fn publish_in_node(&self, name: &str, message: Arc<dyn Message>, wakers: &mut Wakers) -> u32 {
        let is_kept = self.history().is_on();
        let _order = self.order.read();
        loop {
            let topic = if is_kept { self.shards.get_or_add(name) } else { self.shards.get(name) };
            let Some(topic) = topic else {
                // A client that returns later must learn that it has missed this message.
                if is_kept && !self.shards.lose(name, || self.next().number) {
                    continue;
                }
                if is_kept {
                    Counters::add(&self.counters.refused_topics, 1);
                }
                return 0;
            };
            let mut state = topic.state.lock();
            if state.is_removed {
                continue;
            }
            if state.members.is_empty() && !is_kept {
                return 0;
            }
            let mut frame = Frame::new(message, &self.memory, is_kept);
            frame.set_position(self.next());
            let frame = Arc::new(frame);
            if is_kept {
                state.ring.push(frame.clone(), Instant::now(), self.history());
                self.shards.parts.note_history(topic.shard, state.ring.bytes());
            }
            return self.send(topic.id, &frame, &mut state, None, wakers);
        }
    }

    fn publish_in_worker(&self, name: &str, message: Arc<dyn Message>, worker: u32, wakers: &mut Wakers) -> u32 {
        let _order = self.order.read();
        let Some(topic) = self.shards.get(name) else { return 0 };
        let mut state = topic.state.lock();
        if !state.members.iter().any(|member| member.worker == worker) {
            return 0;
        }
        let frame = Arc::new(Frame::new(message, &self.memory, false));
        self.send(topic.id, &frame, &mut state, Some(worker), wakers)
    }

    /// Publishes one message to several topics, each with its connections in one worker. No history
    /// keeps it. Returns the number of topics that the message is queued for.
    pub fn publish_each(&self, to: &[Addressee], message: Arc<dyn Message>) -> u32 {
        Counters::add(&self.counters.published, 1);
        let (mut wakers, mut queued) = (Wakers::default(), 0);
        let frame = Arc::new(Frame::new(message, &self.memory, false));
        let order = self.order.read();
        for (worker, inbox) in (0..).zip(self.inboxes.own.iter()) {
            let of_worker = || to.iter().filter(|one| one.worker == worker);
            let topics: Vec<u64> = of_worker().map(|one| one.topic).collect();
            queued += topics.len();
            let bytes = size_of_val(topics.as_slice()) as u64;
            if topics.is_empty() || inbox.push_each(EACH, topics.into(), bytes, &frame, &mut wakers) {
                continue;
            }
            of_worker().for_each(|one| self.cut(one, &mut wakers));
        }
        drop(order);
        u32::try_from(queued).unwrap_or(u32::MAX)
    }

    /// Cuts the connections of a topic in one worker, which have missed a message. The caller holds
    /// `order`.
    pub fn cut(&self, one: &Addressee, wakers: &mut Wakers) {
        let Some(inbox) = self.inboxes.own.get(one.worker as usize) else { return };
        let Some(topic) = self.shards.get(&one.name) else { return };
        let mut state = topic.state.lock();
        let member = state.members.iter_mut().find(|member| member.worker == one.worker);
        wakers.add(member.and_then(|member| inbox.push_cut(topic.id, &mut member.is_cut)));
    }

    /// Queues a frame for one topic. No history keeps it.
    pub fn push(&self, one: &Addressee, frame: &Arc<Frame>) {
        let mut wakers = Wakers::default();
        let _order = self.order.read();
        let Some(topic) = self.shards.get(&one.name) else { return };
        self.send(topic.id, frame, &mut topic.state.lock(), Some(one.worker), &mut wakers);
    }

    /// Adds a frame to the inboxes of all workers with members, or of one of them.
    fn send(
        &self,
        topic: u64,
        frame: &Arc<Frame>,
        state: &mut TopicState,
        worker: Option<u32>,
        wakers: &mut Wakers,
    ) -> u32 {
        let mut queued = 0u32;
        for member in state.members.iter_mut().filter(|member| worker.is_none_or(|worker| worker == member.worker)) {
            if let Some(inbox) = self.inboxes.own.get(member.worker as usize) {
                wakers.add(inbox.push_frame(topic, frame, &mut member.is_cut));
                queued = queued.saturating_add(member.count);
            }
        }
        queued
    }

    /// Publishes to all topics. Returns the number of connections that the message is queued for.
    pub fn publish_all(&self, message: Arc<dyn Message>, reach: Reach) -> u32 {
        Counters::add(&self.counters.published, 1);
        let mut wakers = Wakers::default();
        let is_kept = self.history().is_on() && reach == Reach::Node;
        let mut frame = Frame::new(message, &self.memory, is_kept);
        let mut queued = 0u32;
        let order = self.order.write();
        if reach == Reach::Node {
            frame.set_position(self.next());
        }
        let frame = Arc::new(frame);
        if is_kept {
            self.all.lock().push(frame.clone(), Instant::now(), self.history());
        }
        for inbox in self.reached(reach) {
            let attached = inbox.attached.load(Relaxed);
            if attached > 0 {
                wakers.add(inbox.push_all(&frame));
                queued = queued.saturating_add(attached);
            }
        }
        drop(order);
        drop((frame, wakers));
        self.memory.evict();
        queued
    }

    fn reached(&self, reach: Reach) -> impl Iterator<Item = &Arc<Inbox>> {
        let is_reached = move |index: usize| match reach {
            Reach::Node => true,
            Reach::Worker(worker) => index == worker as usize,
        };
        self.inboxes.own.iter().enumerate().filter(move |(index, _)| is_reached(*index)).map(|(_, inbox)| inbox)
    }

    /// Ends the connections of a topic once what is queued was sent. Returns how many.
    pub fn close(&self, name: &str, reach: Reach) -> u32 {
        let mut wakers = Wakers::default();
        let _order = self.order.read();
        let Some(topic) = self.shards.get(name) else { return 0 };
        let (mut state, mut closed) = (topic.state.lock(), 0u32);
        for member in &mut state.members {
            let is_reached = matches!(reach, Reach::Node) || reach == Reach::Worker(member.worker);
            let inbox = self.inboxes.own.get(member.worker as usize).filter(|_| is_reached && !member.is_closed);
            if let Some(inbox) = inbox {
                member.is_closed = true;
                wakers.add(inbox.push_close(topic.id));
                closed = closed.saturating_add(member.count);
            }
        }
        closed
    }

    /// Ends all connections once what is queued was sent. Returns how many.
    pub fn close_all(&self, reach: Reach) -> u32 {
        let mut wakers = Wakers::default();
        let _order = self.order.write();
        let mut closed = 0u32;
        for inbox in self.reached(reach) {
            let (count, waker) = inbox.push_close_all();
            wakers.add(waker);
            closed = closed.saturating_add(count);
        }
        closed
    }

    /// The open connections of one topic, or of all.
    pub fn count(&self, name: Option<&str>) -> u32 {
        match name {
            Some(name) => self.shards.get(name).map_or(0, |topic| topic.state.lock().open),
            None => self.shards.open(),
        }
    }

    pub fn reserve(&self, name: &str, limits: Limits) -> Result<Place, HubError> {
        let reserved = self.shards.reserve(name, limits);
        match &reserved {
            Err(HubError::Full { .. }) => Counters::add(&self.counters.refused_connections, 1),
            Err(HubError::TopicFull { .. }) => Counters::add(&self.counters.refused_per_topic, 1),
            Err(HubError::TooManyTopics { .. }) => Counters::add(&self.counters.refused_topics, 1),
            Err(HubError::Stopping) | Ok(_) => {}
        }
        reserved
    }

    /// Gives a connection to the fan-out of its worker.
    pub fn attach(&self, place: Place, worker: u32, resume: Option<&Resume>, client: Box<dyn Client>) {
        let Some(inbox) = self.inboxes.own.get(worker as usize) else { return };
        let topic = place.topic.clone();
        let order = self.order.read();
        // The place keeps the topic in the map.
        let mut state = topic.state.lock();
        let (start, replay) = self.start(&mut state.ring, resume, place.since);
        let attach = Box::new(Attach { place, client, start, replay });
        let pushed = inbox.push_attach(attach);
        if pushed.is_ok() {
            state.join(worker);
        }
        drop((state, order));
        match pushed {
            Ok(waker) => drop(waker.map(std::task::Waker::wake)),
            // Dropping the client takes locks.
            Err(attach) => drop(attach),
        }
    }

    /// Returns where a client starts, and what it gets first. Before the number `since`, messages
    /// may be missing. The caller holds the locks under which messages are added.
    pub fn start(&self, ring: &mut Ring, resume: Option<&Resume>, since: u64) -> (Start, Vec<Arc<Frame>>) {
        let Some(Resume::Id(id)) = resume else {
            let position = self.history().is_on().then(|| self.position());
            return (Start::After(position), Vec::new());
        };
        if !self.history().is_on() {
            return (Start::Reset(None), Vec::new());
        }
        let (mut all, now) = (self.all.lock(), Instant::now());
        ring.expire(now, self.history());
        all.expire(now, self.history());
        let own = ring.find_own_id(id).max(all.find_own_id(id));
        let number = own.or_else(|| Some(Position::parse(id).filter(|found| found.epoch == self.epoch)?.number));
        let oldest = ring.dropped().max(all.dropped()).max(since);
        let is_complete = |number: &u64| (oldest..=self.position().number).contains(number);
        match number.filter(is_complete) {
            Some(number) => (Start::After(Some(Position { epoch: self.epoch, number })), merge(ring, &all, number)),
            None => {
                let oldest = [ring.oldest(), all.oldest()].into_iter().flatten().min();
                let number = oldest.map_or(self.position().number, |oldest| oldest.saturating_sub(1));
                (Start::Reset(Some(Position { epoch: self.epoch, number })), merge(ring, &all, 0))
            }
        }
    }

    /// Drops messages of one part of the topics that are too old, and topics that nobody uses.
    pub fn sweep(&self, now: Instant) {
        if !self.history().is_on() {
            return;
        }
        let index = self.next_sweep.fetch_add(1, Relaxed) % self.shards.parts.capacity.shards();
        if index == 0 {
            self.all.lock().expire(now, self.history());
        }
        for topic in self.shards.topics_of(index) {
            let mut state = topic.state.lock();
            state.ring.expire(now, self.history());
            self.shards.parts.note_history(index, state.ring.bytes());
            let is_unused = state.is_unused();
            drop(state);
            if is_unused {
                self.shards.remove_if_unused(&topic);
            }
        }
    }
}

/// The messages of both rings after a number, in order.
fn merge(ring: &Ring, all: &Ring, number: u64) -> Vec<Arc<Frame>> {
    let (mut first, mut second) = (ring.after(number).peekable(), all.after(number).peekable());
    let mut merged = Vec::new();
    loop {
        let next = match (first.peek(), second.peek()) {
            (Some(one), Some(other)) if one.number() > other.number() => second.next(),
            (Some(_), _) => first.next(),
            (None, _) => second.next(),
        };
        match next {
            Some(frame) => merged.push(frame.clone()),
            None => return merged,
        }
    }
}
