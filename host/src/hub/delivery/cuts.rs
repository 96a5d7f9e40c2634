//! Which clients are too slow, and their end.

use std::ops::ControlFlow::{self, Break, Continue};
use std::time::Instant;

use super::super::connections::Queue;
use super::super::inbox::Wakers;
use super::super::message::{Notice, SlowReason};
use super::{Delivery, STEPS, WAITS};

impl Delivery {
    /// Cuts a connection that has missed a message. One that is closing gets no further messages.
    pub fn cut_after_gap(&mut self, index: u32) {
        if self.connections.get(index).is_some_and(|connection| !connection.is_closing) {
            self.cut(index, SlowReason::Inbox);
        }
    }

    /// Cuts the clients that have been blocked longest, while messages use more than `hub.queued`.
    /// Breaks if all blocked clients have sent something in this turn: then the turn ends, so that
    /// they can send, and other workers cut clients that are stuck there.
    pub fn relieve(&mut self, now: Instant) -> ControlFlow<()> {
        if !self.namespace.memory.exceeds_queued() {
            self.waits = 0;
            return Continue(());
        }
        while self.namespace.memory.exceeds_queued()
            && !self.is_over()
            && let Some(index) = self.connections.first(Queue::Blocked, STEPS, |one| one.outbox.has_messages())
        {
            if !self.has_sent_in_turn(index) {
                self.write(index, now);
                if !self.connections.is_linked(index, Queue::Blocked) || self.has_sent_in_turn(index) {
                    continue;
                }
            } else if self.waits < WAITS {
                self.waits += 1;
                let mut wakers = Wakers::default();
                self.namespace.inboxes.all.iter().for_each(|inbox| wakers.add(inbox.wake()));
                return Break(());
            }
            self.cut(index, SlowReason::Queued);
        }
        Continue(())
    }

    /// Ends a connection whose client is too slow.
    pub(super) fn cut(&mut self, index: u32, reason: SlowReason) {
        let Some(connection) = self.connections.get(index) else { return };
        let (topic, peer) = (connection.place.topic.name.clone(), connection.client.peer());
        self.namespace.counters.count_slow(reason);
        self.slow.add(&topic, peer, reason);
        connection.client.cut(&connection.outbox);
        self.remove(index);
    }

    /// Ends a connection without waiting for its client.
    pub fn drop_now(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index) {
            connection.client.notice(Notice::Stop);
            connection.client.cut(&connection.outbox);
        }
        self.remove(index);
    }

    /// Cuts the connections whose client has read nothing for too long.
    pub(super) fn cut_blocked(&mut self, now: Instant) {
        let timeout = self.namespace.settings.idle_timeout;
        while !self.is_over()
            && let Some((index, since)) = self.connections.front(Queue::Blocked)
            && now.saturating_duration_since(since) >= timeout
        {
            self.cut(index, SlowReason::Timeout);
        }
    }
}
