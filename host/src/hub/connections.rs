//! The connections of one worker: a table, the audience of each topic, and queues by time.
//!
//! Every ping is due after the same time, and so is the end of every silent client and of every
//! message that does not end. So each kind of time is one queue, and no connection needs a timer.

use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::client::Client;
use super::ids::ByTopic;
use super::inbox::ReadyWaker;
use super::message::QueueLimits;
use super::outbox::Outbox;
use super::shards::Place;

/// No index of a connection.
const NONE: u32 = u32::MAX;

/// A connection of the fan-out.
pub struct Connection {
    /// Before the client, so that a connection no longer counts when its client sees the end.
    pub place: Place,
    pub client: Box<dyn Client>,
    pub outbox: Outbox,
    pub waker: Waker,
    pub ready: Arc<ReadyWaker>,
    /// Its index in the audience of its topic. A connection has one topic; several would be a list
    /// here.
    in_audience: u32,
    /// Its places in the queues by time.
    links: [Link; QUEUES],
    /// The message of which a part has arrived.
    pub partial: Option<u32>,
    /// Whether it waits for its turn to send.
    pub is_touched: bool,
    /// Whether it got a message since its last ping was due.
    pub is_active: bool,
    /// Whether it ends once its outbox was sent.
    pub is_closing: bool,
    /// The turn in which its client sent something last, or got blocked.
    pub blocked_in: u32,
    /// The turns that ended early because its outbox was full, since it was half empty.
    pub waits: u8,
}

impl Connection {
    /// Whether a message must wait. After a first wait, half of the outbox must be empty, so that
    /// a client does not delay every message.
    pub fn lacks_room(&self, cost: u64, limits: &QueueLimits) -> bool {
        let limits = if self.waits == 0 { *limits } else { limits.half() };
        self.outbox.is_full(cost, &limits)
    }
}

#[derive(Clone, Copy)]
struct Link {
    previous: u32,
    next: u32,
    is_linked: bool,
    at: Instant,
}

/// Which queue by time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// When a ping is due.
    Ping,
    /// Since when the client has read nothing although bytes wait.
    Blocked,
    /// When a client that sends nothing is lost.
    Silent,
    /// When a client that has sent only a part of a message is lost.
    Partial,
}

impl Queue {
    const ALL: [Queue; QUEUES] = [Queue::Ping, Queue::Blocked, Queue::Silent, Queue::Partial];
}

const QUEUES: usize = 4;

/// The connections that get the messages of a topic.
enum Audience {
    One(u32),
    Many(Vec<u32>),
}

impl Audience {
    fn members(&self) -> &[u32] {
        match self {
            Audience::One(index) => std::slice::from_ref(index),
            Audience::Many(indexes) => indexes,
        }
    }
}

#[derive(Default)]
pub struct Connections {
    table: Vec<Option<Connection>>,
    free: Vec<u32>,
    audiences: ByTopic<Audience>,
    queues: [Ends; QUEUES],
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

impl Default for Ends {
    fn default() -> Ends {
        Ends { first: NONE, last: NONE }
    }
}

impl Connections {
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.table.len() - self.free.len()
    }

    /// The index of the next connection.
    pub fn next_index(&self) -> u32 {
        self.free.last().copied().unwrap_or(u32::try_from(self.table.len()).unwrap_or(NONE))
    }

    /// Adds a connection, at [`Connections::next_index`].
    pub fn insert(&mut self, client: Box<dyn Client>, place: Place, ready: Arc<ReadyWaker>, now: Instant) -> u32 {
        let index = self.next_index();
        let in_audience = self.add_to_audience(place.topic.id, index);
        let link = Link { previous: NONE, next: NONE, is_linked: false, at: now };
        let connection = Connection {
            place,
            client,
            outbox: Outbox::default(),
            waker: Waker::from(ready.clone()),
            ready,
            in_audience,
            links: [link; QUEUES],
            partial: None,
            is_touched: false,
            is_active: false,
            is_closing: false,
            blocked_in: 0,
            waits: 0,
        };
        if self.free.pop().is_some()
            && let Some(free) = self.table.get_mut(index as usize)
        {
            *free = Some(connection);
        } else {
            self.table.push(Some(connection));
        }
        index
    }

    pub fn get(&mut self, index: u32) -> Option<&mut Connection> {
        self.table.get_mut(index as usize)?.as_mut()
    }

