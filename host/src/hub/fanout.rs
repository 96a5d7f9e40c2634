//! The fan-out of one worker: moves messages from the inbox to the queues of the connections, and
//! lets their clients send.
//!
//! It is one state machine for all connections of a worker. Each client has a waker of its own,
//! which only notes that the connection is ready. So a message to a thousand connections wakes one
//! task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use super::connections::{Connections, Queue};
use super::counters::Counters;
use super::frame::Frame;
use super::inbox::{Attach, Inbox, Item, ReadyWaker, Start};
use super::message::{Notice, SlowReason};
use super::namespace::Namespace;
use super::outbox::Shared;
use super::slow::{SlowLog, SlowReport};

/// The items that the fan-out takes from its inbox at once.
const ITEMS: usize = 256;

/// After this number of messages added to queues, the clients send before more are added.
const PUSHES: usize = 32_768;

/// How often the fan-out looks for more in one turn. Only a client that is always ready, or a
/// publisher that never rests, reaches this number.
const ROUNDS: usize = 32;

/// The clients that send before the fan-out lets the other tasks of its thread run.
const WRITES: usize = 256;

pub struct Fanout {
    worker: u32,
    namespace: Arc<Namespace>,
    inbox: Arc<Inbox>,
    connections: Connections,
    /// Items that it has taken from the inbox.
    items: VecDeque<Item>,
    /// Connections whose client may accept more, or has disconnected.
    ready: Vec<u32>,
    /// Connections that have something to send, and are to try.
    touched: VecDeque<u32>,
    /// The audience of the message in hand.
    targets: Vec<u32>,
    slow: SlowLog,
    is_stopping: bool,
    delivered: u64,
}

impl Fanout {
    /// `None` if there is no such worker.
    pub fn new(namespace: &Arc<Namespace>, worker: u32) -> Option<Fanout> {
        Some(Fanout {
            worker,
            namespace: namespace.clone(),
            inbox: namespace.inboxes.get(worker as usize)?.clone(),
            connections: Connections::default(),
            items: VecDeque::new(),
            ready: Vec::new(),
            touched: VecDeque::new(),
            targets: Vec::new(),
            slow: SlowLog::default(),
            is_stopping: false,
            delivered: 0,
        })
    }

    /// Whether no connection is open.
    #[cfg(test)]
    #[allow(dead_code, reason = "only the model uses it")]
    pub fn is_empty(&self) -> bool {
        self.connections.len() == 0
    }

