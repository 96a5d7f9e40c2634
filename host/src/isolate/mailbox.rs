//! Where calls wait for an instance. It outlives instances: what has not started is not lost with one.

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

/// A call and whoever waits for its end.
#[derive(Debug)]
pub struct Queued {
    pub call: Call,
    /// `None` for calls that nobody waits for.
    pub reply: Option<oneshot::Sender<CallResult>>,
    /// Set when it is taken: whether it counts against `limits.nested` in place of `limits.concurrency`.
    pub nested: bool,
    /// See [`Call::weight`]. 0 until it is needed, which it is not for a call that waits alone.
    weight: u64,
}

impl Queued {
    pub fn new(call: Call, reply: Option<oneshot::Sender<CallResult>>) -> Queued {
        Queued::weighed(call, reply, 0)
    }

    /// The same for a call whose weight is known.
    pub fn weighed(call: Call, reply: Option<oneshot::Sender<CallResult>>, weight: u64) -> Queued {
        Queued { call, reply, nested: false, weight }
    }

    fn weigh(&mut self) -> u64 {
        if self.weight == 0 {
            self.weight = self.call.weight();
        }
        self.weight
    }
}

/// Which lane a call waits in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    Calls,
    /// Calls that descend from a call of the same module: they have room of their own, since
    /// what they wait for may wait for them.
    Nested,
    Broadcasts,
}

/// What an instance can take now.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    pub calls: bool,
    /// Places beside those of `calls`.
    pub nested: u32,
}

/// The bounded lanes of one module in one isolate.
#[derive(Debug)]
pub struct Mailbox {
    lanes: Mutex<Lanes>,
    /// The instance that takes from it, by its number. Written under the lock, so that who finds itself there inside it is.
    appointed: AtomicU64,
    /// Wakes that instance.
    taker: AtomicWaker,
}

#[derive(Debug)]
struct Lanes {
    calls: Waiting,
    nested: Waiting,
    broadcasts: Waiting,
    /// Whether nothing is let in.
    closed: bool,
    /// How often they have been handed over. What belongs to an earlier generation has no say any more.
    era: u64,
    /// Whether calls are held, and then how many broadcasts may start nevertheless: those that lay here before the mark.
    held: Option<usize>,
    /// Whether a broadcast goes before a plain call next time.
    broadcast_next: bool,
}

/// One lane.
#[derive(Debug)]
struct Waiting {
    queue: VecDeque<Queued>,
    /// The weight of all calls in it; of one that waits alone only when that is known.
    bytes: u64,
    most: usize,
    most_bytes: u64,
}

/// How an offer ended.
#[derive(Debug)]
pub enum Offer {
    Taken,
    /// The limit that is reached.
    Full(&'static str, Box<Queued>),
    Closed(Box<Queued>),
}

impl Mailbox {
    pub fn new(limits: &Limits) -> Mailbox {
        let lane =
            |most: u32| Waiting { queue: VecDeque::new(), bytes: 0, most: most as usize, most_bytes: limits.queued };
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

    /// Puts a call into a lane, or gives it back.
    pub fn offer(&self, lane: Lane, mut queued: Queued) -> Offer {
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
        Offer::Taken
    }

    /// The limit that keeps a broadcast of this weight out, if one does. Only the sequencer fills
    /// the lane, so a place seen stays.
    pub fn refuses_broadcast(&self, weight: u64) -> Option<&'static str> {
        self.lanes.lock().broadcasts.full(|| weight, Lane::Broadcasts)
    }

    /// Takes out the calls of a lane that are too late to start.
    pub fn take_late(&self, lane: Lane) -> Vec<Queued> {
        self.lanes.lock().lane(lane).take_late(Instant::now())
    }

    /// Lets the instance of this number take from now on, and no other, unless the lanes have been handed over since `era`.
    pub fn appoint(&self, taker: u64, era: u64) {
        let lanes = self.lanes.lock();
        if lanes.era == era {
            self.appointed.store(taker, Ordering::Release);
        }
    }

    pub fn is_taker(&self, instance: u64) -> bool {
        self.appointed.load(Ordering::Acquire) == instance
    }

    /// Puts a mark into the lanes: what comes after it waits, but for what a running call waits for. Broadcasts before the
    /// mark still start, since they may have started elsewhere.
    pub fn hold(&self) {
        let mut lanes = self.lanes.lock();
        lanes.held = Some(lanes.broadcasts.queue.len());
    }

