//! A topic: its history and its members, under one lock.

use std::sync::Arc;

use super::ring::Ring;
use super::sync::Mutex;

/// A name under which messages are published.
pub struct Topic {
    /// Unique in the hub.
    pub id: u64,
    pub name: Arc<str>,
    /// The index of its shard.
    pub shard: usize,
    pub state: Mutex<TopicState>,
}

#[derive(Default)]
pub struct TopicState {
    pub ring: Ring,
    /// The workers that have connections of this topic.
    pub members: Vec<Member>,
    /// Connections that are open or reserved, on all workers.
    pub open: u32,
    /// Whether the topic is no longer in the map. Its users must look it up again.
    pub is_removed: bool,
}

/// The connections of a topic in one worker.
pub struct Member {
    pub worker: u32,
    pub count: u32,
    /// Whether the worker's inbox was told to cut the connections because it was full, and none has
    /// been added since.
    pub is_cut: bool,
    /// Whether the worker's inbox was told to close the connections, and none has been added since.
    pub is_closed: bool,
}

impl TopicState {
    pub fn is_unused(&self) -> bool {
        self.open == 0 && self.ring.is_empty()
    }

    /// Whether it has no connections, so that it may be removed with its history.
    pub fn is_idle(&self) -> bool {
        self.open == 0
    }

    /// The number of the last message of an idle topic.
    pub fn idle_since(&self) -> Option<u64> {
        self.is_idle().then(|| self.ring.newest())
    }

    /// Adds a connection.
    pub fn join(&mut self, worker: u32) {
        if let Some(member) = self.members.iter_mut().find(|member| member.worker == worker) {
            member.count = member.count.saturating_add(1);
            (member.is_cut, member.is_closed) = (false, false);
        } else {
            self.members.push(Member { worker, count: 1, is_cut: false, is_closed: false });
        }
    }

    /// Removes a connection that was added.
    pub fn leave(&mut self, worker: u32) {
        let Some(index) = self.members.iter().position(|member| member.worker == worker) else { return };
        if let Some(member) = self.members.get_mut(index) {
            member.count = member.count.saturating_sub(1);
            if member.count == 0 {
                self.members.swap_remove(index);
            }
        }
    }
}
