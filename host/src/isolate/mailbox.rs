//! Where calls wait for an instance. It outlives instances: what has not started is not lost with one.

use std::collections::VecDeque;
use std::task::Waker;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::call::{Call, Ended};

/// A call and whoever waits for its end.
#[derive(Debug)]
pub struct Queued {
    pub call: Call,
    /// `None` for calls that nobody waits for.
    pub reply: Option<oneshot::Sender<Ended>>,
    /// Set when it is taken: whether it counts against `limits.nested` in place of `limits.concurrency`.
    pub nested: bool,
}

impl Queued {
    pub fn new(call: Call, reply: Option<oneshot::Sender<Ended>>) -> Queued {
        Queued { call, reply, nested: false }
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
    pub nested: bool,
}

/// The bounded lanes of one module in one isolate.
#[derive(Debug)]
pub struct Mailbox {
    lanes: Mutex<Lanes>,
    /// The instance that takes from it now.
    taker: AtomicWaker,
}

#[derive(Debug)]
struct Lanes {
    calls: VecDeque<Queued>,
    nested: VecDeque<Queued>,
    broadcasts: VecDeque<Queued>,
    calls_limit: usize,
    broadcasts_limit: usize,
    /// Whether nothing is let in.
    closed: bool,
    /// Whether a broadcast goes before a plain call next time.
    broadcast_next: bool,
}

/// How an offer ended.
#[derive(Debug)]
pub enum Offer {
    Taken,
    Full(Box<Queued>),
    Closed(Box<Queued>),
}

impl Mailbox {
    pub fn new(calls_limit: usize, broadcasts_limit: usize) -> Mailbox {
        Mailbox {
            lanes: Mutex::new(Lanes {
                calls: VecDeque::new(),
                nested: VecDeque::new(),
                broadcasts: VecDeque::new(),
                calls_limit,
                broadcasts_limit,
                closed: false,
                broadcast_next: false,
            }),
            taker: AtomicWaker::new(),
        }
    }

    /// Puts a call into a lane, or gives it back.
    pub fn offer(&self, lane: Lane, queued: Queued) -> Offer {
        let mut lanes = self.lanes.lock();
        if lanes.closed {
            return Offer::Closed(Box::new(queued));
        }
        let (limit, lane) = match lane {
            Lane::Calls => (lanes.calls_limit, &mut lanes.calls),
            Lane::Nested => (lanes.calls_limit, &mut lanes.nested),
            Lane::Broadcasts => (lanes.broadcasts_limit, &mut lanes.broadcasts),
        };
        if lane.len() >= limit {
            return Offer::Full(Box::new(queued));
        }
        lane.push_back(queued);
        drop(lanes);
        self.taker.wake();
        Offer::Taken
    }

    /// Whether the broadcast lane has a place. Only the sequencer fills it, so a place seen stays.
    pub fn has_broadcast_place(&self) -> bool {
        let lanes = self.lanes.lock();
        lanes.broadcasts.len() < lanes.broadcasts_limit
    }

    /// Wakes `waker`, and nobody else, when something arrives.
    pub fn register(&self, waker: &Waker) {
        self.taker.register(waker);
    }

    /// Takes what may start now.
    pub fn take(&self, room: Room) -> Option<Queued> {
        self.lanes.lock().take(room)
    }

    /// Lets nothing in from now on, and takes everything that waits.
    pub fn close(&self) -> Vec<Queued> {
        let mut lanes = self.lanes.lock();
        lanes.closed = true;
        let Lanes { calls, nested, broadcasts, .. } = &mut *lanes;
        nested.drain(..).chain(calls.drain(..)).chain(broadcasts.drain(..)).collect()
    }

