//! The order in which the messages of a session leave for other nodes.
//!
//! A message may wait for its route function before its node is known. Each message waits for the
//! one before it, so that none overtakes another.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::oneshot;

/// The last message of each session that has messages on their way.
#[derive(Debug, Default)]
pub(super) struct Turns {
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    next: u64,
    of: HashMap<Arc<str>, (u64, oneshot::Receiver<()>)>,
}

/// The turn of a message. When it is dropped, that of the next message begins.
#[derive(Debug)]
pub(super) struct MessageTurn {
    turns: Arc<Turns>,
    session: Arc<str>,
    number: u64,
    _ended: oneshot::Sender<()>,
}

impl Turns {
    /// Queues behind the last message of a session. Returns what to wait for, if anything.
    pub(super) fn queue(self: &Arc<Self>, session: &Arc<str>) -> (Option<oneshot::Receiver<()>>, MessageTurn) {
        let (ended, receiver) = oneshot::channel();
        let mut last = self.last.lock();
        let number = last.next;
        last.next += 1;
        let before = last.of.insert(session.clone(), (number, receiver)).map(|(_, receiver)| receiver);
        drop(last);
        (before, MessageTurn { turns: self.clone(), session: session.clone(), number, _ended: ended })
    }
}

impl Drop for MessageTurn {
    fn drop(&mut self) {
        let mut last = self.turns.last.lock();
        if last.of.get(&self.session).is_some_and(|(number, _)| *number == self.number) {
            last.of.remove(&self.session);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_message_waits_for_the_one_before_it_and_the_last_one_leaves_nothing() {
        let turns = Arc::new(Turns::default());
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        let (none, first) = turns.queue(&a);
        let (wait, second) = turns.queue(&a);
        assert!(none.is_none() && turns.queue(&b).0.is_none());
        let mut wait = wait.unwrap();
        assert!(wait.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        drop(first);
        assert!(wait.await.is_err(), "the first one has ended");
        assert_eq!(turns.last.lock().of.len(), 1);
        drop(second);
        assert!(turns.last.lock().of.is_empty());
    }
}
