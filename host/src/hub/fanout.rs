//! The fan-out of one worker: moves messages from the inbox to the queues of the connections, and
//! lets their clients send.
//!
//! It is one state machine for all connections of a worker. Each client has a waker of its own,
//! which only notes that the connection is ready. So a message to a thousand connections wakes one
//! task. It works in bounded turns, between which the other tasks of the thread run.
//!
//! Because turns are bounded, the fan-out runs without tokio's budget for one task, which would
//! make healthy clients look blocked.
//!
//! A burst cuts no client that reads quickly. A client over HTTP/2 gives one frame to hyper, which
//! sends it between turns, so a queue that was filled in this turn proves nothing. If the client
//! has sent something, or got blocked, in this turn only, the turn ends early, and the next one
//! tries the same message again. Half of the queue must be empty then, so that one client does not
//! end a turn for each message. The messages behind it wait in the inbox, so no queue exceeds its
//! bound. Beyond `hub.queued`, turns end early in the same way, and wake the other workers, because
//! the clients that are stuck may be theirs.

use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use super::delivery::Delivery;
use super::inbox::Item;
use super::namespace::Namespace;
use super::outbox::Shared;
use super::slow::SlowReport;
use super::work::{Act, Work};

/// The items that the fan-out takes from its inbox at once.
const ITEMS: usize = 256;

/// The messages that a turn adds to queues, apart from what one item adds at once.
const PUSHES: usize = 8_192;

/// Clients send before more messages are added, once this number waits for each of them on average.
/// A smaller number costs a burst to many connections more writes, each for fewer messages.
const BATCH: usize = 64;

/// How often the fan-out looks for more in one turn. Only a publisher that never rests, or a client
/// that is always ready, reaches this number.
const ROUNDS: usize = 32;

pub struct Fanout {
    delivery: Delivery,
    /// Items that it has taken from the inbox.
    items: VecDeque<Item>,
    /// The item in hand.
    work: Work,
    /// Connections whose client may accept more, or has disconnected.
    ready: VecDeque<u32>,
    /// Whether more messages are added to queues before clients send.
    is_filling: bool,
    /// The messages that were added to queues since clients sent last.
    added: usize,
    is_stopping: bool,
    batches: Batches,
}

/// The connections that end in batches because the host stops, so that not all of their clients
/// connect to another host at the same moment.
#[derive(Default)]
struct Batches {
    left: VecDeque<u32>,
    size: usize,
    /// When the next batch ends.
    due: Option<Instant>,
}

/// The number of batches.
const BATCHES: u32 = 20;

impl Fanout {
    /// `None` if there is no such worker.
    pub fn new(namespace: &Arc<Namespace>, worker: u32) -> Option<Fanout> {
        let inbox = namespace.inboxes.own.get(worker as usize)?;
        Some(Fanout {
            delivery: Delivery::new(namespace, inbox, worker),
            items: VecDeque::new(),
            work: Work::default(),
            ready: VecDeque::new(),
            is_filling: false,
            added: 0,
            is_stopping: false,
            batches: Batches::default(),
        })
    }

    /// Whether no connection is open.
    #[cfg(test)]
    #[allow(dead_code, reason = "only the model uses it")]
    pub fn is_empty(&self) -> bool {
        self.delivery.connections.len() == 0
    }

