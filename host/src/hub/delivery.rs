//! What the fan-out does to one connection at a time: queue a message, let the client send, close,
//! cut. It counts the steps of a turn, and knows which clients have had the chance to send. The
//! file `cuts` decides which clients are too slow.

// The model of the tests compiles this file from its own folder, so that the path is needed.
#[path = "delivery/cuts.rs"]
mod cuts;

use std::collections::VecDeque;
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};
use std::time::Instant;

use super::client::{Lost, Received};
use super::connections::{Connections, Queue};
use super::counters::Counters;
use super::inbox::{Attach, Inbox, ReadyWaker, Start};
use super::message::{Notice, Pinged, SlowReason};
use super::namespace::Namespace;
use super::outbox::Shared;
use super::slow::SlowLog;

/// How often one turn lets a client send, looks whether a client has disconnected, or removes a
/// connection. Then the other tasks of the thread run.
pub const STEPS: usize = 256;

/// The bytes whose sending takes as long as a step. Without this bound, a large message to hundreds
/// of clients would occupy the thread for seconds.
const STEP_BYTES: usize = 64 << 10;

/// The further steps of a read that has brought something. It may have been many messages.
const READ_STEPS: usize = 7;

/// The most turns that end early for one full queue before its client is cut. A client over HTTP/2
/// sends between turns only, and at least 16 KiB in each if it reads.
const WAITS: u8 = 32;

/// A connection for which this number of notices waits gets no ping.
const MAX_NOTICES: u32 = 4;

/// The queues whose clients are lost when their time has passed.
const LOST: [(Queue, Lost); 2] = [(Queue::Silent, Lost::Silent), (Queue::Partial, Lost::Partial)];

/// The connections of one worker.
pub struct Delivery {
    pub worker: u32,
    pub namespace: Arc<Namespace>,
    pub inbox: Arc<Inbox>,
    pub connections: Connections,
    /// Connections that have something to send, and are to try.
    touched: VecDeque<u32>,
    pub slow: SlowLog,
    delivered: u64,
    /// The number of the turn.
    turn: u32,
    /// The steps of the turn so far.
    steps: usize,
    /// When the previous turn began.
    previous: Option<Instant>,
    /// The turns that ended early since `hub.queued` was exceeded.
    waits: u8,
}

impl Delivery {
    pub fn new(namespace: &Arc<Namespace>, inbox: &Arc<Inbox>, worker: u32) -> Delivery {
        Delivery {
            worker,
            namespace: namespace.clone(),
            inbox: inbox.clone(),
            connections: Connections::default(),
            touched: VecDeque::new(),
            slow: SlowLog::default(),
            delivered: 0,
            turn: 0,
            steps: 0,
            previous: None,
            waits: 0,
        }
    }

    pub fn begin_turn(&mut self, now: Instant) {
        self.turn = self.turn.wrapping_add(1);
        self.steps = 0;
        self.cut_blocked(now);
        self.excuse_silence(now);
        self.ping(now);
        self.end_lost(now);
    }

    pub fn end_turn(&mut self) {
        Counters::add(&self.namespace.counters.delivered, std::mem::take(&mut self.delivered));
    }

    /// Whether the turn has used its steps.
    pub fn is_over(&self) -> bool {
        self.steps >= STEPS
    }

    /// The number of connections whose clients are to try to send.
    pub fn touched(&self) -> usize {
        self.touched.len()
    }

    /// Lets the next client send. Returns whether there was one.
    pub fn write_next(&mut self, now: Instant) -> bool {
        let Some(index) = self.touched.pop_front() else { return false };
        if self.connections.get(index).is_some_and(|connection| std::mem::take(&mut connection.is_touched)) {
            self.write(index, now);
        }
        true
    }

