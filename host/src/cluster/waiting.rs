//! Calls that wait for answers of other nodes.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use async_nats::Message;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};

/// What waits, by the number of its answer's subject.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    receivers: Mutex<Receivers>,
    next: AtomicU64,
}

#[derive(Debug, Default)]
struct Receivers {
    by_token: HashMap<u64, mpsc::Sender<Message>>,
    /// How many of them are calls.
    calls: u32,
}

/// A call, or a request of the host itself, that waits. It ends when this is dropped.
#[derive(Debug)]
pub(super) struct Answers {
    all: Arc<Waiting>,
    pub(super) token: u64,
    is_call: bool,
    received: mpsc::Receiver<Message>,
}

impl Waiting {
    /// Begins a call that waits for `count` answers. `None` if `most` calls wait already.
    pub(super) fn begin(self: &Arc<Self>, count: usize, most: u32) -> Option<Answers> {
        let mut receivers = self.receivers.lock();
        if receivers.calls >= most {
            return None;
        }
        receivers.calls += 1;
        Some(self.insert(&mut receivers, count, true))
    }

    /// Begins a request of the host itself for one answer. It takes no room of calls.
    pub(super) fn begin_beside(self: &Arc<Self>) -> Answers {
        self.insert(&mut self.receivers.lock(), 1, false)
    }

    fn insert(self: &Arc<Self>, receivers: &mut Receivers, count: usize, is_call: bool) -> Answers {
        let (sender, received) = mpsc::channel(count.max(1));
        let token = self.next.fetch_add(1, Relaxed);
        receivers.by_token.insert(token, sender);
        Answers { all: self.clone(), token, is_call, received }
    }

    /// Hands an answer to its call. Returns one that no call waits for, because it is late.
    pub(super) fn answered(&self, token: u64, message: Message) -> Option<Message> {
        match self.receivers.lock().by_token.get(&token) {
            Some(sender) => match sender.try_send(message) {
                Err(TrySendError::Closed(message)) => Some(message),
                // Nodes give no more answers than they were asked for.
                Ok(()) | Err(TrySendError::Full(_)) => None,
            },
            None => Some(message),
        }
    }

    /// Whether a call waits for an answer.
    pub(super) fn has(&self, token: u64) -> bool {
        self.receivers.lock().by_token.contains_key(&token)
    }

    /// How many calls wait.
    pub(super) fn calls(&self) -> u32 {
        self.receivers.lock().calls
    }
}

impl Answers {
    pub(super) async fn next(&mut self) -> Option<Message> {
        self.received.recv().await
    }

    /// Receives nothing further. Returns what has arrived.
    pub(super) fn end(&mut self) -> impl Iterator<Item = Message> {
        self.received.close();
        std::iter::from_fn(|| self.received.try_recv().ok())
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        let mut receivers = self.all.receivers.lock();
        receivers.by_token.remove(&self.token);
        receivers.calls -= u32::from(self.is_call);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn what_arrives_after_the_end_of_a_call_is_late() {
        let waiting = Arc::new(Waiting::default());
        let mut call = waiting.begin(2, 1).unwrap();
        let message = |reply: &str| Message {
            subject: "answer".into(),
            reply: Some(reply.into()),
            payload: Bytes::new(),
            headers: None,
            status: None,
            description: None,
            length: 0,
        };
        assert!(waiting.answered(call.token, message("first")).is_none());
        let unread: Vec<_> = call.end().filter_map(|message| message.reply).collect();
        assert_eq!(unread, ["first".into()]);
        assert!(waiting.answered(call.token, message("second")).is_some(), "nobody would read it");
        drop(call);
        assert_eq!(waiting.calls(), 0);
    }

    #[test]
    fn requests_of_the_host_take_no_room_of_calls() {
        let waiting = Arc::new(Waiting::default());
        let beside = waiting.begin_beside();
        let call = waiting.begin(1, 1).expect("the request of the host is no call");
        assert!(waiting.begin(1, 1).is_none());
        let second = waiting.begin_beside();
        assert_eq!(waiting.calls(), 1);
        assert!(waiting.has(beside.token) && waiting.has(call.token) && waiting.has(second.token));
        drop((beside, call));
        assert_eq!(waiting.calls(), 0);
        assert!(waiting.begin(1, 1).is_some());
        assert!(waiting.has(second.token));
    }
}
