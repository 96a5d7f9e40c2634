//! The queue of calls that wait for an instance. It outlives the instances of its slot, so that a
//! crash loses no call that has not started.
//!
//! Calls and broadcasts alternate, so that neither starves the other. Nested calls have a lane of
//! their own, and up to `limits.nested` of them and of broadcasts run in addition to
//! `limits.concurrency`. Otherwise the calls that wait for a nested call could occupy every place,
//! and it would never start. Before a lane rejects a call, it discards calls whose deadline has
//! passed.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Waker;
use std::time::Instant;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::call::{Call, CallResult};
use crate::config::Limits;

#[cfg(test)]
mod tests;

/// A call in the mailbox, with the channel to the caller that waits for it.
#[derive(Debug)]
pub struct QueuedCall {
    pub call: Call,
    /// `None` when no caller waits.
    pub reply: Option<oneshot::Sender<CallResult>>,
    /// Whether the call counts against `limits.nested` instead of `limits.concurrency`. Set when
    /// an instance takes the call.
    pub nested: bool,
    /// The bytes of [`Call::weight`]. 0 until it is computed, which a call that waits alone does
    /// not need.
    weight: u64,
}

impl QueuedCall {
    pub fn new(call: Call, reply: Option<oneshot::Sender<CallResult>>) -> QueuedCall {
        QueuedCall::with_weight(call, reply, 0)
    }

    /// Creates the entry of a call whose weight is already known.
    pub fn with_weight(call: Call, reply: Option<oneshot::Sender<CallResult>>, weight: u64) -> QueuedCall {
        QueuedCall { call, reply, nested: false, weight }
    }

    fn weigh(&mut self) -> u64 {
        if self.weight == 0 {
            self.weight = self.call.weight();
        }
        self.weight
    }
}

/// The lane that a call waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Calls,
    /// Calls that descend from a call of the same module. They have a lane of their own, because
    /// the calls ahead of them in `Calls` may wait for them.
    Nested,
    Broadcasts,
}

/// The calls that an instance can start now.
#[derive(Debug, Clone, Copy)]
pub struct Capacity {
    /// Whether a call that counts against `limits.concurrency` can start.
    pub accepts_plain: bool,
    /// How many calls that count against `limits.nested` can start in addition.
    pub nested: u32,
}

/// The bounded lanes of one module in one isolate.
#[derive(Debug)]
pub struct Mailbox {
    lanes: Mutex<Lanes>,
    /// The id of the instance that may take calls. Written under the lock, so that an instance that
    /// reads its own id under the lock is the appointed one.
    appointed: AtomicU64,
    /// Wakes the appointed instance.
    taker: AtomicWaker,
}

#[derive(Debug)]
struct Lanes {
    calls: LaneQueue,
    nested: LaneQueue,
    broadcasts: LaneQueue,
    /// Whether the mailbox rejects calls.
    closed: bool,
    /// The number of hand-overs so far. Requests that belong to an earlier era have no effect.
    era: u64,
    /// `Some` while calls are held: the number of broadcasts that may still start, because they
    /// arrived before the mark.
    held: Option<usize>,
    /// Whether the next call to start is a broadcast, if one waits.
    broadcast_next: bool,
}

/// The queue of one lane.
#[derive(Debug)]
struct LaneQueue {
    queue: VecDeque<QueuedCall>,
    /// The weight of all calls in the queue. The weight of a call that waits alone counts only once
    /// it has been computed.
    bytes: u64,
    most: usize,
    most_bytes: u64,
}

/// The result of an offer.
#[derive(Debug)]
pub enum Offer {
    Accepted,
    /// The limit that was reached, and the call.
    Full(&'static str, Box<QueuedCall>),
    Closed(Box<QueuedCall>),
}

impl Mailbox {
    pub fn new(limits: &Limits) -> Mailbox {
        let lane =
            |most: u32| LaneQueue { queue: VecDeque::new(), bytes: 0, most: most as usize, most_bytes: limits.queued };
        Mailbox {
            lanes: Mutex::new(Lanes {
                calls: lane(limits.mailbox),
                nested: lane(limits.mailbox),
                broadcasts: lane(limits.broadcasts),
                closed: false,
                era: 0,
                held: None,
                broadcast_next: false,
            }),
            appointed: AtomicU64::new(0),
            taker: AtomicWaker::new(),
        }
    }