    /// Adds a message to the queue of a connection. If the queue is full, cuts the connection, or
    /// breaks: then the turn ends, so that the client can send, and the next turn tries again.
    pub fn push(&mut self, index: u32, shared: &Arc<Shared>, now: Instant) -> ControlFlow<()> {
        let (cost, limits) = (shared.0.cost, self.namespace.settings.queue);
        let Some(connection) = self.connections.get(index).filter(|connection| !connection.is_closing) else {
            return Continue(());
        };
        if connection.lacks_room(cost, &limits) {
            self.write(index, now);
            let is_fresh = self.has_sent_in_turn(index);
            let Some(connection) = self.connections.get(index) else { return Continue(()) };
            if connection.lacks_room(cost, &limits) {
                // A client that is blocked since an earlier turn has had its chance.
                let may_wait = is_fresh || connection.waits > 0;
                if may_wait && connection.waits < WAITS {
                    connection.waits += 1;
                    return Break(());
                }
                if connection.outbox.is_full(cost, &limits) {
                    self.cut(index, SlowReason::Queue);
                    return Continue(());
                }
            }
        }
        let Some(connection) = self.connections.get(index) else { return Continue(()) };
        if connection.waits > 0 && !connection.lacks_room(cost, &limits) {
            connection.waits = 0;
        }
        connection.outbox.push(shared.clone());
        connection.is_active = true;
        self.delivered += 1;
        self.touch(index);
        Continue(())
    }

    /// Adds a connection. Returns its index, and the number of messages that it gets first.
    pub fn attach(&mut self, attach: Attach, now: Instant) -> (u32, usize) {
        let Attach { place, client, start, replay } = attach;
        let ready = ReadyWaker::new(&self.inbox, self.connections.next_index());
        let index = self.connections.insert(client, place, ready, now);
        let ping = self.namespace.settings.ping;
        if !ping.is_zero() {
            self.connections.move_to_end(index, Queue::Ping, now + ping);
        }
        self.restart(Queue::Silent, index, now);
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
        (index, count)
    }

    /// Reads what a client has sent, and lets it send.
    pub fn look_after(&mut self, index: u32, now: Instant) {
        self.steps += 1;
        let Some(connection) = self.connections.get(index) else { return };
        connection.ready.rearm();
        let mut cx = Context::from_waker(&connection.waker);
        let Ok(received) = connection.client.poll_read(&mut connection.outbox, &mut cx) else {
            return self.remove(index);
        };
        connection.is_closing |= received == Received::End;
        let partial = connection.client.partial();
        let is_new = std::mem::replace(&mut connection.partial, partial) != partial;
        if !connection.outbox.is_empty() || connection.is_closing {
            self.touch(index);
        }
        if received == Received::Something {
            self.steps += READ_STEPS;
            self.restart(Queue::Silent, index, now);
        }
        match partial {
            None => self.connections.unlink(index, Queue::Partial),
            Some(_) if is_new => self.restart(Queue::Partial, index, now),
            Some(_) => {}
        }
    }

    /// Gives a client the whole time of a queue again.
    fn restart(&mut self, queue: Queue, index: u32, now: Instant) {
        let settings = &self.namespace.settings;
        let time = if queue == Queue::Partial { settings.message } else { settings.silence };
        if !time.is_zero() {
            self.connections.move_to_end(index, queue, now + time);
        }
    }

    /// Sends the last notice, and ends the connection behind the answers in the inbox. Returns
    /// false if its client still waits for one, so that it must end later.
    pub fn stop(&mut self, index: u32) -> bool {
        self.notify(index, Notice::Stop);
        let ends = !self.is_busy(index);
        if ends {
            self.inbox.push_stop_of(index);
        }
        ends
    }

    /// Whether the client of a connection waits for an answer.
    pub fn is_busy(&mut self, index: u32) -> bool {
        self.connections.get(index).is_some_and(|connection| connection.client.is_busy())
    }

    /// Ends a connection once its queue was sent.
    pub fn close(&mut self, index: u32) {
        if let Some(connection) = self.connections.get(index) {
            connection.is_closing = true;
            self.touch(index);
        }
    }

    /// Whether a client has sent something in this turn, or got blocked only in this turn.
    fn has_sent_in_turn(&mut self, index: u32) -> bool {
        let turn = self.turn;
        self.connections.get(index).is_some_and(|connection| connection.blocked_in == turn)
    }