    pub fn remove(&mut self, index: u32) -> Option<Connection> {
        Queue::ALL.iter().for_each(|queue| self.unlink(index, *queue));
        let connection = self.table.get_mut(index as usize)?.take()?;
        self.free.push(index);
        self.remove_from_audience(connection.place.topic.id, connection.in_audience);
        if self.free.len() == self.table.len() {
            // Without connections, the worker keeps no memory for them.
            *self = Connections::default();
        }
        Some(connection)
    }

    /// The connections of a topic.
    pub fn audience(&self, topic: u64) -> &[u32] {
        self.audiences.get(&topic).map(Audience::members).unwrap_or_default()
    }

    /// The indexes of all connections.
    pub fn indexes(&self) -> impl Iterator<Item = u32> {
        (0..).zip(&self.table).filter(|(_, connection)| connection.is_some()).map(|(index, _)| index)
    }

    fn add_to_audience(&mut self, topic: u64, index: u32) -> u32 {
        match self.audiences.get_mut(&topic) {
            None => {
                self.audiences.insert(topic, Audience::One(index));
                0
            }
            Some(audience) => {
                if let Audience::One(first) = *audience {
                    *audience = Audience::Many(vec![first]);
                }
                let Audience::Many(members) = audience else { return 0 };
                members.push(index);
                u32::try_from(members.len() - 1).unwrap_or(NONE)
            }
        }
    }

    fn remove_from_audience(&mut self, topic: u64, at: u32) {
        let Some(audience) = self.audiences.get_mut(&topic) else { return };
        let moved = match audience {
            Audience::Many(members) if members.len() > 1 && (at as usize) < members.len() => {
                members.swap_remove(at as usize);
                if members.capacity() > 2 * members.len() + 8 {
                    members.shrink_to_fit();
                }
                members.get(at as usize).copied()
            }
            _ => {
                self.audiences.remove(&topic);
                None
            }
        };
        if let Some(connection) = moved.and_then(|index| self.get(index)) {
            connection.in_audience = at;
        }
    }

    /// The connection at the front of a queue, and its time.
    pub fn front(&self, queue: Queue) -> Option<(u32, Instant)> {
        let first = self.queues.get(queue as usize)?.first;
        let link = self.table.get(first as usize)?.as_ref()?.links.get(queue as usize)?;
        Some((first, link.at))
    }

    /// The first connection for which a condition holds, among the first `max` of a queue.
    pub fn first(&self, queue: Queue, max: usize, holds: impl Fn(&Connection) -> bool) -> Option<u32> {
        let mut index = self.queues.get(queue as usize)?.first;
        for _ in 0..max {
            let connection = self.table.get(index as usize)?.as_ref()?;
            if holds(connection) {
                return Some(index);
            }
            index = connection.links.get(queue as usize)?.next;
        }
        None
    }

    fn link(&mut self, index: u32, queue: Queue) -> Option<&mut Link> {
        self.get(index)?.links.get_mut(queue as usize)
    }

    fn ends(&mut self, queue: Queue) -> Option<&mut Ends> {
        self.queues.get_mut(queue as usize)
    }

    pub fn is_linked(&self, index: u32, queue: Queue) -> bool {
        let connection = self.table.get(index as usize).and_then(Option::as_ref);
        connection.and_then(|connection| connection.links.get(queue as usize)).is_some_and(|link| link.is_linked)
    }

    /// Moves a connection to the end of a queue. Times only grow.
    pub fn move_to_end(&mut self, index: u32, queue: Queue, at: Instant) {
        self.unlink(index, queue);
        let last = self.queues.get(queue as usize).map_or(NONE, |ends| ends.last);
        let Some(link) = self.link(index, queue) else { return };
        *link = Link { previous: last, next: NONE, is_linked: true, at };
        if let Some(before) = self.link(last, queue) {
            before.next = index;
        } else if let Some(ends) = self.ends(queue) {
            ends.first = index;
        }
        if let Some(ends) = self.ends(queue) {
            ends.last = index;
        }
    }

    pub fn unlink(&mut self, index: u32, queue: Queue) {
        let Some(link) = self.link(index, queue) else { return };
        if !std::mem::replace(&mut link.is_linked, false) {
            return;
        }
        let (previous, next) = (link.previous, link.next);
        if let Some(before) = self.link(previous, queue) {
            before.next = next;
        } else if let Some(ends) = self.ends(queue) {
            ends.first = next;
        }
        if let Some(after) = self.link(next, queue) {
            after.previous = previous;
        } else if let Some(ends) = self.ends(queue) {
            ends.last = previous;
        }
    }
}
