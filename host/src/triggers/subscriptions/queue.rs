//! The messages that wait for the handler of a subscription.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::message::Message;
use crate::call::CallError;

/// The most that may wait. An empty queue accepts a message of any size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    pub messages: usize,
    pub bytes: u64,
}

/// A message that waits.
pub struct Item {
    pub message: Arc<Message>,
    /// Tells the sender how its call has ended.
    pub done: Option<oneshot::Sender<Result<Received, CallError>>>,
}

/// The end of a message that has not failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    Handled,
    /// The isolate of the queue cannot receive messages.
    Skipped,
}

/// A queue of messages in their order.
pub struct Queue {
    waiting: Mutex<Waiting>,
    /// Wakes the receiver.
    pushed: Notify,
    /// Wakes the senders that wait for room.
    freed: Notify,
    /// Senders wait in the order in which they came.
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    items: VecDeque<Item>,
    bytes: u64,
    bounds: Bounds,
    state: State,
    /// The messages that senders have announced, and not yet added.
    announced: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Another queue replaces this one. What waits is still delivered.
    Replaced,
    /// Nothing is delivered any more.
    Ended,
}

/// The queue accepts no messages, because nobody delivers them any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended;

impl Queue {
    pub fn new(bounds: Bounds) -> Queue {
        Queue {
            waiting: Mutex::new(Waiting { items: VecDeque::new(), bytes: 0, bounds, state: State::Open, announced: 0 }),
            pushed: Notify::new(),
            freed: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Adds a message, and drops the oldest ones until the others fit. Returns the number of
    /// dropped messages.
    pub fn push(&self, item: Item) -> Result<u64, Ended> {
        let mut waiting = self.waiting.lock();
        if waiting.state == State::Ended {
            return Err(Ended);
        }
        let mut dropped = 0;
        while !waiting.has_room(item.message.size()) {
            waiting.pop();
            dropped += 1;
        }
        waiting.push(item);
        drop(waiting);
        self.pushed.notify_one();
        Ok(dropped)
    }

    /// Adds a message as soon as there is room.
    pub async fn push_when_free(&self, item: Item) -> Result<(), Ended> {
        let _turn = self.turn.lock().await;
        loop {
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            {
                let mut waiting = self.waiting.lock();
                match waiting.state {
                    State::Ended => return Err(Ended),
                    State::Open if !waiting.has_room(item.message.size()) => {}
                    State::Open | State::Replaced => {
                        waiting.push(item);
                        drop(waiting);
                        self.pushed.notify_one();
                        return Ok(());
                    }
                }
            }
            freed.await;
        }
    }

    /// Removes the oldest message.
    pub fn pop(&self) -> Option<Item> {
        let item = self.waiting.lock().pop();
        self.freed.notify_waiters();
        item
    }

    /// Returns a message that was not delivered. It becomes the oldest one.
    pub fn put_back(&self, item: Item) -> Result<(), Ended> {
        let mut waiting = self.waiting.lock();
        if waiting.state == State::Ended {
            return Err(Ended);
        }
        waiting.bytes += item.message.size();
        waiting.items.push_front(item);
        Ok(())
    }

    /// Waits for a message, or for another change of the queue.
    pub async fn changed(&self) {
        self.pushed.notified().await;
    }

    pub fn set_bounds(&self, bounds: Bounds) {
        self.waiting.lock().bounds = bounds;
        self.freed.notify_waiters();
    }

    /// Another queue replaces this one: what waits is delivered first.
    pub fn replace(&self) {
        let mut waiting = self.waiting.lock();
        if waiting.state == State::Open {
            waiting.state = State::Replaced;
        }
        drop(waiting);
        self.pushed.notify_one();
        self.freed.notify_waiters();
    }

    /// Accepts and delivers nothing more. Returns the number of messages that waited.
    pub fn end(&self) -> u64 {
        let mut waiting = self.waiting.lock();
        waiting.state = State::Ended;
        waiting.bytes = 0;
        let items = std::mem::take(&mut waiting.items);
        drop(waiting);
        self.pushed.notify_one();
        self.freed.notify_waiters();
        items.len() as u64
    }

    /// Announces a message. The queue waits for it even if another queue replaces this one.
    pub fn announce(&self) {
        self.waiting.lock().announced += 1;
    }

    /// Ends the announcement of a message that was added, or never will be.
    pub fn end_announcement(&self) {
        self.waiting.lock().announced -= 1;
        self.pushed.notify_one();
    }

    pub fn is_replaced(&self) -> bool {
        self.waiting.lock().state != State::Open
    }

    /// Whether another queue replaces this one, and everything was delivered.
    pub fn is_done(&self) -> bool {
        let waiting = self.waiting.lock();
        waiting.state != State::Open && waiting.items.is_empty() && waiting.announced == 0
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.lock().items.is_empty()
    }

    /// The messages and the bytes that wait.
    pub fn size(&self) -> (usize, u64) {
        let waiting = self.waiting.lock();
        (waiting.items.len(), waiting.bytes)
    }
}

impl Waiting {
    fn has_room(&self, size: u64) -> bool {
        let Bounds { messages, bytes } = self.bounds;
        self.items.is_empty() || (self.items.len() < messages && self.bytes.saturating_add(size) <= bytes)
    }

    fn push(&mut self, item: Item) {
        self.bytes += item.message.size();
        self.items.push_back(item);
    }

    fn pop(&mut self) -> Option<Item> {
        let item = self.items.pop_front()?;
        self.bytes -= item.message.size();
        Some(item)
    }
}
