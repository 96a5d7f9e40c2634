//! Calls that wait for answers of other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_nats::Message;
use parking_lot::Mutex;
use tokio::sync::mpsc;

/// The calls that wait, by the number of their answer's subject.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    calls: Mutex<HashMap<u64, mpsc::Sender<Message>>>,
    next: AtomicU64,
}

/// A call that waits. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Answers {
    all: Arc<Waiting>,
    pub(super) token: u64,
    received: mpsc::Receiver<Message>,
}

impl Waiting {
    /// Begins to wait for `count` answers. `None` if `most` calls wait already.
    pub(super) fn begin(self: &Arc<Self>, count: usize, most: u32) -> Option<Answers> {
        let (sender, received) = mpsc::channel(count.max(1));
        let mut calls = self.calls.lock();
        if calls.len() >= usize::try_from(most).unwrap_or(usize::MAX) {
            return None;
        }
        let token = self.next.fetch_add(1, Relaxed);
        calls.insert(token, sender);
        Some(Answers { all: self.clone(), token, received })
    }

    /// Hands an answer to its call. Returns one that no call waits for, because it is late.
    pub(super) fn answered(&self, token: u64, message: Message) -> Option<Message> {
        match self.calls.lock().get(&token) {
            // A full queue has all the answers that were asked for.
            Some(sender) => _ = sender.try_send(message),
            None => return Some(message),
        }
        None
    }

    /// Whether a call waits for an answer.
    pub(super) fn has(&self, token: u64) -> bool {
        self.calls.lock().contains_key(&token)
    }

    pub(super) fn len(&self) -> usize {
        self.calls.lock().len()
    }
}

impl Answers {
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.received.recv().await
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.all.calls.lock().remove(&self.token);
    }
}