    /// How many calls and how many broadcasts wait.
    pub fn waiting(&self) -> (usize, usize) {
        let lanes = self.lanes.lock();
        (lanes.calls.len() + lanes.nested.len(), lanes.broadcasts.len())
    }
}

impl Lanes {
    fn take(&mut self, room: Room) -> Option<Queued> {
        if room.nested
            && let Some(queued) = self.nested.pop_front()
        {
            return Some(Queued { nested: true, ..queued });
        }
        if !room.calls {
            // A call that gathers may wait for just this broadcast, so the lane never stands still for want of room.
            let broadcast = if room.nested { self.broadcasts.pop_front() } else { None };
            return broadcast.map(|queued| Queued { nested: true, ..queued });
        }
        let broadcast_first = self.broadcast_next || self.calls.is_empty();
        self.broadcast_next = !broadcast_first;
        if broadcast_first && !self.broadcasts.is_empty() {
            return self.broadcasts.pop_front();
        }
        self.calls.pop_front().or_else(|| self.broadcasts.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::call::{Context, Deadline, IsolateId, Origin, Payload, Route, Trigger};

    const ALL: Room = Room { calls: true, nested: true };

    fn queued(id: u64) -> Queued {
        let deadline = Deadline::AfterStart(Duration::from_secs(1));
        let context = Arc::new(Context::root(id, "m".into(), IsolateId::Worker(0), Origin::Host, deadline));
        let route = Arc::new(Route { handler: "h".into(), text: "POST h".into() });
        let call = Call {
            context,
            route,
            trigger: Trigger::Rpc,
            params: vec![],
            query: String::new(),
            payload: Payload::None,
        };
        Queued::new(call, None)
    }

    fn taken(mailbox: &Mailbox, room: Room) -> Vec<u64> {
        std::iter::from_fn(|| mailbox.take(room)).map(|queued| queued.call.context.id).collect()
    }

    fn offer(mailbox: &Mailbox, lane: Lane, id: u64) -> bool {
        matches!(mailbox.offer(lane, queued(id)), Offer::Taken)
    }

    #[test]
    fn a_lane_takes_as_many_as_its_limit_and_gives_the_next_one_back() {
        let mailbox = Mailbox::new(2, 1);
        assert!(offer(&mailbox, Lane::Calls, 1) && offer(&mailbox, Lane::Calls, 2));
        assert!(!offer(&mailbox, Lane::Calls, 3));
        assert!(mailbox.has_broadcast_place());
        assert!(offer(&mailbox, Lane::Broadcasts, 4), "calls do not fill the lane of broadcasts");
        assert!(!mailbox.has_broadcast_place());
        assert!(!offer(&mailbox, Lane::Broadcasts, 5));
    }

    #[test]
    fn closing_gives_back_what_waits_and_lets_nothing_in() {
        let mailbox = Mailbox::new(8, 8);
        for (id, lane) in [(1, Lane::Calls), (2, Lane::Nested), (3, Lane::Broadcasts)] {
            offer(&mailbox, lane, id);
        }
        assert_eq!(mailbox.close().iter().map(|queued| queued.call.context.id).collect::<Vec<_>>(), [2, 1, 3]);
        for lane in [Lane::Calls, Lane::Nested, Lane::Broadcasts] {
            assert!(matches!(mailbox.offer(lane, queued(4)), Offer::Closed(_)), "{lane:?}");
        }
        assert_eq!(taken(&mailbox, ALL), [] as [u64; 0]);
    }

    #[test]
    fn broadcasts_and_calls_take_turns_and_keep_their_order() {
        let mailbox = Mailbox::new(8, 8);
        for id in 1..=3 {
            offer(&mailbox, Lane::Calls, id);
            offer(&mailbox, Lane::Broadcasts, id + 10);
        }
        assert_eq!(taken(&mailbox, ALL), [1, 11, 2, 12, 3, 13]);
    }

    #[test]
    fn nested_calls_go_first_and_alone_when_there_is_only_room_for_them() {
        let mailbox = Mailbox::new(8, 8);
        offer(&mailbox, Lane::Calls, 1);
        offer(&mailbox, Lane::Nested, 2);
        assert_eq!(taken(&mailbox, Room { calls: false, nested: true }), [2]);
        assert_eq!(taken(&mailbox, Room { calls: false, nested: false }), [] as [u64; 0]);
        assert_eq!(taken(&mailbox, ALL), [1]);
    }
}
