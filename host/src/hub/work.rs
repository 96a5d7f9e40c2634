//! The item of the inbox that the fan-out works on, one connection after the other. A long audience
//! takes several turns.

use std::sync::Arc;

use super::outbox::Shared;

/// What happens to each connection of an audience.
pub enum Act {
    /// The message is added to its queue.
    Push(Arc<Shared>),
    /// It is cut, because it has missed a message.
    Cut,
    /// It ends once its queue was sent.
    Close,
    /// It gets a last notice, and ends.
    Stop,
}

#[derive(Default)]
pub struct Work {
    act: Option<Act>,
    targets: Vec<u32>,
    /// The number of targets that are done.
    done: usize,
}

impl Work {
    /// Starts on the next item. No connection is added before the item is done, so that no index of
    /// a target gets another meaning.
    pub fn begin(&mut self, act: Act, targets: impl IntoIterator<Item = u32>) {
        self.targets.clear();
        self.targets.extend(targets);
        self.done = 0;
        self.act = Some(act).filter(|_| !self.targets.is_empty());
    }

    pub fn is_done(&self) -> bool {
        self.act.is_none()
    }

    /// The next connection, and what happens to it.
    pub fn next(&self) -> Option<(&Act, u32)> {
        Some((self.act.as_ref()?, *self.targets.get(self.done)?))
    }

    /// The next connection is done.
    pub fn advance(&mut self) {
        self.done += 1;
        if self.done >= self.targets.len() {
            // A message must not count as waiting once it is in all queues.
            self.act = None;
        }
    }
}