    /// Puts a call into a lane, or returns it.
    pub fn offer(&self, lane: Lane, mut queued: QueuedCall) -> Offer {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Offer::Closed(Box::new(queued));
        }
        let waiting = lanes.lane(lane);
        if let Some(limit) = waiting.full(|| queued.weigh(), lane) {
            return Offer::Full(limit, Box::new(queued));
        }
        waiting.push(queued);
        drop(lanes);
        self.taker.wake();
        Offer::Accepted
    }

    /// The limit that rejects a broadcast of this weight, if one does. Only the sequencer fills the
    /// lane of broadcasts, so room that it has seen stays until it pushes.
    pub fn refuses_broadcast(&self, weight: u64) -> Option<&'static str> {
        self.lanes.lock().broadcasts.full(|| weight, Lane::Broadcasts)
    }

    /// Removes and returns the calls of a lane whose deadline has passed.
    pub fn take_late(&self, lane: Lane) -> Vec<QueuedCall> {
        self.lanes.lock().lane(lane).take_late(Instant::now())
    }

    /// Appoints the instance with this id: from now on it takes calls, and no other does. No
    /// effect when a hand-over has happened since `era`.
    pub fn appoint(&self, taker: u64, era: u64) {
        let lanes = self.lanes.lock();
        if lanes.era == era {
            self.appointed.store(taker, Ordering::Release);
        }
    }

    pub fn is_appointed(&self, instance: u64) -> bool {
        self.appointed.load(Ordering::Acquire) == instance
    }

    /// Puts a mark into the lanes. Calls wait, except those that a running call waits for.
    /// Broadcasts that arrived before the mark still start, because other workers may have started
    /// them.
    pub fn hold(&self) {
        let mut lanes = self.lanes.lock();
        lanes.held = Some(lanes.broadcasts.queue.len());
    }

    /// Moves the mark behind all broadcasts, because a running call waits for the last one.
    pub fn pass_broadcasts(&self) {
        let mut lanes = self.lanes.lock();
        lanes.held = lanes.held.map(|_| lanes.broadcasts.queue.len());
        drop(lanes);
        self.taker.wake();
    }

    /// Whether calls are held.
    pub fn is_held(&self) -> bool {
        self.lanes.lock().held.is_some()
    }

    /// Whether all broadcasts before the mark have started.
    pub fn is_past_mark(&self) -> bool {
        self.lanes.lock().held.is_none_or(|passing| passing == 0)
    }

    /// Whether no call that waits here may start before [`Mailbox::release`].
    pub fn has_quiesced(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.nested.queue.is_empty() && lanes.held.is_none_or(|passing| passing == 0)
    }

    /// Removes the mark.
    pub fn release(&self) {
        self.lanes.lock().held = None;
        self.taker.wake();
    }

    /// Hands the lanes over to another instance: sets the limits of its generation, removes the
    /// mark and opens the mailbox. The caller must wake the instance. Returns the new era, from 1.
    pub fn hand_over(&self, taker: u64, limits: &Limits) -> u64 {
        let mut lanes = self.lanes.lock();
        let Lanes { calls, nested, broadcasts, .. } = &mut *lanes;
        for (lane, most) in [(calls, limits.mailbox), (nested, limits.mailbox), (broadcasts, limits.broadcasts)] {
            lane.most = most as usize;
            lane.most_bytes = limits.queued;
        }
        (lanes.held, lanes.closed) = (None, false);
        lanes.era += 1;
        self.appointed.store(taker, Ordering::Release);
        lanes.era
    }

    /// Registers the only waker that a new call wakes.
    pub fn register(&self, waker: &Waker) {
        self.taker.register(waker);
    }

    /// Takes the next call that may start in the instance with this id.
    pub fn take(&self, instance: u64, room: Capacity) -> Option<QueuedCall> {
        let mut lanes = self.lanes.lock();
        if self.is_appointed(instance) { lanes.take(room) } else { None }
    }

    /// Removes a call from a lane, unless it has left it. A call that was removed never starts.
    pub fn withdraw(&self, lane: Lane, call: u64) -> Option<QueuedCall> {
        self.lanes.lock().lane(lane).withdraw(call)
    }

    /// Closes the mailbox and returns the calls that wait. No effect when a hand-over has happened
    /// since `era`.
    pub fn close(&self, era: u64) -> Vec<QueuedCall> {
        let mut lanes = self.lanes.lock();
        if lanes.era != era {
            return Vec::new();
        }
        lanes.closed = true;
        let Lanes { calls, nested, broadcasts, .. } = &mut *lanes;
        nested.drain().chain(calls.drain()).chain(broadcasts.drain()).collect()
    }

    /// Opens the mailbox again. No effect when a hand-over has happened since `era`.
    pub fn reopen(&self, era: u64) {
        let mut lanes = self.lanes.lock();
        lanes.closed &= lanes.era != era;
    }

    /// The number of calls and the number of broadcasts that wait.
    pub fn waiting(&self) -> (usize, usize) {
        let lanes = self.lanes.lock();
        (lanes.calls.queue.len() + lanes.nested.queue.len(), lanes.broadcasts.queue.len())
    }
}