    /// Moves the mark behind all broadcasts: a running call waits for the last one.
    pub fn pass_broadcasts(&self) {
        let mut lanes = self.lanes.lock();
        lanes.held = lanes.held.map(|_| lanes.broadcasts.queue.len());
        drop(lanes);
        self.taker.wake();
    }

    /// Whether there is a mark.
    pub fn is_held(&self) -> bool {
        self.lanes.lock().held.is_some()
    }

    /// Whether all broadcasts before the mark have started.
    pub fn is_past_mark(&self) -> bool {
        self.lanes.lock().held.is_none_or(|passing| passing == 0)
    }

    /// Whether nothing is left that starts before [`Mailbox::release`].
    pub fn is_quiet(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.nested.queue.is_empty() && lanes.held.is_none_or(|passing| passing == 0)
    }

    /// Takes the mark away.
    pub fn release(&self) {
        self.lanes.lock().held = None;
        self.taker.wake();
    }

    /// Gives the lanes to another instance, with its generation's limits and without a mark. It has to be woken.
    /// Answers the era that begins, from 1.
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

    /// Wakes `waker`, and nobody else, when something arrives.
    pub fn register(&self, waker: &Waker) {
        self.taker.register(waker);
    }

    /// Takes what may start now in the instance of this number.
    pub fn take(&self, instance: u64, room: Room) -> Option<Queued> {
        let mut lanes = self.lanes.lock();
        if self.is_taker(instance) { lanes.take(room) } else { None }
    }

    /// Lets nothing in from now on, and takes everything that waits, unless the lanes have been handed over since `era`.
    pub fn close(&self, era: u64) -> Vec<Queued> {
        let mut lanes = self.lanes.lock();
        if lanes.era != era {
            return Vec::new();
        }
        lanes.closed = true;
        let Lanes { calls, nested, broadcasts, .. } = &mut *lanes;
        nested.drain().chain(calls.drain()).chain(broadcasts.drain()).collect()
    }

    /// How many calls and how many broadcasts wait.
    pub fn waiting(&self) -> (usize, usize) {
        let lanes = self.lanes.lock();
        (lanes.calls.queue.len() + lanes.nested.queue.len(), lanes.broadcasts.queue.len())
    }
}

impl Lanes {
    fn lane(&mut self, lane: Lane) -> &mut Waiting {
        match lane {
            Lane::Calls => &mut self.calls,
            Lane::Nested => &mut self.nested,
            Lane::Broadcasts => &mut self.broadcasts,
        }
    }

    fn take(&mut self, room: Room) -> Option<Queued> {
        if room.nested > 0
            && let Some(queued) = self.nested.pop()
        {
            return Some(Queued { nested: true, ..queued });
        }
        if let Some(passing) = self.held {
            let room = passing > 0 && (room.calls || room.nested > 1);
            self.held = Some(passing.saturating_sub(usize::from(room)));
            return if room { self.broadcasts.pop() } else { None };
        }
        if !room.calls {
            // A call that gathers may wait for just this broadcast, so the lane does not stand still for want of room. One
            // place is left to nested calls, for which such broadcasts may wait in turn.
            let broadcast = if room.nested > 1 { self.broadcasts.pop() } else { None };
            return broadcast.map(|queued| Queued { nested: true, ..queued });
        }
        let broadcast_first = self.broadcast_next || self.calls.queue.is_empty();
        self.broadcast_next = !broadcast_first;
        if broadcast_first && let Some(broadcast) = self.broadcasts.pop() {
            return Some(broadcast);
        }
        self.calls.pop().or_else(|| self.broadcasts.pop())
    }
}

impl Waiting {
    /// The limit that keeps one more call out, if one does. An empty lane takes any call, so that
    /// the weight of a call that finds it empty is not asked for before another one comes.
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

    fn push(&mut self, queued: Queued) {
        self.bytes = self.bytes.saturating_add(queued.weight);
        self.queue.push_back(queued);
    }

    fn pop(&mut self) -> Option<Queued> {
        let queued = self.queue.pop_front()?;
        self.bytes = self.bytes.saturating_sub(queued.weight);
        Some(queued)
    }

    fn drain(&mut self) -> impl Iterator<Item = Queued> {
        self.bytes = 0;
        self.queue.drain(..)
    }

    fn take_late(&mut self, now: Instant) -> Vec<Queued> {
        let late = |queued: &Queued| queued.call.context.is_late(now);
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