    /// Works until nothing is left to do or a turn is over. Ready if more is left: let other tasks
    /// run, then call it again. Pending wakes the task; also call it at [`Fanout::deadline`].
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        self.delivery.begin_turn(now);
        self.stop_batch(now);
        let polled = self.turn(cx, now);
        self.delivery.end_turn();
        if self.delivery.has_lost(now) { Poll::Ready(()) } else { polled }
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let (mut rounds, mut flow) = (0, Continue(()));
        while !self.delivery.is_over() {
            if !self.is_filling && self.delivery.write_next(now) {
                continue;
            }
            if flow.is_break() || rounds == ROUNDS {
                break;
            }
            if let Some(index) = self.ready.pop_front() {
                self.delivery.look_after(index, now);
            } else if self.delivery.relieve(now).is_break() {
                self.is_filling = false;
                break;
            } else if !self.work.is_done() || !self.items.is_empty() {
                flow = self.apply(now);
            } else if self.delivery.inbox.take(ITEMS, &mut self.items, &mut self.ready, cx.waker()) {
                rounds += 1;
            } else {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// Works on items until enough was added to queues. Breaks if the turn is to end.
    fn apply(&mut self, now: Instant) -> ControlFlow<()> {
        let mut work = std::mem::take(&mut self.work);
        let (mut pushes, mut flow) = (0, Continue(()));
        while pushes < PUSHES && !self.delivery.is_over() {
            if let Some((act, index)) = work.next() {
                flow = self.act(act, index, now);
                if flow.is_break() {
                    break;
                }
                work.advance();
            } else if let Some(item) = self.items.pop_front() {
                pushes += self.begin(item, &mut work, now);
            } else {
                break;
            }
            pushes += 1;
        }
        self.work = work;
        self.added += pushes;
        let is_more = !self.work.is_done() || !self.items.is_empty();
        self.is_filling = pushes >= PUSHES && is_more && self.added < BATCH * self.delivery.touched();
        if self.is_filling {
            return Break(());
        }
        self.added = 0;
        flow
    }

    /// Starts to work on an item. Returns the number of messages that it has added to queues.
    fn begin(&mut self, item: Item, work: &mut Work, now: Instant) -> usize {
        let connections = &self.delivery.connections;
        let (act, topic) = match item {
            Item::Attach(attach) => {
                let (index, count) = self.delivery.attach(*attach, now);
                if self.is_stopping && !self.delivery.stop(index) {
                    self.batches.left.push_back(index);
                    self.batches.due.get_or_insert(now);
                }
                self.delivery.look_after(index, now);
                return count;
            }
            Item::Frame { topic, frame } => (Act::Push(Arc::new(Shared(frame))), Some(topic)),
            Item::All(frame) => (Act::Push(Arc::new(Shared(frame))), None),
            Item::Each { topics, frame, .. } => {
                let targets = topics.iter().flat_map(|topic| connections.audience(*topic).iter().copied());
                work.begin(Act::Push(Arc::new(Shared(frame))), targets);
                return 0;
            }
            Item::Cut { topic } => (Act::Cut, Some(topic)),
            Item::CutAll => (Act::Cut, None),
            Item::Close { topic } => (Act::Close, Some(topic)),
            Item::CloseAll => (Act::Close, None),
            Item::Stop => {
                self.is_stopping = true;
                if !self.delivery.namespace.settings.drain.is_zero() {
                    self.batches.left = self.delivery.connections.indexes().collect();
                    self.batches.size = self.batches.left.len() / BATCHES as usize + 1;
                    self.stop_batch(now);
                    return 0;
                }
                (Act::Stop, None)
            }
            // Another one may have the number meanwhile.
            Item::StopOne(index) if self.delivery.is_busy(index) => {
                self.batches.left.push_back(index);
                self.batches.due.get_or_insert(now);
                return 0;
            }
            Item::StopOne(index) => {
                self.delivery.close(index);
                return 0;
            }
        };
        let connections = &self.delivery.connections;
        match topic {
            Some(topic) => work.begin(act, connections.audience(topic).iter().copied()),
            None => work.begin(act, connections.indexes()),
        }
        0
    }

    fn act(&mut self, act: &Act, index: u32, now: Instant) -> ControlFlow<()> {
        match act {
            Act::Push(shared) => return self.delivery.push(index, shared, now),
            Act::Cut => self.delivery.cut_after_gap(index),
            Act::Close => self.delivery.close(index),
            Act::Stop => _ = self.delivery.stop(index),
        }
        Continue(())
    }

    /// Ends the next batch of connections, if it is due. Those whose client waits for an answer
    /// come again later.
    fn stop_batch(&mut self, now: Instant) {
        let Batches { left, size, due } = &mut self.batches;
        if left.is_empty() || due.is_some_and(|due| due > now) {
            return;
        }
        for _ in 0..left.len().min(*size) {
            let Some(index) = left.pop_front() else { break };
            if !self.delivery.stop(index) {
                left.push_back(index);
            }
        }
        let interval = self.delivery.namespace.settings.drain / BATCHES;
        *due = (!left.is_empty()).then(|| now + interval);
    }

    /// When it must be polled although nothing wakes it.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        [self.delivery.deadline(now), self.batches.due].into_iter().flatten().min()
    }

    /// Returns the report about slow clients that is due.
    pub fn take_report(&mut self, now: Instant) -> Option<SlowReport> {
        self.delivery.slow.take(now)
    }

    /// Ends all connections with a last notice, and all that follow. What was published before is
    /// sent first. Call [`Fanout::poll`] afterwards.
    pub fn stop(&mut self) {
        self.delivery.namespace.shards.stop();
        self.delivery.inbox.push_stop();
    }
}

/// Closes all connections at once, and those that still wait in the inbox.
impl Drop for Fanout {
    fn drop(&mut self) {
        let items = self.delivery.inbox.end();
        for index in self.delivery.connections.indexes().collect::<Vec<_>>() {
            self.delivery.drop_now(index);
        }
        for item in std::mem::take(&mut self.items).into_iter().chain(items) {
            if let Item::Attach(attach) = item {
                attach.place.topic.state.lock().leave(self.delivery.worker);
                self.delivery.inbox.attached.fetch_sub(1, Relaxed);
            }
        }
    }
}