    pub fn remove(&mut self, index: u32) {
        self.steps += 1;
        let Some(connection) = self.connections.remove(index) else { return };
        connection.place.topic.state.lock().leave(self.worker);
        self.inbox.attached.fetch_sub(1, Relaxed);
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

    /// Lets a client send what waits for it.
    fn write(&mut self, index: u32, now: Instant) {
        self.steps += 1;
        let turn = self.turn;
        let Some(connection) = self.connections.get(index) else { return };
        let (sends, sent) = (connection.outbox.sends(), connection.outbox.sent_bytes());
        let mut cx = Context::from_waker(&connection.waker);
        let polled = connection.client.poll_write(&mut connection.outbox, &mut cx);
        let has_sent = connection.outbox.sends() != sends;
        self.steps += connection.outbox.sent_bytes().wrapping_sub(sent) / STEP_BYTES;
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
            connection.waits = 0;
            self.connections.unlink(index, Queue::Blocked);
        } else if has_sent || !self.connections.is_linked(index, Queue::Blocked) {
            self.connections.move_to_end(index, Queue::Blocked, now);
            if let Some(connection) = self.connections.get(index) {
                connection.blocked_in = turn;
            }
        }
    }

    /// Ends the connections whose clients are lost, at most a turn's worth. What a client has sent
    /// counts, even if a busy thread has not read it: its time must have passed before the previous
    /// turn, since the thread polls its sockets between turns, and then it is read once more.
    fn end_lost(&mut self, now: Instant) {
        let Some(previous) = self.previous.replace(now) else { return };
        for (queue, why) in LOST {
            while !self.is_over()
                && let Some((index, due)) = self.connections.front(queue).filter(|(_, due)| *due <= previous)
            {
                self.look_after(index, now);
                if self.connections.front(queue) != Some((index, due)) {
                    continue;
                }
                self.restart(queue, index, now);
                let Some(connection) = self.connections.get(index).filter(|one| !one.is_closing) else { continue };
                if connection.client.is_lost(why, &Context::from_waker(&connection.waker)) {
                    self.close(index);
                }
            }
        }
    }

    /// Gives clients the whole time again if pings are late, such as in a process that was stopped.
    /// A client that is silent otherwise answers only pings, and has some time for each answer.
    fn excuse_silence(&mut self, now: Instant) {
        let settings = &self.namespace.settings;
        let for_answer = settings.silence.saturating_sub(settings.ping);
        let late = self.connections.front(Queue::Ping).map(|(_, due)| now.saturating_duration_since(due));
        if late.is_none_or(|late| late <= for_answer / 2) {
            return;
        }
        let until = now + for_answer;
        while let Some((index, _)) = self.connections.front(Queue::Silent).filter(|(_, due)| *due < until) {
            self.restart(Queue::Silent, index, now);
        }
    }

    /// Whether the next turn must look for lost clients.
    pub fn has_lost(&self, now: Instant) -> bool {
        LOST.iter().any(|(queue, _)| self.connections.front(*queue).is_some_and(|(_, due)| due <= now))
    }

    /// Pings the connections whose ping is due, one turn's worth.
    fn ping(&mut self, now: Instant) {
        let interval = self.namespace.settings.ping;
        // Pings that are due soon are sent together.
        let until = now + interval / 64;
        for _ in 0..STEPS {
            let Some((index, _)) = self.connections.front(Queue::Ping).filter(|(_, due)| *due <= until) else { return };
            self.connections.move_to_end(index, Queue::Ping, now + interval);
            let Some(connection) = self.connections.get(index) else { continue };
            let was_active = std::mem::take(&mut connection.is_active);
            let is_pinged = match self.namespace.settings.pinged {
                Pinged::Quiet => !was_active && connection.outbox.is_empty(),
                Pinged::All => connection.outbox.notices() < MAX_NOTICES,
            };
            if is_pinged && !connection.is_closing {
                self.notify(index, Notice::Ping);
            }
        }
    }

    /// When a client must be pinged, ended or cut, or a report is due.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        let blocked = self.connections.front(Queue::Blocked);
        let blocked = blocked.map(|(_, since)| since + self.namespace.settings.idle_timeout);
        let ping = self.connections.front(Queue::Ping).map(|(_, due)| due);
        let [silent, partial] = LOST.map(|(queue, _)| self.connections.front(queue).map(|(_, due)| due));
        [blocked, ping, silent, partial, self.slow.due(now)].into_iter().flatten().min()
    }
}