    /// Works until nothing is left to do or a turn is over. Ready if more is left: let other tasks
    /// run, then call it again. Pending wakes the task; also call it at [`Fanout::deadline`].
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let polled = self.turn(cx, now);
        Counters::add(&self.namespace.counters.delivered, std::mem::take(&mut self.delivered));
        polled
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut writes = 0;
        self.cut_blocked(now);
        self.ping(now);
        for _ in 0..ROUNDS {
            while let Some(index) = self.touched.pop_front() {
                if self.connections.get(index).is_some_and(|connection| std::mem::take(&mut connection.is_touched)) {
                    self.write(index, now);
                    writes += 1;
                    if writes == WRITES {
                        return Poll::Ready(());
                    }
                }
            }
            if self.items.is_empty() {
                let has_more = self.inbox.take(ITEMS, &mut self.items, &mut self.ready, cx.waker());
                if !has_more {
                    return Poll::Pending;
                }
            }
            let mut ready = std::mem::take(&mut self.ready);
            ready.drain(..).for_each(|index| self.look_after(index));
            self.ready = ready;
            let mut pushes = 0;
            while pushes < PUSHES
                && let Some(item) = self.items.pop_front()
            {
                pushes += self.apply(item, now).max(1);
            }
        }
        Poll::Ready(())
    }

    /// Does what an item says. Returns the number of messages that it has added to queues.
    fn apply(&mut self, item: Item, now: Instant) -> usize {
        match item {
            Item::Frame { topic, frame } => {
                self.target(topic);
                self.push_to_targets(frame, now)
            }
            Item::All(frame) => {
                self.targets = self.connections.indexes();
                self.push_to_targets(frame, now)
            }
            Item::Attach(attach) => self.attach(*attach, now),
            Item::Cut { topic } => {
                self.target(topic);
                self.for_targets(|fanout, index| fanout.cut(index, SlowReason::Inbox))
            }
            Item::CutAll => {
                self.targets = self.connections.indexes();
                self.for_targets(|fanout, index| fanout.cut(index, SlowReason::Inbox))
            }
            Item::Close { topic } => {
                self.target(topic);
                self.for_targets(Fanout::close)
            }
            Item::CloseAll => {
                self.targets = self.connections.indexes();
                self.for_targets(Fanout::close)
            }
            Item::Stop => {
                self.is_stopping = true;
                self.targets = self.connections.indexes();
                self.for_targets(|fanout, index| {
                    fanout.notify(index, Notice::Stop);
                    fanout.close(index);
                })
            }
        }
    }

    fn target(&mut self, topic: u64) {
        self.targets.clear();
        self.targets.extend_from_slice(self.connections.audience(topic));
    }

    fn for_targets(&mut self, mut act: impl FnMut(&mut Fanout, u32)) -> usize {
        let mut targets = std::mem::take(&mut self.targets);
        targets.iter().for_each(|index| act(self, *index));
        let count = targets.len();
        targets.clear();
        self.targets = targets;
        count
    }

    fn push_to_targets(&mut self, frame: Arc<Frame>, now: Instant) -> usize {
        let shared = Arc::new(Shared(frame));
        self.for_targets(|fanout, index| fanout.push(index, &shared, now))
    }

    /// Adds a message to the queue of a connection, which is cut if the queue is full.
    fn push(&mut self, index: u32, shared: &Arc<Shared>, now: Instant) {
        let (cost, limits) = (shared.0.cost, self.namespace.settings.queue);
        let is_full = |fanout: &mut Fanout| {
            fanout.connections.get(index).is_some_and(|connection| connection.outbox.is_full(cost, &limits))
        };
        // A client that reads must get the chance to send what a burst has added.
        if is_full(self) {
            self.write(index, now);
            if is_full(self) {
                self.cut(index, SlowReason::Queue);
                return;
            }
        }
        let Some(connection) = self.connections.get(index).filter(|connection| !connection.is_closing) else { return };
        connection.outbox.push(shared.clone());
        connection.is_active = true;
        self.delivered += 1;
        self.touch(index);
    }

    fn touch(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index)
            && !std::mem::replace(&mut connection.is_touched, true)
        {
            self.touched.push_back(index);
        }
    }

    fn notify(&mut self, index: u32, notice: Notice) {
        if let Some(connection) = self.connections.get(index) {
            let bytes = connection.client.notice(notice);
            connection.outbox.push_notice(bytes);
            self.touch(index);
        }
    }

    fn attach(&mut self, attach: Attach, now: Instant) -> usize {
        let Attach { place, client, start, replay } = attach;
        let ready = ReadyWaker::new(&self.inbox, self.connections.next_index());
        let index = self.connections.insert(client, place, ready, now);
        let ping = self.namespace.settings.ping;
        if !ping.is_zero() {
            self.connections.move_to_end(index, Queue::Ping, now + ping);
        }
        match start {
            Start::After(position) => self.notify(index, Notice::Open(position)),
            Start::Reset(position) => {
                self.notify(index, Notice::Open(None));
                self.notify(index, Notice::Reset(position));
            }
        }
        let count = replay.len();
        if let Some(connection) = self.connections.get(index) {
            connection.is_active = count > 0;
            for frame in replay {
                connection.outbox.push_replayed(Arc::new(Shared(frame)));
            }
        }
        self.delivered += count as u64;
        if self.is_stopping {
            self.notify(index, Notice::Stop);
            self.close(index);
        }
        self.look_after(index);
        count
    }

    /// Looks whether a client has disconnected, and lets it send.
    fn look_after(&mut self, index: u32) {
        let Some(connection) = self.connections.get(index) else { return };
        connection.ready.rearm();
        let gone = connection.client.poll_gone(&mut Context::from_waker(&connection.waker));
        if gone.is_ready() {
            self.remove(index);
        } else if !connection.outbox.is_empty() || connection.is_closing {
            self.touch(index);
        }
    }

    /// Lets a client send what waits for it.
    fn write(&mut self, index: u32, now: Instant) {
        let Some(connection) = self.connections.get(index) else { return };
        let sends = connection.outbox.sends();
        let mut cx = Context::from_waker(&connection.waker);
        let polled = connection.client.poll_write(&mut connection.outbox, &mut cx);
        let has_sent = connection.outbox.sends() != sends;
        let is_blocked = match polled {
            Poll::Ready(Ok(())) if connection.is_closing => match connection.client.poll_end(&mut cx) {
                Poll::Ready(()) => return self.remove(index),
                Poll::Pending => true,
            },
            Poll::Ready(Ok(())) => false,
            Poll::Ready(Err(_)) => return self.remove(index),
            Poll::Pending => true,
        };
        if !is_blocked {
            self.connections.unlink(index, Queue::Blocked);
        } else if connection.outbox.has_messages() && self.namespace.memory.exceeds_queued() {
            self.cut(index, SlowReason::Queued);
        } else if has_sent || !self.connections.is_linked(index, Queue::Blocked) {
            self.connections.move_to_end(index, Queue::Blocked, now);
        }
    }

    /// Ends a connection once its queue was sent.
    fn close(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index) {
            connection.is_closing = true;
            self.touch(index);
        }
    }

    /// Ends a connection whose client is too slow.
    fn cut(&mut self, index: u32, reason: SlowReason) {
        let Some(connection) = self.connections.get(index) else { return };
        let (topic, peer) = (connection.place.topic.name.clone(), connection.client.peer());
        self.namespace.counters.count_slow(reason);
        self.slow.add(&topic, peer, reason);
        self.remove(index);
    }

    fn remove(&mut self, index: u32) {
        let Some(connection) = self.connections.remove(index) else { return };
        connection.place.topic.state.lock().leave(self.worker);
        self.inbox.attached.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
    }

    /// Cuts the connections whose client has read nothing for too long.
    fn cut_blocked(&mut self, now: Instant) {
        let timeout = self.namespace.settings.idle_timeout;
        while let Some((index, since)) = self.connections.front(Queue::Blocked)
            && now.saturating_duration_since(since) >= timeout
        {
            self.cut(index, SlowReason::Timeout);
        }
    }

    /// Pings the connections that got nothing since their last ping was due, one turn's worth.
    fn ping(&mut self, now: Instant) {
        let interval = self.namespace.settings.ping;
        for _ in 0..WRITES {
            match self.connections.front(Queue::Ping) {
                Some((index, due)) if due <= now + ping_slack(interval) => {
                    self.connections.move_to_end(index, Queue::Ping, now + interval);
                    let Some(connection) = self.connections.get(index) else { continue };
                    let was_active = std::mem::take(&mut connection.is_active);
                    if !was_active && connection.outbox.is_empty() && !connection.is_closing {
                        self.notify(index, Notice::Ping);
                    }
                }
                _ => return,
            }
        }
    }

    /// When it must be polled although nothing wakes it.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let blocked = self.connections.front(Queue::Blocked);
        let blocked = blocked.map(|(_, since)| since + self.namespace.settings.idle_timeout);
        let ping = self.connections.front(Queue::Ping).map(|(_, due)| due);
        [blocked, ping, self.slow.due(now)].into_iter().flatten().min()
    }

    /// Returns the report about slow clients that is due.
    pub fn take_report(&mut self, now: Instant) -> Option<SlowReport> {
        self.slow.take(now)
    }

    /// Ends all connections with a last notice, and all that follow. What was published before is
    /// sent first. Call [`Fanout::poll`] afterwards.
    pub fn stop(&mut self) {
        self.namespace.shards.stop();
        self.inbox.push_stop();
    }
}

/// Connections whose pings are due within this time are pinged together.
fn ping_slack(interval: Duration) -> Duration {
    interval / 64
}

/// Closes all connections at once, and those that still wait in the inbox.
impl Drop for Fanout {
    fn drop(&mut self) {
        let items = self.inbox.end();
        for index in self.connections.indexes() {
            self.remove(index);
        }
        for item in std::mem::take(&mut self.items).into_iter().chain(items) {
            if let Item::Attach(attach) = item {
                attach.place.topic.state.lock().leave(self.worker);
                self.inbox.attached.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            }
        }
    }
}