impl Lanes {
    fn lane(&mut self, lane: Lane) -> &mut LaneQueue {
        match lane {
            Lane::Calls => &mut self.calls,
            Lane::Nested => &mut self.nested,
            Lane::Broadcasts => &mut self.broadcasts,
        }
    }

    fn take(&mut self, room: Capacity) -> Option<QueuedCall> {
        if room.nested > 0
            && let Some(queued) = self.nested.pop()
        {
            return Some(QueuedCall { nested: true, ..queued });
        }
        if let Some(passing) = self.held {
            let room = passing > 0 && (room.accepts_plain || room.nested > 1);
            self.held = Some(passing.saturating_sub(usize::from(room)));
            return if room { self.broadcasts.pop() } else { None };
        }
        if !room.accepts_plain {
            // A running call may wait for this broadcast in a gather, so a broadcast may use the
            // room of nested calls. One place stays free for nested calls, because the broadcast
            // may in turn wait for one.
            let broadcast = if room.nested > 1 { self.broadcasts.pop() } else { None };
            return broadcast.map(|queued| QueuedCall { nested: true, ..queued });
        }
        let broadcast_first = self.broadcast_next || self.calls.queue.is_empty();
        self.broadcast_next = !broadcast_first;
        if broadcast_first && let Some(broadcast) = self.broadcasts.pop() {
            return Some(broadcast);
        }
        self.calls.pop().or_else(|| self.broadcasts.pop())
    }
}

impl LaneQueue {
    /// The limit that rejects one more call, if one does. An empty lane accepts any call, so the
    /// weight of its first call is computed only when a second one arrives.
    fn full(&mut self, weight: impl FnOnce() -> u64, lane: Lane) -> Option<&'static str> {
        if self.queue.len() >= self.most {
            return Some(if lane == Lane::Broadcasts { "limits.broadcasts" } else { "limits.mailbox" });
        }
        let first = self.queue.front_mut()?;
        if first.weight == 0 {
            self.bytes = self.bytes.saturating_add(first.weigh());
        }
        (self.bytes.saturating_add(weight()) > self.most_bytes).then_some("limits.queued")
    }

    fn push(&mut self, queued: QueuedCall) {
        self.bytes = self.bytes.saturating_add(queued.weight);
        self.queue.push_back(queued);
    }

    fn pop(&mut self) -> Option<QueuedCall> {
        let queued = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(queued.weight);
        Some(queued)
    }

    fn withdraw(&mut self, call: u64) -> Option<QueuedCall> {
        let index = self.queue.iter().position(|queued| queued.call.context.id == call)?;
        let queued = self.queue.remove(index)?;
        self.bytes = self.bytes.saturating_sub(queued.weight);
        Some(queued)
    }

    fn drain(&mut self) -> impl Iterator<Item = QueuedCall> {
        self.bytes = 0;
        self.queue.drain(..)
    }

    fn take_late(&mut self, now: Instant) -> Vec<QueuedCall> {
        let late = |queued: &QueuedCall| queued.call.context.is_late(now);
        if !self.queue.iter().any(late) {
            return Vec::new();
        }
        let (gone, kept): (Vec<_>, Vec<_>) = self.drain().partition(late);
        for queued in kept {
            self.push(queued);
        }
        gone
    }
}
